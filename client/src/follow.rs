//! What happens to jobs, as it happens: their events, from the stream that keeps them.

use anyhow::{Context as _, anyhow};
use async_nats::jetstream::{self, consumer};
use futures::{Stream, StreamExt as _};
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::stream;
use schemas::{Artifact, Backend, Event, Fact, Failure, FailureCode, JobId, JobState, Manifest, subjects};
use std::collections::{BTreeMap, BTreeSet};

/// Up to so many jobs are followed by a filter each; more, by reading everything.
const FILTERS_MAX: usize = 32;

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All that is kept.
    Ever,
    /// What comes.
    Now,
    /// From this one on, by its number in the stream.
    Sequence(u64),
}

/// An event with what the broker knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its number in the stream.
    pub sequence: u64,
    /// When the broker took it in, Unix milliseconds.
    pub at_ms: i64,
    /// The event.
    pub event: Event,
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
    let stored = stored(jetstream, jobs, since).await?;
    Ok(stored.map(|stored| stored.map(|stored| stored.event)))
}

/// The same, with what the broker knows of each.
///
/// # Errors
/// As [`events`].
pub async fn stored(
    jetstream: &jetstream::Context,
    jobs: &[JobId],
    since: Since,
) -> anyhow::Result<impl Stream<Item = anyhow::Result<Stored>> + use<>> {
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
            Since::Sequence(start_sequence) => consumer::DeliverPolicy::ByStartSequence { start_sequence },
        },
        ..consumer::pull::OrderedConfig::default()
    };
    let events = jetstream.get_stream(stream::EVENTS).await.context("stream EVENTS")?;
    let consumer = events.create_consumer(config).await.context("following stream EVENTS")?;
    let messages = consumer.messages().await.context("following stream EVENTS")?;
    Ok(messages.map(|message| {
        let message = message.context("following stream EVENTS")?;
        let header = message.headers.as_ref().and_then(|headers| Some(headers.get(CONTENT_TYPE)?.as_str()));
        let event = codec::decode(header, &message.payload);
        let event = event.with_context(|| format!("event on {}", message.subject))?;
        let info = message.info().map_err(|error| anyhow!("event on {}: {error}", message.subject))?;
        let at_ms = runtime::clock::ms_of_ns(info.published.unix_timestamp_nanos());
        Ok(Stored { sequence: info.stream_sequence, at_ms, event })
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
    /// What was made; the first of them only, where there is a manifest ([`crate::files::all`]).
    pub artifacts: Vec<Artifact>,
    /// The list of all that was made, where that is long.
    pub manifest: Option<Manifest>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// It came with the idempotency key of this earlier job, and is that job.
    pub same_as: Option<JobId>,
}

impl JobView {
    const SUBMITTED: Self = Self {
        state: JobState::Submitted,
        attempt: 0,
        backend: None,
        artifacts: Vec::new(),
        manifest: None,
        failure: None,
        same_as: None,
    };

    /// Nothing more happens to it under its id.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.state.is_terminal() || self.same_as.is_some()
    }
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
        Self { jobs: jobs.into_iter().map(|job| (job, JobView::SUBMITTED)).collect() }
    }

    /// Takes note of an event of a job it follows; false for the others. Nothing follows an end, however
    /// late it is told.
    pub fn note(&mut self, event: &Event) -> bool {
        let Some(view) = self.jobs.get_mut(&event.job) else { return false };
        if view.is_over() {
            return true;
        }
        view.attempt = view.attempt.max(event.attempt);
        view.state = event.state().unwrap_or(view.state);
        match &event.fact {
            Fact::Assigned { backend, .. } | Fact::Running { backend, .. } => {
                view.backend = Some(backend.clone());
            }
            Fact::Ended { artifacts, manifest, failure, attempts, .. } => {
                view.artifacts.clone_from(artifacts);
                view.manifest.clone_from(manifest);
                view.failure.clone_from(failure);
                if let Some(last) = attempts.last() {
                    view.backend = Some(last.backend.clone());
                }
            }
            // Put aside for a newer router, not ended: it may still run under its id.
            Fact::Refused { failure } if failure.code == FailureCode::TooNew => {
                view.failure = Some(failure.clone());
            }
            Fact::Refused { failure } => {
                view.state = JobState::Failed;
                view.failure = Some(failure.clone());
            }
            Fact::Duplicate { of } => view.same_as = Some(*of),
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
        self.jobs.values().filter(|view| view.is_over()).count()
    }

    /// The jobs that some of the followed ones turned out to be, and that are not followed themselves.
    #[must_use]
    pub fn same_as(&self) -> Vec<JobId> {
        let others = self.jobs.values().filter_map(|view| view.same_as);
        let others: BTreeSet<JobId> = others.filter(|job| !self.jobs.contains_key(job)).collect();
        others.into_iter().collect()
    }

    /// Puts the jobs that duplicates turned out to be in the duplicates' place.
    pub fn resolve(&mut self, others: Self) {
        self.jobs.retain(|_, view| view.same_as.is_none());
        self.jobs.extend(others.jobs);
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
