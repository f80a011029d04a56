//! Where a job may run, as a schedule needs it: by consent, ceiling, capability and its own history.

use schemas::{Backend, Candidate, Capability, FilterReason, Rejection};

use super::chosen::due_again;
use super::consent::Consent;
use super::exhausted::{Verdict, verdict};
use super::score::Scale;
use super::weigh::{lasting, weigh};
use super::{PlanInput, capability};
use crate::schedule::{Place, Run, Way};

/// One of ten takes so many times as long as the middle, where it was seen.
pub const SPREAD_SEEN: f64 = 1.2;
/// The same where nothing was seen.
pub const SPREAD_UNSEEN: f64 = 1.5;

/// The ways of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ways {
    /// Each leads to a pool of workers that could run it, well or not.
    pub ways: Vec<Way>,
    /// What the cheapest paid backend would charge, whether the job may use it or not, micro-dollars.
    pub cheapest_paid_micro_usd: Option<f64>,
}

/// The ways of a job to the pools at these places. A backend without workers, or out of order, is a way: its pool has no
/// slots now.
#[must_use]
pub fn ways(input: &PlanInput<'_>, places: &[Place]) -> Ways {
    let (consent, scale) = (Consent::of(input), Scale::of(input));
    let mut found = Ways::default();
    // Backends that the job found out of order, should nothing else take it now.
    let (mut away, mut is_taken) = (Vec::new(), false);
    for (number, config) in input.policy.backends.iter().enumerate() {
        let candidate = weigh(input, &scale, config, consent);
        let cost_micro_usd = candidate.expected_micro_usd.0 as f64;
        if cost_micro_usd > 0.0 && found.cheapest_paid_micro_usd.is_none_or(|least| cost_micro_usd < least) {
            found.cheapest_paid_micro_usd = Some(cost_micro_usd);
        }
        if lasting(input, &candidate).next().is_some() || candidate.rejections.iter().any(is_for_now) {
            continue;
        }
        let to = ways_to(input, &candidate, number, places);
        let to = to.map(|(pool, run)| Way { pool, cost_micro_usd, run });
        match verdict(input, &config.backend) {
            Verdict::Open => {
                is_taken |= candidate.is_eligible();
                found.ways.extend(to);
            }
            Verdict::Away { until_ms, .. } if until_ms <= input.now_ms => away.extend(to),
            Verdict::Away { .. } | Verdict::Exhausted { .. } => {}
        }
    }
    if !is_taken {
        found.ways.append(&mut away);
    }
    let preferred = input.job.preferences.backend.as_ref();
    let wanted = [preferred, due_again(input).map(|facts| &facts.backend)];
    let is_at =
        |way: &Way, backend: &Backend| input.policy.backends[places[way.pool].backend].backend == *backend;
    let only = wanted.into_iter().flatten().find(|backend| found.ways.iter().any(|way| is_at(way, backend)));
    if let Some(only) = only {
        found.ways.retain(|way| is_at(way, only));
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

/// The pools of a backend whose workers could run the job, and for how long they would. Where no worker is known there is
/// one pool, and it is one.
fn ways_to(
    input: &PlanInput<'_>,
    candidate: &Candidate,
    number: usize,
    places: &[Place],
) -> impl Iterator<Item = (usize, Run)> {
    let view = input.fleet.view(&candidate.backend).filter(|view| !view.offers.is_empty());
    let fitting = view.map(|_| capability::fitting(input, &candidate.backend));
    let here = places.iter().enumerate().filter(move |(_, place)| place.backend == number);
    let fits = here
        .filter(move |(_, place)| fitting.as_ref().is_none_or(|fitting| fitting.contains(&place.capability)));
    fits.map(|(pool, place)| (pool, run(input, candidate, place.capability)))
}

fn run(input: &PlanInput<'_>, candidate: &Candidate, capability: Option<Capability>) -> Run {
    let view = input.fleet.view(&candidate.backend);
    let offers = || view.iter().flat_map(|view| &view.offers).map(|known| &**known);
    let own = offers().filter(|offer| offer.capability == capability);
    let class = &input.admitted.class;
    let p50_ms = capability::learned_ms(own, class)
        .unwrap_or_else(|| candidate.completion_ms.saturating_sub(candidate.wait_ms)) as f64;
    let is_seen = capability::learned_ms(offers(), class).is_some();
    Run { p50_ms, p90_ms: p50_ms * if is_seen { SPREAD_SEEN } else { SPREAD_UNSEEN } }
}
