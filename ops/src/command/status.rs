//! `argosy status`: one job.

use super::session::Session;
use super::unknown::unknown;
use super::watch;
use super::whose::Whose;
use crate::table;
use clap::Args;
use client::api;
use schemas::JobId;
use schemas::api::{JobRequest, StatusReply};

/// Where a job is, and every event of it. Asks the routers: no database is needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy status 01990000-0000-7000-8000-000000000001\n  \
    argosy status 01990000-0000-7000-8000-000000000001 --json | jq -r .state")]
pub(crate) struct Status {
    /// Which job
    job: JobId,
    #[command(flatten)]
    whose: Whose,
}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let (tenant, request) = (self.whose.tenant.as_ref(), JobRequest::of(self.job));
        let reply: StatusReply = api::request_as(&broker.client, tenant, "status", &request).await?;
        if session.json {
            table::say_json(&reply)?;
        } else {
            let state = if reply.known { reply.state.as_str() } else { "unknown" };
            table::say(format!("{}  {state}", reply.job));
            reply.events.iter().for_each(|event| table::say(watch::line(event)));
            let facts = reply.events.iter().rev().find_map(|event| event.fact.facts());
            let warnings = facts.map(|facts| facts.warnings.as_slice()).unwrap_or_default();
            reply.waiting.iter().for_each(|wait| table::say(format!("waits: {}", wait.sentence)));
            warnings.iter().for_each(|warning| table::say(format!("warning: {warning}")));
        }
        if reply.known {
            return Ok(());
        }
        Err(unknown(self.job))
    }
}
