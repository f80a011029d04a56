//! From weighed backends to a plan with its explanation.

use std::borrow::Cow;

use schemas::{Backend, Candidate, Decision, Failure, FailureCode, FilterReason, MicroUsd};

use super::weigh::Weighed;
use super::{Assign, Plan, PlanInput, score};
use crate::dispose::{code_of, max_attempts};

/// Concludes. `weighed` is in the order of [`score::rank`].
pub(super) fn conclude(input: &PlanInput<'_>, mut weighed: Vec<Weighed>, consent: Cow<'static, str>) -> Plan {
    if let Some(failure) = given_up(input) {
        let reason = failure.message.clone();
        return Plan::Refuse { decision: Box::new(decision(input, weighed, None, reason, consent)), failure };
    }
    let eligible = weighed.iter().filter(|weighed| weighed.candidate.is_eligible()).count();
    if eligible > 0 {
        let (at, why) = winner(input, &weighed[..eligible]);
        weighed[..=at].rotate_right(1);
        return assign(input, weighed, &why, consent);
    }
    let waits = weighed.iter().any(|weighed| weighed.lasting().next().is_none());
    if waits {
        let passing = weighed.iter().filter(|weighed| weighed.lasting().next().is_none());
        let why =
            format!("waiting, nothing is eligible now: {}", words(passing.map(|weighed| &weighed.candidate)));
        let until_ms = input.now_ms.saturating_add_unsigned(input.policy.defer_ms);
        let decision = Box::new(decision(input, weighed, None, why.clone(), consent));
        return Plan::Defer { decision, until_ms, why };
    }
    let failure = refusal(input, &weighed);
    let reason =
        format!("nothing will become eligible: {}", words(weighed.iter().map(|weighed| &weighed.candidate)));
    Plan::Refuse { decision: Box::new(decision(input, weighed, None, reason, consent)), failure }
}

/// Ends that no backend can change: the deadline passed, or the attempts are used up.
fn given_up(input: &PlanInput<'_>) -> Option<Failure> {
    if input.time_left_ms() == Some(0) {
        let mut failure = Failure::new(FailureCode::Expired, "the deadline passed before the job was done");
        failure.field = Some("constraints.deadline_ms".to_owned());
        return Some(failure);
    }
    let most = max_attempts(input.job.constraints.max_attempts, input.policy);
    let used_up = input.counted_attempts >= most || input.attempt > input.policy.max_attempts_ever.max(1);
    used_up.then(|| {
        last_failure(input).unwrap_or_else(|| {
            Failure::new(
                FailureCode::Transient,
                format!("gave up after {} attempts", input.attempt.saturating_sub(1)),
            )
        })
    })
}

/// Which of the eligible runs it: the job's preference, else where a retry was due, else the best score.
fn winner(input: &PlanInput<'_>, eligible: &[Weighed]) -> (usize, String) {
    let position =
        |backend: &Backend| eligible.iter().position(|weighed| weighed.candidate.backend == *backend);
    if let Some(at) = input.job.preferences.backend.as_ref().and_then(position) {
        return (at, "the job prefers it".to_owned());
    }
    let again = input
        .history
        .last()
        .filter(|facts| matches!(code_of(facts), Some(FailureCode::Transient | FailureCode::OutOfMemory)));
    if let Some((facts, at)) = again.and_then(|facts| Some((facts, position(&facts.backend)?))) {
        return (at, format!("attempt {} is tried again there", facts.attempt));
    }
    let best = &eligible[0].candidate;
    let why = match eligible.get(1) {
        None => "nothing else is eligible".to_owned(),
        Some(next) if next.candidate.score < best.score => {
            format!("ahead of {} with {:.3}", next.candidate.backend, next.candidate.score)
        }
        Some(next) if next.candidate.expected_micro_usd > best.expected_micro_usd => {
            format!("cheaper than {} at the same score", next.candidate.backend)
        }
        Some(next) => format!("level with {}, and first by name", next.candidate.backend),
    };
    (0, why)
}

fn assign(input: &PlanInput<'_>, weighed: Vec<Weighed>, why: &str, consent: Cow<'static, str>) -> Plan {
    let winner = weighed[0].candidate.clone();
    let class = input.admitted.class.clone();
    let Some(service) = input.catalog.service(&winner.backend, &class) else {
        unreachable!("a backend without a service is rejected as unsupported")
    };
    let timeout_ms = service.timeout_ms.min(input.time_left_ms().unwrap_or(u64::MAX)).max(1);
    let second = weighed.get(1).map(|weighed| &weighed.candidate).filter(|second| second.is_eligible());
    let second = second.map(|second| second.expected_micro_usd);
    let reason = format!("{} scores {:.3}; {why}", winner.backend, winner.score);
    let mut decision = decision(input, weighed, second, reason, consent);
    decision.choice = Some(winner.backend.clone());
    Plan::Assign(Box::new(Assign {
        decision,
        backend: winner.backend,
        class,
        model: service.model.clone(),
        timeout_ms,
        reserve_micro_usd: winner.reserve_micro_usd,
    }))
}

