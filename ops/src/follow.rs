//! What happens to jobs, as it happens: their events, from the stream that keeps them.

use anyhow::Context as _;
use async_nats::jetstream::{self, consumer};
use futures::{Stream, StreamExt as _};
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::stream;
use schemas::{Artifact, Backend, Event, Fact, Failure, JobId, JobState, subjects};
use std::collections::BTreeMap;

/// Up to so many jobs are followed by a filter each; more, by reading everything.
const FILTERS_MAX: usize = 32;

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All that is kept.
    Ever,
    /// What comes.
    Now,
}

/// Events of the given jobs (of all when none are given), in the order the broker stored them.
///
/// # Errors
/// The stream is not there, or the broker does not answer.
pub async fn events(
    jetstream: &jetstream::Context,
    jobs: &[JobId],
    since: Since,
) -> anyhow::Result<impl Stream<Item = anyhow::Result<Event>> + use<>> {
    let filter_subjects = if jobs.is_empty() || jobs.len() > FILTERS_MAX {
        vec![subjects::EVENTS_FILTER.to_owned()]
    } else {
        jobs.iter().map(|job| subjects::events_of_job(*job)).collect()
    };
    let config = consumer::pull::OrderedConfig {
        filter_subjects,
        deliver_policy: match since {
            Since::Ever => consumer::DeliverPolicy::All,
            Since::Now => consumer::DeliverPolicy::New,
        },
        ..consumer::pull::OrderedConfig::default()
    };
    let events = jetstream.get_stream(stream::EVENTS).await.context("stream EVENTS")?;
    let consumer = events.create_consumer(config).await.context("following stream EVENTS")?;
    let messages = consumer.messages().await.context("following stream EVENTS")?;
    Ok(messages.map(|message| {
        let message = message.context("following stream EVENTS")?;
        let header = message.headers.as_ref().and_then(|headers| Some(headers.get(CONTENT_TYPE)?.as_str()));
        codec::decode(header, &message.payload).with_context(|| format!("event on {}", message.subject))
    }))
}

/// A job as its events have told so far.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Where it is.
    pub state: JobState,
    /// The latest attempt.
    pub attempt: u32,
    /// Where that runs.
    pub backend: Option<Backend>,
    /// What was made.
    pub artifacts: Vec<Artifact>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Jobs by their events.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    jobs: BTreeMap<JobId, JobView>,
}

impl Tracker {
    /// Jobs that were accepted and of which nothing is known yet.
    #[must_use]
    pub fn of(jobs: impl IntoIterator<Item = JobId>) -> Self {
        let view = JobView {
            state: JobState::Submitted,
            attempt: 0,
            backend: None,
            artifacts: Vec::new(),
            failure: None,
        };
        Self { jobs: jobs.into_iter().map(|job| (job, view.clone())).collect() }
    }

    /// Takes note of an event of a job it follows; false for the others. Nothing follows an end, however
    /// late it is told.
    pub fn note(&mut self, event: &Event) -> bool {
        let Some(view) = self.jobs.get_mut(&event.job) else { return false };
        if view.state.is_terminal() {
            return true;
        }
        view.attempt = view.attempt.max(event.attempt);
        view.state = event.state().unwrap_or(view.state);
        match &event.fact {
            Fact::Assigned { backend, .. } | Fact::Running { backend, .. } => {
                view.backend = Some(backend.clone());
            }
            Fact::Ended { artifacts, failure, attempts, .. } => {
                view.artifacts.clone_from(artifacts);
                view.failure.clone_from(failure);
                if let Some(last) = attempts.last() {
                    view.backend = Some(last.backend.clone());
                }
            }
            Fact::Refused { failure } => {
                view.state = JobState::Failed;
                view.failure = Some(failure.clone());
            }
            Fact::Retrying { .. } | Fact::Charged { .. } | Fact::Unknown => {}
        }
        true
    }

    /// Every job it follows.
    #[must_use]
    pub const fn jobs(&self) -> &BTreeMap<JobId, JobView> {
        &self.jobs
    }

    /// How many have ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.jobs.values().filter(|view| view.state.is_terminal()).count()
    }

    /// All have.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ended() == self.jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_stays_and_strangers_are_left_out() {
        let all = schemas::samples::events();
        let ended = all.iter().find(|event| matches!(event.fact, Fact::Ended { .. })).expect("a sample");
        let assigned =
            all.iter().find(|event| matches!(event.fact, Fact::Assigned { .. })).expect("a sample");
        let mut tracker = Tracker::of([ended.job]);
        assert!(!tracker.is_done());
        assert!(tracker.note(ended));
        let after = tracker.jobs()[&ended.job].clone();
        assert!(after.state.is_terminal() && tracker.is_done());
        assert!(tracker.note(&Event { job: ended.job, ..assigned.clone() }));
        assert_eq!(tracker.jobs()[&ended.job], after);
        let stranger = Event { job: JobId::from_parts(1, [9; 10]), ..assigned.clone() };
        assert!(!tracker.note(&stranger));
    }
}
