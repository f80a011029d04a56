//! Where a job may run, as a schedule needs it: by consent, ceiling, capability and its own history.

use schemas::{Candidate, FilterReason, Rejection};

use super::chosen::due_again;
use super::consent::Consent;
use super::exhausted::{Verdict, verdict};
use super::score::Scale;
use super::weigh::{lasting, weigh};
use super::{PlanInput, capability};
use crate::schedule::{Run, Way};

/// One of ten takes so many times as long as the middle, where it was seen.
pub const SPREAD_SEEN: f64 = 1.2;
/// The same where nothing was seen.
pub const SPREAD_UNSEEN: f64 = 1.5;

/// The ways of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ways {
    /// Each leads to the pool of its backend: the backends in the order of document `policy`.
    pub ways: Vec<Way>,
    /// What the cheapest paid backend would charge, whether the job may use it or not, micro-dollars.
    pub cheapest_paid_micro_usd: Option<f64>,
}

/// The ways of a job. A backend without workers, or out of order, is a way: its pool has no slots now.
#[must_use]
pub fn ways(input: &PlanInput<'_>) -> Ways {
    let (consent, scale) = (Consent::of(input), Scale::of(input));
    let mut found = Ways::default();
    // Backends that the job found out of order, should nothing else take it now.
    let (mut away, mut is_taken) = (Vec::new(), false);
    for (pool, config) in input.policy.backends.iter().enumerate() {
        let candidate = weigh(input, &scale, config, consent);
        let cost_micro_usd = candidate.expected_micro_usd.0 as f64;
        if cost_micro_usd > 0.0 && found.cheapest_paid_micro_usd.is_none_or(|least| cost_micro_usd < least) {
            found.cheapest_paid_micro_usd = Some(cost_micro_usd);
        }
        if lasting(input, &candidate).next().is_some() || candidate.rejections.iter().any(is_for_now) {
            continue;
        }
        let way = Way { pool, cost_micro_usd, run: run(input, &candidate) };
        match verdict(input, &config.backend) {
            Verdict::Open => {
                is_taken |= candidate.is_eligible();
                found.ways.push(way);
            }
            Verdict::Away { until_ms, .. } if until_ms <= input.now_ms => away.push(way),
            Verdict::Away { .. } | Verdict::Exhausted { .. } => {}
        }
    }
    if !is_taken {
        found.ways.append(&mut away);
    }
    let preferred = input.job.preferences.backend.as_ref();
    let wanted = [preferred, due_again(input).map(|facts| &facts.backend)];
    let only = wanted.into_iter().flatten().find_map(|backend| {
        let pool = input.policy.backends.iter().position(|config| config.backend == *backend)?;
        found.ways.iter().find(|way| way.pool == pool).copied()
    });
    if let Some(only) = only {
        found.ways = vec![only];
    }
    found
}

/// It keeps the job from being paid for now; it may be otherwise in a moment.
const fn is_for_now(rejection: &Rejection) -> bool {
    matches!(
        rejection.reason,
        FilterReason::LedgerAway | FilterReason::ReservationRefused | FilterReason::DocumentUnreadable
    )
}

fn run(input: &PlanInput<'_>, candidate: &Candidate) -> Run {
    let p50_ms = candidate.completion_ms.saturating_sub(candidate.wait_ms) as f64;
    let view = input.fleet.view(&candidate.backend);
    let offers = view.iter().flat_map(|view| &view.offers).map(|known| &**known);
    let is_seen = capability::learned_ms(offers, &input.admitted.class).is_some();
    Run { p50_ms, p90_ms: p50_ms * if is_seen { SPREAD_SEEN } else { SPREAD_UNSEEN } }
}
