//! What happened to one job: its events, and where no event exists for its first attempt, that attempt's assignment or
//! failed attempt. Only the slow paths (recovery, status, cancel) read them; a job that goes well costs no look-up.

use std::collections::BTreeMap;

use schemas::{
    Assignment, AttemptFacts, DeadLetter, Decision, Event, Fact, JobFacts, JobId, JobState, Tenant,
};

use crate::errors::PortError;
use crate::router::ports::RouterPorts;

/// So many earlier jobs are followed from one to the next.
const FIRSTS_MAX: usize = 4;

/// A job's events, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The events. The first may be one that is not stored, of an attempt whose assignment carries its decision.
    pub events: Vec<Event>,
    /// The first event is not stored.
    is_first_without_event: bool,
    /// The attempt of a failed attempt that no router has followed up yet.
    failed: Option<u32>,
}

/// Reads a job's tracks.
///
/// # Errors
/// The broker did not answer.
pub async fn read<P: RouterPorts>(ports: &P, job: JobId) -> Result<History, PortError> {
    read_of(ports, None, job).await
}

/// The job whose history is wanted: the earlier one, where this one was published again under another id. To one tenant a
/// job of another is one of which nothing happened.
///
/// # Errors
/// The broker did not answer.
pub async fn read_first<P: RouterPorts>(
    ports: &P,
    whose: Option<&Tenant>,
    job: JobId,
) -> Result<(JobId, History), PortError> {
    let (mut first, mut history) = (job, read_of(ports, whose, job).await?);
    // A job may be told to be one that had been told to be another: where a router took the key for it in between.
    for _ in 0..FIRSTS_MAX {
        let Some(of) = history.same_as() else { break };
        (first, history) = (of, read_of(ports, whose, of).await?);
    }
    Ok((first, history))
}

/// The order of what happens in an attempt.
const fn step(fact: &Fact) -> u8 {
    match fact {
        Fact::Assigned { .. } => 0,
        Fact::Running { .. } => 1,
        Fact::Retrying { .. } => 2,
        _ => 3,
    }
}

async fn read_of<P: RouterPorts>(
    ports: &P,
    whose: Option<&Tenant>,
    job: JobId,
) -> Result<History, PortError> {
    // In the order in which an attempt goes on: each step is stored before the one before it is taken away, so one
    // that leaves its place while we look is found at the next.
    let is_whose = |tenant: &Tenant| whose.is_none_or(|whose| whose == tenant);
    let queued = ports.queued(job).await?.filter(|queued| is_whose(&queued.job.tenant));
    let failed = ports.failed(job).await?.filter(|failed| is_whose(&failed.assignment.job.tenant));
    let mut events = ports.events(job).await?;
    events.retain(|event| is_whose(&event.tenant));
    Ok(History::of(queued.as_ref(), failed.as_ref(), events))
}

impl History {
    /// A history made of a job's tracks, which must be read in this order.
    #[must_use]
    pub fn of(queued: Option<&Assignment>, failed: Option<&DeadLetter>, mut events: Vec<Event>) -> Self {
        let assignment = queued.or(failed.map(|failed| &failed.assignment));
        let without_event = assignment.and_then(Assignment::told);
        // Facts that were stored again, to make room, come after others than they did.
        events.sort_by_key(|event| (event.attempt, step(&event.fact)));
        let is_first_without_event = without_event.is_some();
        events.splice(0..0, without_event);
        let failed = failed.map(|failed| failed.ended_attempt.attempt);
        Self { events, is_first_without_event, failed }
    }

    /// Where the job is.
    #[must_use]
    pub fn state(&self) -> JobState {
        let ended = self.ended().and_then(Event::state);
        let last = self.events.iter().rev().find_map(Event::state);
        ended.or(last).unwrap_or(JobState::Submitted)
    }

    /// Whose job it is; none where nothing happened.
    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        self.events.first().map(|event| &event.tenant)
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

