//! The score: four terms, each in 0 to 1, weighted. Finite whatever goes in.

use std::cmp::Ordering;

use schemas::config::BackendConfig;
use schemas::{Candidate, Profile, Terms};

use super::PlanInput;

/// Jobs for each slot at which the queue term is 0.
const QUEUE_PER_SLOT: f64 = 10.0;
/// Scores are compared to this many parts of one, so that rounding never decides between equals.
const SCORE_PARTS: f64 = 1e9;

/// The weights where nothing is configured for a profile.
const BALANCED: Terms = Terms { priority: 0.40, cost: 0.30, speed: 0.20, queue: 0.10 };

/// The weights of the job's profile; what is no weight (negative, not a number) weighs nothing.
pub(super) fn weights(input: &PlanInput<'_>) -> Terms {
    let profiles = &input.policy.profiles;
    let terms = profiles.get(&input.job.preferences.profile).or_else(|| profiles.get(&Profile::Balanced));
    let Terms { priority, cost, speed, queue } = terms.copied().unwrap_or(BALANCED);
    let sound = |weight: f64| if weight.is_finite() { weight.clamp(0.0, 1e6) } else { 0.0 };
    Terms { priority: sound(priority), cost: sound(cost), speed: sound(speed), queue: sound(queue) }
}

/// The terms of a candidate whose figures are known.
pub(super) fn terms(input: &PlanInput<'_>, config: &BackendConfig, candidate: &Candidate) -> Terms {
    let slots = f64::from(candidate.slots);
    let queue =
        if candidate.slots == 0 { 0.0 } else { left_of(candidate.backlog as f64, QUEUE_PER_SLOT * slots) };
    Terms {
        priority: priority(input, config),
        cost: cost(input, candidate),
        speed: left_of(candidate.completion_ms as f64, patience_ms(input) as f64),
        queue,
    }
}

/// The weighted sum.
pub(super) fn score(terms: &Terms, weights: &Terms) -> f64 {
    let sum = terms.priority * weights.priority
        + terms.cost * weights.cost
        + terms.speed * weights.speed
        + terms.queue * weights.queue;
    (sum * SCORE_PARTS).round() / SCORE_PARTS
}

/// Best first: eligible before not, then score, then cost, then name.
pub(super) fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.is_eligible()
        .cmp(&a.is_eligible())
        .then_with(|| b.score.total_cmp(&a.score))
        .then_with(|| a.expected_micro_usd.cmp(&b.expected_micro_usd))
        .then_with(|| a.backend.cmp(&b.backend))
}

/// (n + 1 − rank) / n for n ranks: with three, (4 − rank) / 3.
fn priority(input: &PlanInput<'_>, config: &BackendConfig) -> f64 {
    let ranks = input.policy.backends.iter().map(|other| other.rank).max().unwrap_or(1).max(1);
    left_of(f64::from(config.rank.max(1) - 1), f64::from(ranks))
}

/// What is free is as cheap as can be, whatever the ceiling.
fn cost(input: &PlanInput<'_>, candidate: &Candidate) -> f64 {
    let expected = candidate.expected_micro_usd.0;
    if expected <= 0 {
        return 1.0;
    }
    let ceiling = input.job.constraints.max_cost_micro_usd.unwrap_or(input.policy.cost_reference_micro_usd);
    left_of(expected as f64, ceiling.0 as f64)
}

fn patience_ms(input: &PlanInput<'_>) -> u64 {
    let wished = || input.job.preferences.patience_ms.unwrap_or(input.policy.patience_ms);
    input.time_left_ms().unwrap_or_else(wished)
}

/// What is left of `whole` after `part`, as a share in 0 to 1; nothing is left of nothing.
fn left_of(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (1.0 - part / whole).clamp(0.0, 1.0) } else { 0.0 }
}
