//! `argosy parked`: what waits for an operator in stream `PARKED`.

use super::session::Session;
use super::tenant_note;
use crate::exit::{DoesNotHold, Usage};
use crate::say::{say, say_document, say_json, warning};
use crate::table::{Align, Table};
use crate::text::Text;
use crate::words;
use async_nats::jetstream;
use clap::{Args, Subcommand};
use client::parked::{self, Entry, Filter, Redriven};
use runtime::clock::now_ms;
use schemas::Tenant;

/// What failed for good or could not be read, and is parked: list it, read it, publish it again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  argosy parked list --code capability_missing\n  argosy parked show 17\n  \
    argosy parked redrive 17 18\n  argosy parked redrive --all --tenant studio-a\n\n\
    A redriven job has a new id and the label redriven_from. What was parked as too_new has not ended:\n\
    it is published unchanged, under its id. `argosy dead` is the former name of this command."
)]
pub(crate) struct ParkedCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
struct Which {
    /// Of this tenant
    #[arg(long)]
    tenant: Option<Tenant>,
    /// With this failure code
    #[arg(long)]
    code: Option<String>,
    /// How many at most, the newest
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what is parked
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show one: failure, attempts, and the original message
    Show {
        /// Its number in the list
        sequence: u64,
    },
    /// Publish them again as new jobs (too_new: as they were), and remove them from what is parked
    Redrive {
        /// Their numbers in the list
        sequences: Vec<u64>,
        /// All that the filters name
        #[arg(long, conflicts_with = "sequences")]
        all: bool,
        #[command(flatten)]
        which: Which,
    },
}

impl Which {
    /// Those that the filters name. A tenant of which there is nothing may be mistyped.
    async fn entries(&self, session: &Session, jetstream: &jetstream::Context) -> anyhow::Result<Vec<Entry>> {
        let entries = parked::list(jetstream, &self.filter(), self.limit).await?;
        if let Some(tenant) = self.tenant.as_ref().filter(|_| entries.is_empty()) {
            tenant_note::note(session, tenant).await;
        }
        Ok(entries)
    }

    fn filter(&self) -> Filter {
        Filter { tenant: self.tenant.as_ref().map(ToString::to_string), code: self.code.clone() }
    }
}

impl ParkedCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let jetstream = &broker.jetstream;
        match self.action {
            Action::List { which } => {
                let entries = which.entries(session, jetstream).await?;
                if session.json {
                    return entries.iter().try_for_each(say_json);
                }
                say(list_table(&entries, now_ms()));
                Ok(())
            }
            Action::Show { sequence } => show(session, &parked::get(jetstream, sequence).await?),
            Action::Redrive { sequences, all, which } => {
                let mut entries = Vec::new();
                for sequence in &sequences {
                    entries.push(parked::get(jetstream, *sequence).await?);
                }
                if all {
                    entries = which.entries(session, jetstream).await?;
                } else if sequences.is_empty() {
                    return Err(Usage("name messages by number, or say --all".to_owned()).into());
                }
                let mut failed = 0;
                for entry in &entries {
                    match parked::redrive(&broker, entry).await {
                        Ok(redriven) => say_redriven(session, entry, redriven)?,
                        Err(error) => {
                            warning(session.json, &format!("{error:#}"));
                            failed += 1;
                        }
                    }
                }
                if failed == 0 {
                    return Ok(());
                }
                Err(DoesNotHold(format!("{failed} of {} stay parked", entries.len())).into())
            }
        }
    }
}

fn say_redriven(session: &Session, entry: &Entry, redriven: Redriven) -> anyhow::Result<()> {
    let job = match redriven {
        Redriven::Anew(job) => job.to_string(),
        Redriven::Unchanged => entry.job.clone(),
    };
    if session.json {
        return say_json(&serde_json::json!({ "sequence": entry.sequence, "job": job }));
    }
    say(match redriven {
        Redriven::Anew(job) => format!("{}  {} is now {job}", entry.sequence, entry.job),
        Redriven::Unchanged => format!("{}  {} was published again", entry.sequence, entry.job),
    });
    Ok(())
}

/// Parked messages in lines.
#[must_use]
pub fn list_table(entries: &[Entry], now_ms: i64) -> Table {
    let columns = [
        ("number", Align::Right),
        ("parked", Align::Right),
        ("tenant", Align::Left),
        ("code", Align::Left),
        ("job", Align::Left),
        ("attempts", Align::Right),
        ("why", Align::Words),
    ];
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let parked = entry.parked.as_ref();
            vec![
                entry.sequence.to_string(),
                parked.map(|parked| words::ago(now_ms, parked.time_ms)).unwrap_or_default(),
                entry.tenant.clone(),
                entry.code.clone(),
                entry.job.clone(),
                parked.map(|parked| parked.attempts.len().to_string()).unwrap_or_default(),
                parked.map_or_else(
                    || "(written by a newer version)".to_owned(),
                    |parked| words::failure(&parked.failure),
                ),
            ]
        })
        .collect();
    Table::new(&columns, rows)
}

fn show(session: &Session, entry: &Entry) -> anyhow::Result<()> {
    let Some(parked) = &entry.parked else {
        return Err(DoesNotHold(format!("message {} was written by a newer version", entry.sequence)).into());
    };
    let (bytes, job) = parked::original(parked)?;
    if session.json {
        return say_json(&serde_json::json!({
            "sequence": entry.sequence, "parked": parked, "job": job.as_ref().ok(),
            "undecodable": job.as_ref().err().map(ToString::to_string),
        }));
    }
    let failure = &parked.failure;
    let mut text = Text::default();
    text.line(format!("job       {}", entry.job));
    text.line(format!("tenant    {}", entry.tenant));
    text.line(format!("published {} ({})", parked.subject, parked.content_type.as_deref().unwrap_or("-")));
    text.line(format!("failure   {}: {}", failure.code.as_str(), failure.message));
    text.quoted("provider  ", failure.provider_words.as_deref().unwrap_or_default());
    for attempt in &parked.attempts {
        let code = attempt.failure.as_ref().map_or("completed", |failure| failure.code.as_str());
        text.line(format!("attempt   {} at {}: {code}", attempt.attempt, attempt.backend));
    }
    match job {
        Ok(job) => {
            say(text);
            say_document(&serde_json::to_string_pretty(&job)?);
        }
        Err(error) => {
            text.line(format!("original  not a job: {error}"));
            text.quoted("", &String::from_utf8_lossy(&bytes));
            say(text);
        }
    }
    Ok(())
}
