//! `argosy watch`: jobs live.

use super::live;
use super::session::Session;
use super::unknown::unknown;
use super::whose::Whose;
use crate::table;
use anyhow::Context as _;
use clap::Args;
use client::api;
use client::follow::{self, Since};
use futures::{StreamExt as _, future, stream};
use runtime::broker::Broker;
use schemas::api::{JobRequest, StatusReply};
use schemas::{Event, Fact, JobId, Tenant};

/// Questions to the routers at once.
const ASKED_AT_ONCE: usize = 32;

/// Follow jobs until they end; without ids, everything that happens until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy watch 01990000-0000-7000-8000-000000000001\n  \
    argosy submit \"a cat\" --count 3 | xargs argosy watch\n  \
    argosy watch --json | jq .fact.kind")]
pub(crate) struct Watch {
    /// Which jobs
    jobs: Vec<JobId>,
    #[command(flatten)]
    whose: Whose,
}

impl Watch {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        refuse_unknown(&broker, self.whose.tenant.as_ref(), &self.jobs).await?;
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

/// Refuses to wait for unknown jobs. Where no router answers this is not checked.
async fn refuse_unknown(broker: &Broker, tenant: Option<&Tenant>, jobs: &[JobId]) -> anyhow::Result<()> {
    let ask = |job: JobId| async move {
        let request = JobRequest::of(job);
        let reply: anyhow::Result<StatusReply> =
            api::request_as(&broker.client, tenant, "status", &request).await;
        reply.is_ok_and(|reply| !reply.known).then_some(job)
    };
    let asked = stream::iter(jobs).map(|job| ask(*job)).buffered(ASKED_AT_ONCE);
    match std::pin::pin!(asked.filter_map(future::ready)).next().await {
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
        Fact::Ended { state, .. } if event.is_marker() => {
            format!("{} before; the rest was removed to make room, the ledger has it", state.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_of_an_end_does_not_say_that_there_are_no_files() {
        let is_end = |event: &Event| matches!(event.fact, Fact::Ended { .. });
        let end = schemas::samples::events().into_iter().find(is_end).expect("a sample");
        assert!(line(&end).contains("1 artifacts"), "{}", line(&end));
        let marker = line(&end.marker().expect("of an end"));
        assert!(marker.contains("the ledger has it") && !marker.contains("artifacts"), "{marker}");
    }
}
