//! `argosy breakers`.

use super::session::Session;
use crate::say::{say, say_json};
use crate::table::{Align, Table};
use crate::tone;
use crate::words;
use clap::{Args, Subcommand};
use client::breakers::{self, Reset};
use runtime::clock;
use schemas::Backend;
use schemas::breaker::BreakerRecord;

/// What keeps providers out: list, and close by hand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy breakers list\n  \
    argosy breakers reset cloud --why \"the endpoint has workers again\"\n  \
    argosy breakers reset cloud --model ampere-24 --why \"works again\" --by ada\n\n\
    A breaker closes by itself with the first job that succeeds there after its time. The breaker of a server of our \
    own is its worker's; `reset local` closes those too.")]
pub(crate) struct Breakers {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is open or was closed last, by whom and why
    #[command(after_help = "Examples:\n  argosy breakers list")]
    List,
    /// Close the breakers of a backend now
    #[command(
        after_help = "Examples:\n  argosy breakers reset cloud --why \"the endpoint has workers again\""
    )]
    Reset {
        /// Which backend
        backend: Backend,
        /// Only of this model
        #[arg(long)]
        model: Option<String>,
        /// Why, for whoever reads it later
        #[arg(long)]
        why: String,
        /// Who
        #[arg(long, env = "USER", default_value = "operator")]
        by: String,
    },
}

impl Breakers {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let now_ms = clock::now_ms();
        let (records, words) = match self.what {
            What::List => {
                let all = breakers::list(&broker.jetstream).await?;
                (all.into_iter().map(|(record, _)| record).collect(), "no breaker was ever opened")
            }
            What::Reset { backend, model, why, by } => {
                anyhow::ensure!(!why.trim().is_empty(), "--why: say why, for whoever reads it later");
                let reset = Reset { backend, model, by, why, time_ms: now_ms };
                let closed = breakers::reset(&broker.jetstream, &reset).await?;
                (
                    closed,
                    "no provider's breaker was open there; workers with servers of their own close theirs",
                )
            }
        };
        if session.json {
            return say_json(&records);
        }
        if records.is_empty() {
            say(words);
        } else {
            say(rows(&records, now_ms));
        }
        Ok(())
    }
}

fn rows(records: &[BreakerRecord], now_ms: i64) -> Table {
    let columns = [
        ("backend", Align::Left),
        ("kind", Align::Left),
        ("model", Align::Left),
        ("state", Align::Left),
        ("since", Align::Right),
        ("by", Align::Left),
        ("why", Align::Flow),
    ];
    let row = |record: &BreakerRecord| {
        let state = match record.open_until_ms {
            None => "closed".to_owned(),
            Some(until_ms) if until_ms <= now_ms => "half open".to_owned(),
            Some(until_ms) => {
                let left_ms = u64::try_from(until_ms - now_ms).unwrap_or_default();
                format!("open for {}", words::duration(left_ms))
            }
        };
        vec![
            record.backend.to_string(),
            record.kind.as_str().to_owned(),
            record.model.clone().unwrap_or_else(|| "all".to_owned()),
            state,
            words::ago(now_ms, record.time_ms),
            record.by.clone(),
            record.why.clone().or_else(|| record.reason.clone()).unwrap_or_default(),
        ]
    };
    Table::new(&columns, records.iter().map(row).collect()).painted("state", tone::of_health)
}
