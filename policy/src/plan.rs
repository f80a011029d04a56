//! Where an attempt runs, and why: `plan` weighs every configured backend and concludes.
//!
//! In three steps: filter (all reasons of a backend are collected, so that one explanation tells
//! everything there is to mend), choose among what is left (by the weighted score, or as a
//! [`crate::schedule`] over all that wait says), explain. The router carries the plan out and
//! compares nothing itself.

mod capability;
mod choice;
mod chosen;
mod conclude;
mod consent;
mod exhausted;
mod input;
mod money;
mod outcome;
mod queue;
mod rejections;
mod score;
mod ways;
mod weigh;
mod why;

pub(crate) use self::capability::learned_ms;
pub(crate) use self::conclude::WAITING;
use self::consent::Consent;
use self::score::Scale;

pub use self::choice::Choice;
pub use self::input::PlanInput;
pub use self::outcome::{Assign, Plan};
pub use self::ways::{SPREAD_SEEN, SPREAD_UNSEEN, Ways, ways};

/// Decides where an attempt runs.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let consent = Consent::of(input);
    let scale = Scale::of(input);
    let weigh = |config| weigh::weigh(input, &scale, config, consent);
    let mut candidates: Vec<_> = input.policy.backends.iter().map(weigh).collect();
    weigh::readmit(input, &mut candidates);
    // Eligible first, best first; the name makes the order total, whatever the order of configuration.
    candidates.sort_by(score::rank);
    candidates.dedup_by(|a, b| a.backend == b.backend);
    conclude::conclude(input, candidates, scale.weights, consent)
}
