//! `argosy watch`: jobs live.

use super::live;
use super::moments::stamp;
use super::session::Session;
use super::unknown::unknown;
use super::whose::Whose;
use crate::say::{say, say_json};
use crate::text::Text;
use crate::tone::{self, Tone};
use crate::words;
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
        let tenant = self.whose.tenant.as_ref();
        if let Some(job) = first_unknown(&broker, tenant, &self.jobs).await {
            return Err(unknown(session, job, tenant).await);
        }
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
                say_json(&event)?;
            } else {
                say(line(&event));
            }
        }
        live::verdict(&tracker)
    }
}

/// The first job that is unknown: it would be waited for in vain. Where no router answers this is not checked.
async fn first_unknown(broker: &Broker, tenant: Option<&Tenant>, jobs: &[JobId]) -> Option<JobId> {
    let ask = |job: JobId| async move {
        let request = JobRequest::of(job);
        let reply: anyhow::Result<StatusReply> =
            api::request_as(&broker.client, tenant, "status", &request).await;
        reply.is_ok_and(|reply| !reply.known).then_some(job)
    };
    let asked = stream::iter(jobs).map(|job| ask(*job)).buffered(ASKED_AT_ONCE);
    std::pin::pin!(asked.filter_map(future::ready)).next().await
}

/// An event in a line, with its time and how long after its job was submitted.
fn line(event: &Event) -> Text {
    let kind = event.fact.kind();
    let tone = event.state().map_or(Tone::Plain, |state| tone::of_state(state.as_str()));
    let mut text = Text::default();
    text.toned([
        (format!("{}  {}  {}  ", stamp(event), event.job, event.tenant), Tone::Plain),
        (format!("{kind:<9}"), tone),
        (format!(" {}", what(event)), Tone::Plain),
    ]);
    text
}

/// What an event says beside its kind.
pub(crate) fn what(event: &Event) -> String {
    match &event.fact {
        Fact::Assigned { backend, decision, .. } => format!("to {backend}: {}", decision.reason),
        Fact::Running { backend, worker, .. } => format!("at {backend} by {worker}"),
        Fact::Retrying { ended_attempt, disposition, .. } => {
            let failure = ended_attempt.failure.as_ref();
            let code = failure.map_or("unknown", |failure| failure.code.as_str());
            let why = failure.map(|failure| format!(": {}", words::failure(failure))).unwrap_or_default();
            format!("{disposition} after {code} at {}{why}", ended_attempt.backend)
        }
        Fact::Ended { state, .. } if event.is_marker() => {
            format!("{} before; the rest was removed to make room, the ledger has it", state.as_str())
        }
        Fact::Ended { state, failure, attempts, artifacts, .. } => {
            let at = attempts.last().map(|last| format!(" at {}", last.backend)).unwrap_or_default();
            let why = failure.as_ref().map(|failure| format!(": {}", words::failure(failure)));
            let why = why.unwrap_or_default();
            format!("{}{at}, {} artifacts{why}", state.as_str(), artifacts.len())
        }
        Fact::Charged { ended_attempt, .. } => {
            format!("{} at {}", ended_attempt.charge.amount_micro_usd, ended_attempt.backend)
        }
        Fact::Refused { failure } => words::failure(failure),
        Fact::Duplicate { of } => format!("the same as job {of}"),
        Fact::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_of_an_end_does_not_say_that_there_are_no_files() {
        let is_end = |event: &Event| matches!(event.fact, Fact::Ended { .. });
        let end = schemas::samples::events().into_iter().find(is_end).expect("a sample");
        let shown = line(&end).to_string();
        assert!(shown.contains("1 artifacts"), "{shown}");
        assert!(
            shown.starts_with("2026-11-23 10:0") && shown.contains(" UTC  ") && shown.contains(" s  "),
            "{shown}"
        );
        let marker = line(&end.marker().expect("of an end")).to_string();
        assert!(marker.contains("the ledger has it") && !marker.contains("artifacts"), "{marker}");
    }
}
