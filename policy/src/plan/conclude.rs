//! From weighed backends to a plan with its explanation.

use schemas::{Backend, Candidate, Capability, Decision, Failure, FailureCode, FilterReason, Terms};

use super::consent::Consent;
use super::weigh::lasting;
use super::why::{Why, sentence};
use super::{Assign, Choice, Plan, PlanInput, capability, chosen};
use crate::dispose::{is_used_up, max_attempts, spent};
use crate::funds::is_handed_back;

/// How the reason of a deferral begins.
pub(crate) const WAITING: &str = "waiting, nothing is eligible now: ";

/// Concludes. `candidates` are in the order of [`super::score::rank`].
pub(super) fn conclude(
    input: &PlanInput<'_>,
    mut candidates: Vec<Candidate>,
    weights: Terms,
    consent: Consent,
) -> Plan {
    let decision = |candidates, reason| Decision {
        time_ms: input.now_ms,
        attempt: input.attempt,
        class: input.admitted.class.clone(),
        choice: None,
        reason,
        candidates,
        second_best_micro_usd: None,
        weights,
        consent: consent.words(input),
    };
    if let Some(failure) = given_up(input) {
        let reason = failure.message.clone();
        return Plan::Refuse { decision: Box::new(decision(candidates, reason)), failure };
    }
    let eligible = candidates.iter().filter(|candidate| candidate.is_eligible()).count();
    if eligible > 0 {
        let eligible = &candidates[..eligible];
        let chosen = match input.choice {
            Choice::Weighted => Ok(winner(input, eligible)),
            Choice::FreeSlot { within_ms } => chosen::free_slot(input, eligible, within_ms),
            Choice::Scheduled { backend, why, .. } => chosen::scheduled(eligible, backend, why),
            Choice::Waits { why } => Err(why.to_owned()),
        };
        match chosen {
            Ok((at, why)) => {
                let reason = sentence(&candidates[at], &why);
                candidates[..=at].rotate_right(1);
                return match chosen::capability(input, &candidates[0].backend) {
                    Some(capability) => assign(input, decision(candidates, reason), capability),
                    None => {
                        let why = format!(
                            "{}, whose workers that could run it do not take it now",
                            candidates[0].backend
                        );
                        defer(input, decision(candidates, why.clone()), why)
                    }
                };
            }
            Err(why) => return defer(input, decision(candidates, why.clone()), why),
        }
    }
    let passing: Vec<_> =
        candidates.iter().filter(|candidate| lasting(input, candidate).next().is_none()).collect();
    if !passing.is_empty() {
        let why = format!("{WAITING}{}", words(passing));
        return defer(input, decision(candidates, why.clone()), why);
    }
    let all = words(&candidates);
    let failure = refusal(input, &candidates, consent, &all);
    let reason = format!("nothing will become eligible: {all}");
    Plan::Refuse { decision: Box::new(decision(candidates, reason)), failure }
}

fn defer(input: &PlanInput<'_>, decision: Decision, why: String) -> Plan {
    let until_ms = input.now_ms.saturating_add_unsigned(input.policy.defer_ms);
    Plan::Defer { decision: Box::new(decision), until_ms, why }
}

/// Ends that no backend can change: the deadline passed, or the attempts are used up.
fn given_up(input: &PlanInput<'_>) -> Option<Failure> {
    if input.time_left_ms() == Some(0) {
        let mut failure = Failure::new(FailureCode::Expired, "the deadline passed before the job was done");
        failure.field = Some("constraints.deadline_ms".to_owned());
        return Some(failure);
    }
    let most = max_attempts(input.job.constraints.max_attempts, input.policy);
    let used_up = input.counted_attempts >= most
        || is_used_up(input.attempt.saturating_sub(1), spent(input.history.iter()), input.policy);
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
fn winner<'a>(input: &PlanInput<'_>, eligible: &'a [Candidate]) -> (usize, Why<'a>) {
    let position = |backend: &Backend| eligible.iter().position(|candidate| candidate.backend == *backend);
    if let Some(at) = input.job.preferences.backend.as_ref().and_then(position) {
        return (at, Why::Preferred);
    }
    let again = chosen::due_again(input);
    if let Some((facts, at)) = again.and_then(|facts| Some((facts, position(&facts.backend)?))) {
        return (at, Why::Again { attempt: facts.attempt });
    }
    let best = &eligible[0];
    let why = match eligible.get(1) {
        None => Why::Alone,
        Some(next) if next.score < best.score => Why::Ahead(next),
        Some(next) if next.expected_micro_usd > best.expected_micro_usd => Why::Cheaper(next),
        Some(next) => Why::Level(next),
    };
    (0, why)
}

