//! What a job's own attempts say about a backend: given up there for good, or better left alone now.

use schemas::{AttemptFacts, AttemptId, Backend, FailureCode, Queue};

use super::{PlanInput, capability};
use crate::backoff::{Backoff, seed_of};
use crate::breaker::{QUOTA_OPEN_MAX_MS, QUOTA_OPEN_MS};
use crate::dispose::{OUT_OF_MEMORY_MAX, code_of, times, transient_in_a_row};
use crate::funds::is_handed_back;

/// Attempts of a job at a backend whose outcome nobody could tell before it does not go there again.
const OUTCOME_UNKNOWN_MAX: u32 = 2;

/// The verdict of the job's attempts on a backend.
pub(super) enum Verdict {
    /// Nothing against it.
    Open,
    /// It was out of order, which may pass, or there is no time to wait for it: not in the next plan while
    /// anything else will do, and not before this moment, Unix milliseconds.
    Away { until_ms: i64, words: String },
    /// The job does not go there again.
    Exhausted { words: String },
}

/// Reads the job's attempts on a backend.
pub(super) fn verdict(input: &PlanInput<'_>, backend: &Backend) -> Verdict {
    let attempts: Vec<&AttemptFacts> =
        input.history.iter().filter(|facts| facts.backend == *backend).collect();
    if attempts.is_empty() {
        return Verdict::Open;
    }
    if let Some(facts) = attempts.iter().find(|facts| ends_it(facts, input)) {
        return Verdict::Exhausted { words: words(facts) };
    }
    let out_of_memory = times(input.history.iter(), backend, FailureCode::OutOfMemory);
    if out_of_memory >= OUT_OF_MEMORY_MAX {
        return Verdict::Exhausted {
            words: format!("the job ran out of memory there {out_of_memory} times"),
        };
    }
    let unknown = times(input.history.iter(), backend, FailureCode::OutcomeUnknown);
    if unknown >= OUTCOME_UNKNOWN_MAX {
        return Verdict::Exhausted {
            words: format!("what came of the job there was unknown {unknown} times"),
        };
    }
    let transient = transient_in_a_row(input.history.iter(), backend);
    if transient > 0 && transient >= input.policy.max_attempts_per_backend {
        return Verdict::Exhausted { words: format!("the job failed there {transient} times in a row") };
    }
    attempts.iter().rev().find_map(|facts| away(facts, input)).unwrap_or(Verdict::Open)
}

fn away(facts: &AttemptFacts, input: &PlanInput<'_>) -> Option<Verdict> {
    if let Some(away_ms) = away_ms(facts, input) {
        let until_ms = facts.finished_at_ms.saturating_add_unsigned(away_ms);
        return Some(Verdict::Away { until_ms, words: words(facts) });
    }
    has_no_time(facts, input).then(|| Verdict::Away {
        until_ms: facts.finished_at_ms,
        words: format!("{}, and the wait before another would outlast the deadline", words(facts)),
    })
}

fn ends_it(facts: &AttemptFacts, input: &PlanInput<'_>) -> bool {
    let Some(failure) = &facts.failure else { return false };
    match failure.code {
        // It was about one server; those of the backend that differ may have it.
        FailureCode::CapabilityMissing => !capability::has_others(input, &facts.backend),
        FailureCode::InvalidJob
        | FailureCode::ContentRefused
        | FailureCode::ProviderStopped
        | FailureCode::Timeout
        | FailureCode::UnusableResult
        | FailureCode::NotStored
        | FailureCode::Poison => true,
        // The wait it asked for ends after the deadline.
        FailureCode::RateLimited => failure.retry_after_ms.is_some_and(|hint_ms| {
            is_late(facts, Backoff::of(input.policy).hinted_ms(hint_ms, seed(facts, input)), input)
        }),
        FailureCode::OutOfMemory
        | FailureCode::QuotaExhausted
        | FailureCode::Transient
        | FailureCode::BackendDown
        | FailureCode::Interrupted
        | FailureCode::OutcomeUnknown
        | FailureCode::Cancelled
        | FailureCode::Expired
        | FailureCode::TooNew
        | FailureCode::Unknown => false,
    }
}

/// How long a backend that was out of order is left alone, milliseconds.
fn away_ms(facts: &AttemptFacts, input: &PlanInput<'_>) -> Option<u64> {
    let failure = facts.failure.as_ref()?;
    match failure.code {
        FailureCode::BackendDown if another_server_does(facts, input) => None,
        // What may have been paid there is booked and counts against the ceiling, so one more try is the
        // ceiling's to allow; elsewhere is still better.
        FailureCode::BackendDown | FailureCode::OutcomeUnknown => Some(input.policy.breaker_open_ms),
        // For want of money: it is planned at once, with the prices of now.
        FailureCode::Interrupted if is_handed_back(facts) => None,
        // Taken out of its queue there before anybody began: it was far behind, or without workers. Only its servers of one
        // kind may be gone; then it says that the job may go there again at once.
        FailureCode::Interrupted if facts.started_at_ms.is_none() => {
            Some(failure.retry_after_ms.unwrap_or(input.policy.breaker_open_ms))
                .filter(|away_ms| *away_ms > 0)
        }
        FailureCode::QuotaExhausted => {
            Some(failure.retry_after_ms.unwrap_or(QUOTA_OPEN_MS).min(QUOTA_OPEN_MAX_MS))
        }
        _ => None,
    }
}

/// It failed at one server, which its worker leaves alone for a while, and another serves the job there.
fn another_server_does(facts: &AttemptFacts, input: &PlanInput<'_>) -> bool {
    let Some(worker) = &facts.worker else { return false };
    let any = Queue::of_class(input.admitted.class.clone());
    input.fleet.view(&facts.backend).is_some_and(|view| {
        view.offers.iter().any(|offer| {
            offer.worker != *worker
                && offer.breaker.is_some()
                && offer.serves(&any, input.policy.offer_max_age_ms, input.now_ms)
        })
    })
}

/// The job's last attempt: there is no time for the wait before another one there, so it goes elsewhere if it can.
fn has_no_time(facts: &AttemptFacts, input: &PlanInput<'_>) -> bool {
    if input.history.last().is_none_or(|last| last.attempt != facts.attempt) {
        return false;
    }
    let asked = facts.failure.as_ref().and_then(|failure| failure.retry_after_ms);
    let failures = match code_of(facts) {
        Some(FailureCode::Transient | FailureCode::OutOfMemory) => {
            transient_in_a_row(input.history.iter(), &facts.backend).max(1)
        }
        Some(code @ FailureCode::RateLimited) if asked.is_none() => {
            times(input.history.iter(), &facts.backend, code)
        }
        _ => return false,
    };
    is_late(facts, Backoff::of(input.policy).delay_ms(failures, seed(facts, input)), input)
}

fn seed(facts: &AttemptFacts, input: &PlanInput<'_>) -> u64 {
    seed_of(AttemptId { job: input.job.id, attempt: facts.attempt })
}

/// A wait after an attempt ends after the deadline.
fn is_late(facts: &AttemptFacts, wait_ms: u64, input: &PlanInput<'_>) -> bool {
    let back_ms = facts.finished_at_ms.saturating_add_unsigned(wait_ms);
    input.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= back_ms)
}

fn words(facts: &AttemptFacts) -> String {
    let code = code_of(facts).map_or("unknown", FailureCode::as_str);
    format!("attempt {} ended there with {code}", facts.attempt)
}
