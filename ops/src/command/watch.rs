//! `argosy watch`: jobs live.

use super::live;
use super::session::Session;
use super::unknown::unknown;
use crate::table;
use anyhow::Context as _;
use clap::Args;
use client::api;
use client::follow::{self, Since};
use futures::StreamExt as _;
use futures::future::join_all;
use runtime::broker::Broker;
use schemas::api::{JobRequest, StatusReply};
use schemas::{Event, Fact, JobId};

/// Jobs that routers are asked for before they are followed.
const ASKED_MAX: usize = 32;

/// Follow jobs until they end; without ids, everything that happens until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy watch 01990000-0000-7000-8000-000000000001\n  \
    argosy submit \"a cat\" --count 3 | xargs argosy watch\n  \
    argosy watch --json | jq .fact.kind")]
pub(crate) struct Watch {
    /// Which jobs
    jobs: Vec<JobId>,
}

impl Watch {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        refuse_unknown(&broker, &self.jobs).await?;
        if !self.jobs.is_empty() && !session.json {
            let tracker = live::follow_to_the_end(&broker, &self.jobs, false).await?;
            return live::verdict(&tracker);
        }
        let since = if self.jobs.is_empty() { Since::Now } else { Since::Ever };
        let mut events = Box::pin(follow::events(&broker.jetstream, &self.jobs, since).await?);
        let mut tracker = follow::Tracker::of(self.jobs.iter().copied());
        while self.jobs.is_empty() || !tracker.is_done() {
            let event = events.next().await.context("stream EVENTS ended")??;
            if !self.jobs.is_empty() && !tracker.note(&event) {
                continue;
            }
            if session.json {
                table::say_json(&event)?;
            } else {
                table::say(line(&event));
            }
        }
        live::verdict(&tracker)
    }
}

/// Refuses to wait for unknown jobs. Of many jobs, or where no router answers, this is not checked.
async fn refuse_unknown(broker: &Broker, jobs: &[JobId]) -> anyhow::Result<()> {
    if jobs.len() > ASKED_MAX {
        return Ok(());
    }
    let ask = |job: JobId| async move {
        let reply: anyhow::Result<StatusReply> =
            api::request(&broker.client, "status", &JobRequest { job }).await;
        reply.is_ok_and(|reply| !reply.known).then_some(job)
    };
    match join_all(jobs.iter().map(|job| ask(*job))).await.into_iter().flatten().next() {
        Some(job) => Err(unknown(job)),
        None => Ok(()),
    }
}

/// An event in a line.
pub(crate) fn line(event: &Event) -> String {
    let what = match &event.fact {
        Fact::Assigned { backend, decision, .. } => format!("to {backend}: {}", decision.reason),
        Fact::Running { backend, worker, .. } => format!("at {backend} by {worker}"),
        Fact::Retrying { ended_attempt, disposition, .. } => {
            let failure = ended_attempt.failure.as_ref();
            let code = failure.map_or("unknown", |failure| failure.code.as_str());
            let why = failure.map(|failure| format!(": {}", table::failure(failure))).unwrap_or_default();
            format!("{disposition} after {code} at {}{why}", ended_attempt.backend)
        }
        Fact::Ended { state, failure, attempts, artifacts, .. } => {
            let at = attempts.last().map(|last| format!(" at {}", last.backend)).unwrap_or_default();
            let why = failure.as_ref().map(|failure| format!(": {}", table::failure(failure)));
            let why = why.unwrap_or_default();
            format!("{}{at}, {} artifacts{why}", state.as_str(), artifacts.len())
        }
        Fact::Charged { ended_attempt, .. } => {
            format!("{} at {}", ended_attempt.charge.amount_micro_usd, ended_attempt.backend)
        }
        Fact::Refused { failure } => table::failure(failure),
        Fact::Duplicate { of } => format!("the same as job {of}"),
        Fact::Unknown => String::new(),
    };
    format!("{}  {}  {:<9} {what}", event.job, event.tenant, event.fact.kind())
}
