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

/// What a job's candidates are measured against, the same for all of them.
pub(super) struct Scale {
    pub(super) weights: Terms,
    /// The last of the configured ranks.
    ranks: f64,
    /// What scores 0 for cost, micro-dollars.
    costly: f64,
    /// The completion that scores 0 for speed, milliseconds.
    patience_ms: f64,
}

impl Scale {
    pub(super) fn of(input: &PlanInput<'_>) -> Self {
        let (policy, job) = (input.policy, input.job);
        let ranks = policy.backends.iter().map(|config| config.rank).max().unwrap_or(1).max(1);
        let costly = job.constraints.max_cost_micro_usd.unwrap_or(policy.cost_reference_micro_usd);
        let wished_ms = || job.preferences.patience_ms.unwrap_or(policy.patience_ms);
        let patience_ms = input.time_left_ms().unwrap_or_else(wished_ms);
        Self {
            weights: weights(input),
            ranks: f64::from(ranks),
            costly: costly.0 as f64,
            patience_ms: patience_ms as f64,
        }
    }

    /// The terms of a candidate whose figures are known.
    pub(super) fn terms(&self, config: &BackendConfig, candidate: &Candidate) -> Terms {
        let room = QUEUE_PER_SLOT * f64::from(candidate.slots);
        Terms {
            // (n + 1 − rank) / n for n ranks: with three, (4 − rank) / 3.
            priority: left_of(f64::from(config.rank.max(1) - 1), self.ranks),
            cost: self.cost(candidate),
            speed: left_of(candidate.completion_ms as f64, self.patience_ms),
            queue: left_of(candidate.backlog as f64, room),
        }
    }

    /// What is free is as cheap as can be, whatever the ceiling.
    fn cost(&self, candidate: &Candidate) -> f64 {
        let expected = candidate.expected_micro_usd.0;
        if expected <= 0 { 1.0 } else { left_of(expected as f64, self.costly) }
    }

    /// The weighted sum.
    pub(super) fn score(&self, terms: &Terms) -> f64 {
        let weights = &self.weights;
        let sum = terms.priority * weights.priority
            + terms.cost * weights.cost
            + terms.speed * weights.speed
            + terms.queue * weights.queue;
        (sum * SCORE_PARTS).round() / SCORE_PARTS
    }
}

/// The weights of the job's profile; what is no weight (negative, not a number) weighs nothing.
fn weights(input: &PlanInput<'_>) -> Terms {
    let profiles = &input.policy.profiles;
    let terms = profiles.get(&input.job.preferences.profile).or_else(|| profiles.get(&Profile::Balanced));
    let Terms { priority, cost, speed, queue } = terms.copied().unwrap_or(BALANCED);
    let sound = |weight: f64| if weight.is_finite() { weight.clamp(0.0, 1e6) } else { 0.0 };
    Terms { priority: sound(priority), cost: sound(cost), speed: sound(speed), queue: sound(queue) }
}

/// Best first: eligible before not, then score, then cost, then name.
pub(super) fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.is_eligible()
        .cmp(&a.is_eligible())
        .then_with(|| b.score.total_cmp(&a.score))
        .then_with(|| a.expected_micro_usd.cmp(&b.expected_micro_usd))
        .then_with(|| a.backend.cmp(&b.backend))
}

/// What is left of `whole` after `part`, as a share in 0 to 1; nothing is left of nothing.
fn left_of(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (1.0 - part / whole).clamp(0.0, 1.0) } else { 0.0 }
}
