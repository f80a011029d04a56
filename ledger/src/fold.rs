//! From all events of a job to its rows: pure, and the same whatever order the events came in.
//!
//! What two events tell differently is settled here, once:
//! - the state is that of the first terminal event by time, else the furthest step of the latest attempt;
//! - an attempt's facts come from the surest teller: `charged`, then `ended`, then `retrying`, then
//!   `assigned`, then `running`;
//! - why it was placed is told by `assigned`, or where it went without by whoever tells of its end;
//! - its money likewise, except that known money outranks money that is still open ([`charge`]).

pub mod charge;
mod sources;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    Artifact, AttemptFacts, Decision, Event, Fact, FilterReason, JobFacts, JobId, JobState, MicroUsd, Usage,
};

use sources::ended_facts;

pub use charge::{ChargeRow, Request, Told};
pub use sources::Source;

/// A row of `jobs`. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// Who pays.
    pub tenant: String,
    /// What does not change about it.
    pub facts: JobFacts,
    /// Where it is.
    pub state: JobState,
    /// Since when.
    pub state_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// The failure it ended with, as JSON.
    pub failure: Option<serde_json::Value>,
    /// Its code.
    pub failure_code: Option<&'static str>,
    /// What was made.
    pub artifacts: Vec<Artifact>,
    /// What its first decision expected it to cost at each backend that could make it.
    pub elsewhere: BTreeMap<String, MicroUsd>,
}

/// A row of `attempts`. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the columns of analytics.attempts describe them")]
pub struct AttemptRow {
    pub attempt: u32,
    pub backend: String,
    pub class: Option<String>,
    pub model: Option<String>,
    pub worker: Option<String>,
    pub simulated: bool,
    pub assigned_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub finished_at_ms: Option<i64>,
    pub provider_id: Option<String>,
    pub usage: Vec<Usage>,
    pub energy_mj: Option<i64>,
    pub failure_code: Option<&'static str>,
    pub failure: Option<serde_json::Value>,
    pub disposition: Option<String>,
    pub next_at_ms: Option<i64>,
    pub reason: Option<String>,
    pub expected_micro_usd: Option<i64>,
}

/// All rows of a job but its charges, and what its events tell about money.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The job.
    pub job: JobRow,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptRow>,
    /// What is told about the money of each attempt.
    pub money: BTreeMap<u32, Told>,
}

/// Folds a job from its events in any order. None when they describe no job: only a refused publish is known.
#[must_use]
pub fn fold<E: Borrow<Event>>(events: &[E]) -> Option<Folded> {
    let mut events: Vec<&Event> = events.iter().map(Borrow::borrow).collect();
    events.sort_by(|a, b| order(a).cmp(&order(b)));
    let events = events.as_slice();
    let last = events.iter().rev().find(|event| facts_of(event).is_some())?;
    let mut facts = facts_of(last)?.clone();
    if facts.class.is_none() {
        facts.class = events.iter().rev().find_map(|event| facts_of(event)?.class.clone());
    }
    let numbers: BTreeSet<u32> = events.iter().flat_map(|event| numbers_of(event)).collect();
    let attempts = numbers.iter().filter_map(|number| attempt(*number, events)).collect();
    let money = numbers.iter().map(|number| (*number, charge::told(*number, events))).collect();
    let job = job(last, facts, &numbers, events);
    Some(Folded { job, attempts, money })
}

/// A total order that does not depend on arrival.
fn order(event: &Event) -> (i64, u32, &'static str) {
    (event.time_ms, event.attempt, event.fact.kind())
}

fn facts_of(event: &Event) -> Option<&JobFacts> {
    event.fact.facts()
}

fn numbers_of(event: &Event) -> Vec<u32> {
    match &event.fact {
        Fact::Assigned { .. } | Fact::Running { .. } => vec![event.attempt],
        Fact::Retrying { ended_attempt, .. } | Fact::Charged { ended_attempt, .. } => {
            vec![ended_attempt.attempt]
        }
        Fact::Ended { attempts, .. } => attempts.iter().map(|facts| facts.attempt).collect(),
        Fact::Refused { .. } | Fact::Duplicate { .. } | Fact::Unknown => Vec::new(),
    }
}

fn job(last: &Event, facts: JobFacts, numbers: &BTreeSet<u32>, events: &[&Event]) -> JobRow {
    let mut row = JobRow {
        id: last.job,
        tenant: last.tenant.to_string(),
        state: JobState::Submitted,
        state_at_ms: facts.submitted_at_ms,
        ended_at_ms: None,
        failure: None,
        failure_code: None,
        artifacts: Vec::new(),
        elsewhere: elsewhere(numbers, events),
        facts,
    };
    // Events are in order: the first terminal one is the first found.
    let first_end = events.iter().find_map(|event| match &event.fact {
        Fact::Ended { state, artifacts, failure, .. } => Some((event, state, artifacts, failure)),
        _ => None,
    });
    if let Some((event, state, artifacts, failure)) = first_end {
        row.state = *state;
        row.state_at_ms = event.time_ms;
        row.ended_at_ms = Some(event.time_ms);
        row.failure_code = failure.as_ref().map(|failure| failure.code.as_str());
        row.failure = failure.as_ref().and_then(|failure| serde_json::to_value(failure).ok());
        row.artifacts.clone_from(artifacts);
    } else if let Some((_, event, state)) =
        events.iter().filter_map(|event| step(event)).max_by_key(|(rank, _, _)| *rank)
    {
        row.state = state;
        row.state_at_ms = event.time_ms;
    }
    row
}

