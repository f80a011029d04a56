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
use client::parked::{self, Cause, Discard, Entry, Filter, Redriven};
use runtime::broker::Broker;
use runtime::clock::now_ms;
use schemas::Tenant;

/// What failed for good or could not be read, and is parked: list it, read it, publish it again, or discard it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  argosy parked list --code capability_missing\n  argosy parked show 17\n  \
    argosy parked causes\n  argosy parked redrive 17 18\n  argosy parked redrive --all --tenant studio-a\n  \
    argosy parked discard --all --code content_refused --reason 'told the artist'\n\n\
    A redriven job has a new id and the label redriven_from. What was parked as too_new has not ended:\n\
    it is published unchanged, under its id. What was discarded is listed with --code discarded.\n\
    `argosy dead` is the former name of this command."
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
    /// Group what is parked by its cause: incidents, then the mistakes of those who publish
    Causes {
        #[command(flatten)]
        which: Which,
    },
    /// Show one: failure, attempts, and the original message
    Show {
        /// Its number in the list
        sequence: u64,
    },
    /// Publish them again as new jobs (too_new: as they were), and remove them from what is parked; with --all, not what
    /// fails for certain
    Redrive {
        /// Their numbers in the list
        sequences: Vec<u64>,
        /// All that the filters name
        #[arg(long, conflicts_with = "sequences")]
        all: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Remove them from what is parked for good; a record of who and why is kept
    Discard {
        /// Their numbers in the list
        sequences: Vec<u64>,
        /// All that the filters name
        #[arg(long, conflicts_with = "sequences")]
        all: bool,
        #[command(flatten)]
        which: Which,
        /// Why, for whoever asks later
        #[arg(long)]
        reason: String,
        /// Who discards them
        #[arg(long, env = "USER", default_value = "operator")]
        by: String,
    },
}

impl Which {
    /// The entries that are named by number, or that the filters name.
    async fn named(
        &self,
        session: &Session,
        jetstream: &jetstream::Context,
        sequences: &[u64],
        all: bool,
    ) -> anyhow::Result<Vec<Entry>> {
        if all {
            return self.entries(session, jetstream).await;
        }
        if sequences.is_empty() {
            return Err(Usage("name messages by number, or say --all".to_owned()).into());
        }
        let mut entries = Vec::new();
        for sequence in sequences {
            entries.push(parked::get(jetstream, *sequence).await?);
        }
        Ok(entries)
    }

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
            Action::Causes { which } => {
                let causes = parked::causes(&which.entries(session, jetstream).await?);
                if session.json {
                    return causes.iter().try_for_each(say_json);
                }
                say(causes_table(&causes, now_ms()));
                Ok(())
            }
            Action::Redrive { sequences, all, which } => {
                let entries = which.named(session, jetstream, &sequences, all).await?;
                redrive(session, &broker, &entries, all).await
            }
            Action::Discard { sequences, all, which, reason, by } => {
                let entries = which.named(session, jetstream, &sequences, all).await?;
                parked::discard(&broker, &entries, &Discard { by, reason, time_ms: now_ms() }).await?;
                for Entry { sequence, job, .. } in &entries {
                    if session.json {
                        say_json(&serde_json::json!({ "sequence": sequence, "job": job }))?;
                    } else {
                        say(format!("{sequence}  {job} was discarded"));
                    }
                }
                Ok(())
            }
        }
    }
}

/// Publishes entries again. Of those that a filter named, what fails for certain stays.
async fn redrive(session: &Session, broker: &Broker, entries: &[Entry], all: bool) -> anyhow::Result<()> {
    let (mut failed, mut kept) = (0, 0);
    for entry in entries {
        if all && let Some(why) = parked::fails_again(entry, now_ms()) {
            warning(session.json, &format!("{} stays parked: {why}", entry.sequence));
            kept += 1;
            continue;
        }
        match parked::redrive(broker, entry).await {
            Ok(redriven) => say_redriven(session, entry, redriven)?,
            Err(error) => {
                warning(session.json, &format!("{error:#}"));
                failed += 1;
            }
        }
    }
    if kept > 0 {
        let words = format!(
            "{kept} would only fail again: name them by number to send them all the same, or discard them"
        );
        warning(session.json, &words);
    }
    if failed == 0 {
        return Ok(());
    }
    Err(DoesNotHold(format!("{failed} of {} stay parked", entries.len())).into())
}

fn causes_table(causes: &[Cause], now_ms: i64) -> Table {
    let columns = [
        ("origin", Align::Left),
        ("code", Align::Left),
        ("jobs", Align::Right),
        ("tenants", Align::Right),
        ("backend", Align::Left),
        ("last", Align::Right),
        ("numbers", Align::Left),
        ("why", Align::Words),
    ];
    let row = |cause: &Cause| {
        let numbers: Vec<String> = cause.sequences.iter().map(u64::to_string).collect();
        let more = if cause.count > cause.sequences.len() { "… " } else { "" };
        vec![
            cause.origin.as_str().to_owned(),
            cause.code.clone(),
            cause.count.to_string(),
            cause.tenants.len().to_string(),
            cause.backend.clone().unwrap_or_default(),
            words::ago(now_ms, cause.last_ms),
            format!("{more}{}", numbers.join(" ")),
            cause.why.clone(),
        ]
    };
    Table::new(&columns, causes.iter().map(row).collect())
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
