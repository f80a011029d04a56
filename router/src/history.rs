//! What happened to one job: its events, and where no event tells of its first attempt, that attempt's assignment or
//! dead letter. Only the slow paths (recovery, status, cancel) read them; a job that goes well costs no look-up.

use std::collections::BTreeMap;

use async_nats::jetstream::stream::DirectGetErrorKind;
use runtime::broker::Broker;
use runtime::telemetry;
use schemas::topology::stream;
use schemas::{
    Assignment, AttemptFacts, DeadLetter, Decision, DecodeError, Event, Fact, JobFacts, JobId, JobState,
    Tenant, codec, subjects,
};

/// Events of one job that are read; far above what `max_attempts_ever` lets happen.
const EVENTS_MAX: usize = 1_000;

/// A job's events, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The events. The first may be one that is not stored, of an attempt that only its assignment tells of.
    pub events: Vec<Event>,
    /// The first event is not stored.
    is_untold: bool,
    /// The attempt of a dead letter that no router has followed up yet.
    failed: Option<u32>,
}

/// Reads a job's events, and what waits of it.
///
/// # Errors
/// The broker's words when it does not answer.
pub async fn read(broker: &Broker, job: JobId) -> Result<History, String> {
    // In the order in which an attempt goes on: each step is stored before the one before it is taken away, so one
    // that leaves its place while we look is found at the next.
    let mut waiting = None;
    each(broker, stream::WORK, subjects::work_of_job(job), |payload| {
        waiting = Some(codec::decode::<Assignment>(None, payload)?);
        Ok(())
    })
    .await?;
    let mut letter = None;
    each(broker, stream::DEAD, subjects::dead_of_job(job), |payload| {
        letter = Some(codec::decode::<DeadLetter>(None, payload)?);
        Ok(())
    })
    .await?;
    let mut events = Vec::new();
    each(broker, stream::EVENTS, subjects::events_of_job(job), |payload| {
        events.push(codec::decode::<Event>(None, payload)?);
        Ok(())
    })
    .await?;
    let failed = letter.as_ref().map(|letter| letter.ended_attempt.attempt);
    let assignment = waiting.as_ref().or(letter.as_ref().map(|letter| &letter.assignment));
    let untold = assignment.and_then(Assignment::told);
    let is_untold = untold.is_some();
    events.splice(0..0, untold);
    Ok(History { events, is_untold, failed })
}

/// Reads the messages of a subject, oldest first; one that cannot be read is passed over.
async fn each(
    broker: &Broker,
    stream: &str,
    filter: String,
    mut take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), String> {
    let stream = broker.jetstream.get_stream_no_info(stream).await;
    let stream = stream.map_err(|error| telemetry::chain(&error))?;
    let mut next = 1;
    for _ in 0..EVENTS_MAX {
        match stream.direct_get_next_for_subject(filter.clone(), Some(next)).await {
            Ok(message) => {
                next = message.sequence + 1;
                if let Err(error) = take(&message.payload) {
                    tracing::warn!(subject = %message.subject, %error, "a message cannot be read");
                }
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(telemetry::chain(&error)),
        }
    }
    Ok(())
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

/// Looks up how a tenant's job ended. A job of another tenant is none.
///
/// # Errors
/// The broker's words when it does not answer.
pub async fn last_ended(broker: &Broker, tenant: &Tenant, job: JobId) -> Result<Option<Event>, String> {
    let events = broker.jetstream.get_stream_no_info(stream::EVENTS).await;
    let events = events.map_err(|error| telemetry::chain(&error))?;
    match events.direct_get_last_for_subject(subjects::event(tenant, job, "ended")).await {
        Ok(message) => codec::decode(None, &message.payload).map(Some).map_err(|error| error.to_string()),
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

    /// The `assigned` event of an attempt that only its assignment tells of.
    #[must_use]
    pub fn untold(&self) -> Option<&Event> {
        self.events.first().filter(|_| self.is_untold)
    }

    /// An attempt, or one after it, was placed by its assignment alone: there is nothing to finish.
    #[must_use]
    pub fn is_placed_untold(&self, attempt: u32) -> bool {
        self.untold().is_some_and(|untold| untold.attempt >= attempt)
    }

    /// Something happened in an attempt after it was placed: it reached a worker.
    #[must_use]
    pub fn went_on_from(&self, attempt: u32) -> bool {
        let told = self.events.iter().any(|event| {
            event.attempt > attempt
                || (event.attempt == attempt && !matches!(event.fact, Fact::Assigned { .. }))
        });
        told || self.failed.is_some_and(|failed| failed >= attempt)
    }

    /// Its decisions, oldest first: each from the attempt's `assigned` event, or where it went without from the facts
    /// of the ended attempt.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let mut decisions: BTreeMap<u32, &Decision> = BTreeMap::new();
        for event in &self.events {
            let facts: &[AttemptFacts] = match &event.fact {
                Fact::Assigned { decision, .. } => {
                    decisions.insert(event.attempt, decision);
                    continue;
                }
                Fact::Retrying { ended_attempt, .. } => std::slice::from_ref(ended_attempt),
                Fact::Ended { attempts, .. } => attempts,
                _ => continue,
            };
            for (facts, decision) in
                facts.iter().filter_map(|facts| Some((facts, facts.decision.as_ref()?.read().ok()?)))
            {
                decisions.entry(facts.attempt).or_insert(decision);
            }
        }
        decisions.into_values().cloned().collect()
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

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    fn assigned(attempt: u32) -> Event {
        let assignment = Assignment { attempt, ..samples::first_assignment() };
        assignment.told().expect("it carries its decision")
    }

    #[test]
    fn what_is_untold_is_the_first_attempt_and_says_nothing_of_the_second() {
        // A dead letter of an untold first attempt is in hand, the second is begun and not yet assigned.
        let history = History { events: vec![assigned(1), assigned(2)], is_untold: true, failed: Some(1) };
        assert!(history.is_placed_untold(1) && history.went_on_from(1));
        assert!(!history.is_placed_untold(2) && !history.went_on_from(2));
        assert_eq!(history.last_assigned().map(|event| event.attempt), Some(2));
        assert_eq!(history.untold().map(|event| event.attempt), Some(1));
    }

    #[test]
    fn an_assignment_in_its_queue_is_a_track_and_a_dead_letter_one_that_went_on() {
        let waiting = History { events: vec![assigned(1)], is_untold: true, failed: None };
        assert!(waiting.is_placed_untold(1) && !waiting.went_on_from(1));
        assert_eq!((waiting.state(), waiting.decisions().len()), (JobState::Assigned, 1));
        let failed = History { failed: Some(1), ..waiting };
        assert!(failed.went_on_from(1) && !failed.went_on_from(2));
    }

    #[test]
    fn decisions_come_from_facts_where_no_event_told_them() {
        let decision = samples::first_assignment().decision;
        let facts = AttemptFacts { decision, ..samples::attempt_facts() };
        let [mut retrying, mut ended] = [2, 3].map(|index| samples::events().swap_remove(index));
        if let Fact::Retrying { ended_attempt, .. } = &mut retrying.fact {
            *ended_attempt = facts.clone();
        }
        if let Fact::Ended { attempts, .. } = &mut ended.fact {
            *attempts = vec![facts];
        }
        let told = History { events: vec![retrying, assigned(2), ended], ..History::default() };
        assert_eq!(
            told.decisions().len(),
            2,
            "the first by its facts, told twice, and the second by its event"
        );
        assert!(told.untold().is_none() && !told.is_placed_untold(1));
    }
}
