//! By which rule a backend is chosen among those that may run a job.

use schemas::{AttemptFacts, Backend, Candidate, FailureCode};

use super::PlanInput;
use super::why::Why;
use crate::dispose::code_of;

/// The rule.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// The weighted score of the job's profile.
    Weighted,
    /// A slot of our own that is free now and has the job done in time; else the job waits for a schedule.
    FreeSlot {
        /// In time, milliseconds from now.
        within_ms: u64,
    },
    /// A schedule chose this backend.
    Scheduled {
        /// Where.
        backend: &'a Backend,
        /// In words.
        why: &'a str,
    },
    /// A schedule lets the job wait.
    Waits {
        /// In words.
        why: &'a str,
    },
}

impl Choice<'_> {
    /// A queue at a backend has a bound beyond which the job goes elsewhere; a schedule needs none.
    pub(super) const fn bounds_queues(&self) -> bool {
        matches!(self, Self::Weighted)
    }
}

/// The quickest of the backends that have a free slot for it and cost nothing. A backend that the job prefers comes first,
/// also where it has no free slot.
pub(super) fn free_slot<'a>(
    input: &PlanInput<'_>,
    eligible: &[Candidate],
    within_ms: u64,
) -> Result<(usize, Why<'a>), String> {
    let preferred = input.job.preferences.backend.as_ref();
    let preferred =
        preferred.filter(|backend| eligible.iter().any(|candidate| candidate.backend == **backend));
    let is_free = |candidate: &Candidate| {
        candidate.reserve_micro_usd.0 == 0
            && candidate.wait_ms == 0
            && candidate.completion_ms <= within_ms
            && preferred.is_none_or(|backend| *backend == candidate.backend)
    };
    let free = eligible.iter().enumerate().filter(|(_, candidate)| is_free(candidate));
    let quickest = free.min_by_key(|(_, candidate)| candidate.completion_ms);
    quickest.map(|(at, _)| (at, Why::FreeSlot)).ok_or_else(|| "its turn".to_owned())
}

/// The backend that a schedule chose, if it may run the job now.
pub(super) fn scheduled<'a>(
    eligible: &[Candidate],
    backend: &Backend,
    why: &'a str,
) -> Result<(usize, Why<'a>), String> {
    let at = eligible.iter().position(|candidate| candidate.backend == *backend);
    at.map(|at| (at, Why::Scheduled(why))).ok_or_else(|| format!("{backend}, which does not take it now"))
}

/// The attempt that is due again where it was.
pub(super) fn due_again<'a>(input: &PlanInput<'a>) -> Option<&'a AttemptFacts> {
    let last = input.history.last()?;
    matches!(code_of(last), Some(FailureCode::Transient | FailureCode::OutOfMemory)).then_some(last)
}
