//! What each [`Choice`](super::Choice) chooses, and the attempt that goes where it was, by whichever.

use schemas::{AttemptFacts, Backend, Candidate, Capability, FailureCode};

use super::why::Why;
use super::{Choice, PlanInput, queue};
use crate::dispose::code_of;

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

/// Which workers of the chosen backend get the job: those that a schedule named, else those that can take it soonest. None
/// where none can take it now.
pub(super) fn capability(input: &PlanInput<'_>, backend: &Backend) -> Option<Option<Capability>> {
    let config = input.policy.backends.iter().find(|config| config.backend == *backend)?;
    let wanted = match input.choice {
        Choice::Scheduled { backend: wanted, capability, .. } if wanted == backend => Some(capability),
        _ => None,
    };
    queue::group(input, config, wanted)
}

/// The attempt that is due again where it was.
pub(super) fn due_again<'a>(input: &PlanInput<'a>) -> Option<&'a AttemptFacts> {
    let last = input.history.last()?;
    matches!(code_of(last), Some(FailureCode::Transient | FailureCode::OutOfMemory)).then_some(last)
}