    /// Whether nothing is to be made of it any more: it has ended, or it was told to be an earlier job once more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended().is_some() || self.same_as().is_some()
    }

    /// Whether it is told what followed an attempt that failed, or the job went on since.
    #[must_use]
    pub fn has_retried(&self, attempt: u32) -> bool {
        let is_told = |event: &Event| match &event.fact {
            Fact::Assigned { .. } | Fact::Running { .. } => event.attempt > attempt,
            Fact::Retrying { .. } => event.attempt >= attempt,
            Fact::Ended { .. } => true,
            _ => false,
        };
        self.events.iter().any(is_told)
    }

    /// The last attempt that was placed.
    #[must_use]
    pub fn last_assigned(&self) -> Option<&Event> {
        self.events.iter().rev().find(|event| matches!(event.fact, Fact::Assigned { .. }))
    }

    /// Whether an attempt was placed or told of, or there is nothing more to place.
    #[must_use]
    pub fn has_begun(&self, attempt: u32) -> bool {
        self.is_over()
            || self.went_on_from(attempt)
            || self.last_assigned().is_some_and(|event| event.attempt >= attempt)
    }

    /// The `assigned` event of an attempt for which none is stored.
    #[must_use]
    pub fn without_event(&self) -> Option<&Event> {
        self.events.first().filter(|_| self.is_first_without_event)
    }

    /// Whether an attempt, or one after it, was placed by its assignment alone: there is nothing to resume.
    #[must_use]
    pub fn placed_without_event(&self, attempt: u32) -> bool {
        self.without_event().is_some_and(|event| event.attempt >= attempt)
    }

    /// Whether something happened in an attempt after it was placed: it reached a worker.
    #[must_use]
    pub fn went_on_from(&self, attempt: u32) -> bool {
        let after = self.events.iter().any(|event| {
            event.attempt > attempt
                || (event.attempt == attempt && !matches!(event.fact, Fact::Assigned { .. }))
        });
        after || self.failed.is_some_and(|failed| failed >= attempt)
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
        self.events.iter().rev().find_map(|event| event.fact.facts())
    }
}

impl History {
    /// The warnings of its facts, each once.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for warning in
            self.events.iter().filter_map(|event| event.fact.facts()).flat_map(|facts| &facts.warnings)
        {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        if self.ended().is_some_and(Event::is_marker) {
            warnings
                .push("its events were removed to make room; the ledger has them (argosy jobs)".to_owned());
        }
        warnings
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
    fn what_is_first_without_event_is_the_first_attempt_and_says_nothing_of_the_second() {
        // A failed first attempt without event is in hand, the second is begun and not yet assigned.
        let history =
            History { events: vec![assigned(1), assigned(2)], is_first_without_event: true, failed: Some(1) };
        assert!(history.placed_without_event(1) && history.went_on_from(1));
        assert!(!history.placed_without_event(2) && !history.went_on_from(2));
        assert_eq!(history.last_assigned().map(|event| event.attempt), Some(2));
        assert_eq!(history.without_event().map(|event| event.attempt), Some(1));
    }

    #[test]
    fn an_assignment_in_its_queue_is_a_track_and_a_dead_letter_one_that_went_on() {
        let waiting = History { events: vec![assigned(1)], is_first_without_event: true, failed: None };
        assert!(waiting.placed_without_event(1) && !waiting.went_on_from(1));
        assert_eq!((waiting.state(), waiting.decisions().len()), (JobState::Assigned, 1));
        let failed = History { failed: Some(1), ..waiting };
        assert!(failed.went_on_from(1) && !failed.went_on_from(2));
    }

    #[test]
    fn what_followed_a_failed_attempt_is_told_by_its_event_or_by_what_came_after() {
        let told = |attempt| Event { attempt, ..samples::events().swap_remove(2) };
        let of = |events| History { events, ..History::default() };
        assert!(!of(vec![assigned(1)]).has_retried(1), "placed, and nothing more");
        assert!(of(vec![assigned(1), told(1)]).has_retried(1));
        assert!(!of(vec![told(1), assigned(2)]).has_retried(2), "the second failed as well");
        assert!(of(vec![assigned(2)]).has_retried(1), "it went on");
    }

    #[test]
    fn the_end_is_told_by_itself_while_its_marker_lies_behind_it() {
        let end = samples::events().swap_remove(3);
        let marker = end.marker().expect("an end");
        let of = |events| History { events, ..History::default() };
        assert_eq!(of(vec![assigned(1), end.clone(), marker.clone()]).ended(), Some(&end));
        assert_eq!(of(vec![marker.clone()]).ended(), Some(&marker));
    }

    #[test]
    fn a_job_that_was_an_earlier_one_is_over() {
        let duplicate = |event: Event| Event { fact: Fact::Duplicate { of: event.job }, ..event };
        assert!(!History { events: vec![assigned(1)], ..History::default() }.is_over());
        assert!(History { events: vec![duplicate(assigned(1))], ..History::default() }.is_over());
    }

    #[test]
    fn decisions_come_from_facts_where_there_is_no_event() {
        let decision = samples::first_assignment().decision;
        let facts = AttemptFacts { decision, ..samples::attempt_facts() };
        let [mut retrying, mut ended] = [2, 3].map(|index| samples::events().swap_remove(index));
        if let Fact::Retrying { ended_attempt, .. } = &mut retrying.fact {
            *ended_attempt = facts.clone();
        }
        if let Fact::Ended { attempts, .. } = &mut ended.fact {
            *attempts = vec![facts];
        }
        let history = History { events: vec![retrying, assigned(2), ended], ..History::default() };
        assert_eq!(
            history.decisions().len(),
            2,
            "the first by its facts, once though it is there twice, and the second by its event"
        );
        assert!(history.without_event().is_none() && !history.placed_without_event(1));
    }
}