/// How far an event says the job is.
fn step(event: &Event) -> Option<((u32, u8, i64), &Event, JobState)> {
    let state = event.state().filter(|state| !state.is_terminal())?;
    let within = match state {
        JobState::Assigned => 1,
        JobState::Running => 2,
        JobState::Retrying => 3,
        _ => 0,
    };
    Some(((event.attempt, within, event.time_ms), event, state))
}

/// Why an attempt was placed where it was.
fn decision<'a>(
    number: u32,
    events: &[&'a Event],
    told: &[(Source, i64, &'a AttemptFacts)],
) -> Option<&'a Decision> {
    let assigned = events.iter().rev().find_map(|event| match &event.fact {
        Fact::Assigned { decision, .. } if event.attempt == number => Some(decision),
        _ => None,
    });
    assigned.or_else(|| told.iter().find_map(|(_, _, facts)| facts.decision.as_ref()?.read().ok()))
}

fn elsewhere(numbers: &BTreeSet<u32>, events: &[&Event]) -> BTreeMap<String, MicroUsd> {
    let first = numbers.iter().find_map(|number| decision(*number, events, &ended_facts(*number, events)));
    let Some(decision) = first else { return BTreeMap::new() };
    let possible = decision.candidates.iter().filter(|candidate| {
        // What cannot make it at all has no price for it; a zero there would be no saving.
        !candidate.rejections.iter().any(|rejection| rejection.reason == FilterReason::Unsupported)
    });
    possible.map(|candidate| (candidate.backend.to_string(), candidate.expected_micro_usd)).collect()
}

fn attempt(number: u32, events: &[&Event]) -> Option<AttemptRow> {
    let told = ended_facts(number, events);
    let best = told.first().map(|(_, _, facts)| *facts);
    let assigned = events.iter().rev().find_map(|event| match &event.fact {
        Fact::Assigned { backend, class, model, .. } if event.attempt == number => {
            Some((event.time_ms, backend, class, model))
        }
        _ => None,
    });
    let running = events.iter().rev().find_map(|event| match &event.fact {
        Fact::Running { backend, worker, started_at_ms, facts } if event.attempt == number => {
            Some((backend, worker, *started_at_ms, facts.class.as_ref()))
        }
        _ => None,
    });
    let followed = events.iter().rev().find_map(|event| match &event.fact {
        Fact::Retrying { ended_attempt, disposition, next_at_ms, .. } if ended_attempt.attempt == number => {
            Some((disposition.clone(), *next_at_ms))
        }
        _ => None,
    });
    let backend = best
        .map(|b| &b.backend)
        .or(assigned.map(|a| a.1))
        .or(running.map(|r| r.0))
        .map(ToString::to_string)?;
    let decision = decision(number, events, &told);
    let candidate = decision.and_then(|decision| {
        decision.candidates.iter().find(|candidate| candidate.backend.as_str() == backend)
    });
    let failure = best.and_then(|facts| facts.failure.as_ref());
    // What a surer teller leaves out, a less sure one may have said.
    let any = told.iter().map(|(_, _, facts)| *facts);
    Some(AttemptRow {
        attempt: number,
        class: best
            .map(|b| &b.class)
            .or(assigned.map(|a| a.2))
            .or(running.and_then(|r| r.3))
            .map(ToString::to_string),
        model: best.map(|b| &b.model).or(assigned.map(|a| a.3)).cloned(),
        worker: any.clone().find_map(|f| f.worker.as_ref()).or(running.map(|r| r.1)).map(ToString::to_string),
        simulated: best.map_or_else(|| candidate.is_some_and(|c| c.simulated), |facts| facts.simulated),
        assigned_at_ms: best
            .map(|facts| facts.assigned_at_ms)
            .or(assigned.map(|a| a.0))
            .or(running.map(|r| r.2))
            .unwrap_or_default(),
        started_at_ms: any.clone().find_map(|facts| facts.started_at_ms).or(running.map(|r| r.2)),
        finished_at_ms: best.map(|facts| facts.finished_at_ms),
        provider_id: any.clone().find_map(|facts| facts.provider_id.clone()),
        usage: best.map(|facts| facts.usage.clone()).unwrap_or_default(),
        energy_mj: any
            .clone()
            .find_map(|facts| facts.energy_mj)
            .map(|mj| i64::try_from(mj).unwrap_or(i64::MAX)),
        failure_code: failure.map(|failure| failure.code.as_str()),
        failure: failure.and_then(|failure| serde_json::to_value(failure).ok()),
        disposition: followed.as_ref().map(|(disposition, _)| disposition.clone()),
        next_at_ms: followed.map(|(_, next_at_ms)| next_at_ms),
        reason: decision.map(|decision| decision.reason.clone()),
        expected_micro_usd: candidate.map(|candidate| candidate.expected_micro_usd.0),
        backend,
    })
}
