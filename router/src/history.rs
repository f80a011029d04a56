//! What happened to one job: its events, read from the stream by subject. Only the slow paths (recovery,
//! status, cancel) read them; a job that goes well costs no look-up.

use async_nats::jetstream::stream::DirectGetErrorKind;
use runtime::broker::Broker;
use runtime::telemetry;
use schemas::topology::stream;
use schemas::{AttemptFacts, Decision, Event, Fact, JobFacts, JobId, JobState, Tenant, codec, subjects};

/// Events of one job that are read; far above what `max_attempts_ever` lets happen.
const EVENTS_MAX: usize = 1_000;

/// A job's events, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The events.
    pub events: Vec<Event>,
}

/// Reads a job's events.
///
/// # Errors
/// The broker's words when it does not answer.
pub async fn read(broker: &Broker, job: JobId) -> Result<History, String> {
    let events = broker.jetstream.get_stream_no_info(stream::EVENTS).await;
    let events = events.map_err(|error| telemetry::chain(&error))?;
    let filter = subjects::events_of_job(job);
    let mut history = History::default();
    let mut next = 1;
    while history.events.len() < EVENTS_MAX {
        match events.direct_get_next_for_subject(filter.clone(), Some(next)).await {
            Ok(message) => {
                next = message.sequence + 1;
                match codec::decode::<Event>(None, &message.payload) {
                    Ok(event) => history.events.push(event),
                    Err(error) => tracing::warn!(%job, %error, "an event cannot be read"),
                }
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(telemetry::chain(&error)),
        }
    }
    Ok(history)
}

/// A job's last `assigned` event.
#[derive(Debug, Clone, Copy)]
pub struct LastAssigned {
    /// Where it lies in the stream.
    pub sequence: u64,
    /// Of which attempt it is.
    pub attempt: u32,
}

/// Looks up a job's last `assigned` event, without reading the others.
///
/// # Errors
/// The broker's words when it does not answer.
pub async fn last_assigned(
    broker: &Broker,
    tenant: &Tenant,
    job: JobId,
) -> Result<Option<LastAssigned>, String> {
    let events = broker.jetstream.get_stream_no_info(stream::EVENTS).await;
    let events = events.map_err(|error| telemetry::chain(&error))?;
    match events.direct_get_last_for_subject(subjects::event(tenant, job, "assigned")).await {
        Ok(message) => {
            let event = codec::decode::<Event>(None, &message.payload).map_err(|error| error.to_string())?;
            Ok(Some(LastAssigned { sequence: message.sequence, attempt: event.attempt }))
        }
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(telemetry::chain(&error)),
    }
}

impl History {
    /// Where the job is.
    #[must_use]
    pub fn state(&self) -> JobState {
        let ended = self.ended().and_then(Event::state);
        let last = self.events.iter().rev().find_map(Event::state);
        ended.or(last).unwrap_or(JobState::Submitted)
    }

    /// The earlier job that it is, by its idempotency key.
    #[must_use]
    pub fn same_as(&self) -> Option<JobId> {
        self.events.iter().find_map(|event| match event.fact {
            Fact::Duplicate { of } => Some(of),
            _ => None,
        })
    }

    /// Its terminal event.
    #[must_use]
    pub fn ended(&self) -> Option<&Event> {
        self.events.iter().find(|event| matches!(event.fact, Fact::Ended { .. }))
    }

    /// The last attempt that was placed.
    #[must_use]
    pub fn last_assigned(&self) -> Option<&Event> {
        self.events.iter().rev().find(|event| matches!(event.fact, Fact::Assigned { .. }))
    }

    /// Something happened in an attempt after it was placed: it reached a worker.
    #[must_use]
    pub fn went_on_from(&self, attempt: u32) -> bool {
        self.events.iter().any(|event| {
            event.attempt > attempt
                || (event.attempt == attempt && !matches!(event.fact, Fact::Assigned { .. }))
        })
    }

    /// Its decisions, oldest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let decisions = self.events.iter().filter_map(|event| match &event.fact {
            Fact::Assigned { decision, .. } => Some(decision.clone()),
            _ => None,
        });
        decisions.collect()
    }

    /// Its ended attempts, oldest first.
    #[must_use]
    pub fn attempts(&self) -> Vec<AttemptFacts> {
        let attempts = self.events.iter().filter_map(|event| match &event.fact {
            Fact::Retrying { ended_attempt, .. } => Some(ended_attempt.clone()),
            _ => None,
        });
        attempts.collect()
    }

    /// The job without its body.
    #[must_use]
    pub fn facts(&self) -> Option<&JobFacts> {
        self.events.iter().rev().find_map(|event| match &event.fact {
            Fact::Assigned { facts, .. }
            | Fact::Running { facts, .. }
            | Fact::Retrying { facts, .. }
            | Fact::Ended { facts, .. }
            | Fact::Charged { facts, .. } => Some(facts),
            Fact::Refused { .. } | Fact::Duplicate { .. } | Fact::Unknown => None,
        })
    }
}