fn decision(
    input: &PlanInput<'_>,
    weighed: Vec<Weighed>,
    second_best_micro_usd: Option<MicroUsd>,
    reason: String,
    consent: Cow<'static, str>,
) -> Decision {
    Decision {
        time_ms: input.now_ms,
        attempt: input.attempt,
        class: input.admitted.class.clone(),
        choice: None,
        reason,
        candidates: weighed.into_iter().map(|weighed| weighed.candidate).collect(),
        second_best_micro_usd,
        weights: score::weights(input),
        consent,
    }
}

/// How a job ends that nothing can run: the failure of its last attempt, else what came closest to
/// running it and the cure for that.
fn refusal(input: &PlanInput<'_>, weighed: &[Weighed]) -> Failure {
    if let Some(failure) = last_failure(input) {
        return failure;
    }
    let all = words(weighed.iter().map(|weighed| &weighed.candidate));
    let Some(closest) = weighed.iter().min_by_key(|weighed| distance(weighed)) else {
        return Failure::new(FailureCode::BackendDown, "no backend is configured: tell the operator");
    };
    let reason = closest.lasting().next().map_or(FilterReason::Unknown, |rejection| rejection.reason);
    let (code, field, cure) = cure(reason);
    let mut failure = Failure::new(code, format!("no backend may run the job: {all}; {cure}"));
    failure.field = field.map(str::to_owned);
    failure.with_missing(closest.missing.clone())
}

/// How far a backend is from running the job: what the job itself leaves out is farthest.
fn distance(weighed: &Weighed) -> (bool, usize) {
    let left_out = weighed.lasting().any(|rejection| rejection.reason == FilterReason::NotAllowedByJob);
    (left_out, weighed.lasting().count())
}

/// What a job or its operator can do about a lasting reason.
const fn cure(reason: FilterReason) -> (FailureCode, Option<&'static str>, &'static str) {
    let invalid = FailureCode::InvalidJob;
    match reason {
        FilterReason::DeadlineUnreachable => (
            FailureCode::Expired,
            Some("constraints.deadline_ms"),
            "give it more time in constraints.deadline_ms",
        ),
        FilterReason::CapabilityMissing => {
            (FailureCode::CapabilityMissing, None, "install what is missing, or use another model")
        }
        FilterReason::NoConsent => (
            invalid,
            Some("constraints.allow_paid"),
            "set constraints.allow_paid, or let the tenant's policy allow it",
        ),
        FilterReason::PossiblyPaid => (
            FailureCode::OutcomeUnknown,
            Some("constraints.retry_unknown"),
            "set a ceiling that covers both, or constraints.retry_unknown",
        ),
        FilterReason::OverCeiling => {
            (invalid, Some("constraints.max_cost_micro_usd"), "raise constraints.max_cost_micro_usd")
        }
        FilterReason::NotAllowedByJob => (
            invalid,
            Some("constraints.backends"),
            "allow more in constraints.backends or constraints.exclude_backends",
        ),
        FilterReason::NotAllowedByTenant => {
            (invalid, Some("tenant"), "let the tenant's policy allow more backends")
        }
        FilterReason::Unsupported
        | FilterReason::Exhausted
        | FilterReason::LedgerAway
        | FilterReason::ReservationRefused
        | FilterReason::NoWorker
        | FilterReason::Unhealthy
        | FilterReason::BreakerOpen
        | FilterReason::BacklogFull
        | FilterReason::Unknown => (invalid, Some("body"), "change the body to what a backend takes"),
    }
}

fn last_failure(input: &PlanInput<'_>) -> Option<Failure> {
    input.history.last().and_then(|facts| facts.failure.clone())
}

/// Every backend with all that speaks against it, by name.
fn words<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> String {
    let mut all: Vec<String> = candidates
        .map(|candidate| {
            let details: Vec<_> = candidate.rejections.iter().map(|rejection| &*rejection.detail).collect();
            format!("{}: {}", candidate.backend, details.join(", "))
        })
        .collect();
    all.sort_unstable();
    all.join("; ")
}
