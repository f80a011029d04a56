//! What waiting costs.

use schemas::{Lane, PolicyConfig, Profile};

use super::input::{Rules, Run, Way};
use super::order::Job;

/// Of the middle and of what one of ten exceeds, the range in which a run ends.
const SHORTEST: f64 = 0.75;
const LONGEST: f64 = 1.1;

impl Run {
    /// How likely a run takes longer than this.
    fn exceeds(&self, slack_ms: f64) -> f64 {
        let (low, high) = (self.p50_ms * SHORTEST, self.longest_ms());
        if slack_ms >= high {
            0.0
        } else if slack_ms <= low {
            1.0
        } else {
            (high - slack_ms) / (high - low)
        }
    }

    /// The longest that it is expected to take.
    pub(super) fn longest_ms(&self) -> f64 {
        (self.p90_ms * LONGEST).max(self.p50_ms)
    }
}

/// For how long a job bears to wait for its end, milliseconds: its own word, else that of its lane.
#[must_use]
pub const fn patience_ms(job: &schemas::Job, policy: &PolicyConfig) -> u64 {
    match (job.preferences.patience_ms, job.lane) {
        (Some(patience_ms), _) => patience_ms,
        (None, Lane::Interactive) => policy.patience_ms,
        (None, Lane::Standard | Lane::Unknown) => policy.patience_ms.saturating_mul(5),
        (None, Lane::Batch) => policy.patience_ms.saturating_mul(60),
    }
}

/// A profile as a multiple of the price of waiting.
#[must_use]
pub const fn multiple(profile: Profile) -> f64 {
    match profile {
        Profile::Fastest => 4.0,
        Profile::Balanced | Profile::Unknown => 1.0,
        Profile::Cheapest => 0.25,
    }
}

/// What a patience of waiting is worth to a job, micro-dollars: what its dearest way costs, never more than its ceiling;
/// to one that may not pay, what the cheapest paid backend would charge. So a ceiling above the dearest way changes
/// nothing.
#[must_use]
pub fn reference(ways: &[Way], ceiling_micro_usd: Option<f64>, cheapest_paid_micro_usd: Option<f64>) -> f64 {
    let dearest = ways.iter().map(|way| way.cost_micro_usd).fold(0.0, f64::max);
    if dearest > 0.0 {
        dearest.min(ceiling_micro_usd.unwrap_or(f64::INFINITY))
    } else {
        cheapest_paid_micro_usd.unwrap_or(1.0)
    }
}

/// What it costs to start at that time from now, micro-dollars: the price of waiting beyond the patience, and the worth
/// of the deadline as far as it is likely to be missed.
#[inline]
pub(super) fn lateness(job: &Job<'_>, starts_ms: f64, run: &Run, rules: &Rules) -> f64 {
    let over_ms = starts_ms + run.p50_ms - job.due_ms;
    let soft = if over_ms > 0.0 { job.price * (rules.crossing + over_ms / job.span_ms) } else { 0.0 };
    let Some(deadline_ms) = job.deadline_ms else { return soft };
    soft + rules.worth * job.reference * run.exceeds(deadline_ms - starts_ms)
}