/// Places the attempt on the first candidate.
fn assign(input: &PlanInput<'_>, mut decision: Decision, capability: Option<Capability>) -> Plan {
    let [winner, others @ ..] = &decision.candidates[..] else {
        unreachable!("a winner is one of the candidates")
    };
    let Some(service) = input.catalog.service(&winner.backend, &decision.class) else {
        unreachable!("a backend without a service is rejected as unsupported")
    };
    let (backend, reserve_micro_usd) = (winner.backend.clone(), winner.reserve_micro_usd);
    let second = others.first().filter(|second| second.is_eligible());
    decision.second_best_micro_usd = second.map(|second| second.expected_micro_usd);
    decision.choice = Some(backend.clone());
    Plan::Assign(Box::new(Assign {
        backend,
        class: decision.class.clone(),
        capability,
        model: service.model.clone(),
        timeout_ms: service.timeout_ms.min(input.time_left_ms().unwrap_or(u64::MAX)).max(1),
        reserve_micro_usd,
        decision,
    }))
}

/// How a job ends that nothing can run: the failure of its last attempt, else what came closest to
/// running it and the cure for that.
fn refusal(input: &PlanInput<'_>, candidates: &[Candidate], consent: Consent, all: &str) -> Failure {
    // Handed back for want of money it did not fail: what speaks against it now does.
    if let Some(failure) = last_failure(input).filter(|_| !input.history.last().is_some_and(is_handed_back)) {
        return failure;
    }
    let Some(closest) = candidates.iter().min_by_key(|candidate| distance(input, candidate)) else {
        return Failure::new(FailureCode::BackendDown, "no backend is configured: tell the operator");
    };
    let reason = lasting(input, closest).next().map_or(FilterReason::Unknown, |rejection| rejection.reason);
    let (code, field, cure) = match reason {
        FilterReason::NoConsent => (FailureCode::InvalidJob, Some(consent.field()), consent.words(input)),
        _ => {
            let (code, field, cure) = cure(reason);
            (code, field, cure.into())
        }
    };
    let mut failure = Failure::new(code, format!("no backend may run the job: {all}; {cure}"));
    failure.field = field.map(str::to_owned);
    failure.with_missing(capability::missing(input, &closest.backend))
}

/// How far a backend is from running the job: what the job itself leaves out is farthest.
fn distance(input: &PlanInput<'_>, candidate: &Candidate) -> (bool, usize) {
    let left_out =
        lasting(input, candidate).any(|rejection| rejection.reason == FilterReason::NotAllowedByJob);
    (left_out, lasting(input, candidate).count())
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
        | FilterReason::NoConsent
        | FilterReason::Exhausted
        | FilterReason::LedgerAway
        | FilterReason::DocumentUnreadable
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
fn words<'a>(candidates: impl IntoIterator<Item = &'a Candidate>) -> String {
    let mut all: Vec<String> = candidates
        .into_iter()
        .map(|candidate| {
            let details: Vec<_> = candidate.rejections.iter().map(|rejection| &*rejection.detail).collect();
            format!("{}: {}", candidate.backend, details.join(", "))
        })
        .collect();
    all.sort_unstable();
    all.join("; ")
}
