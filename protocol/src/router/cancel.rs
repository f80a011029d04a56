//! Cancels a job wherever it is. The request is durable before anything is done about it, so a worker that gets the
//! job later, or has it now, stops it.

use schemas::{AttemptId, CancelRequest, Event, Fact, Failure, FailureCode, JobId, JobState, Queue, Tenant};

use crate::errors::{PublishError, StepError};
use crate::ports::Record;
use crate::router::ending::{self, End};
use crate::router::history;
use crate::router::ports::RouterPorts;
use crate::router::withdraw::{self, Waiting};

/// What a cancel request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// Which job: the earlier one, where the request names one that was published again.
    pub job: JobId,
    /// Where it was when the request came.
    pub state: JobState,
    /// What was done, in words.
    pub effect: &'static str,
}

/// How old an id may be whose job may still be on its way, milliseconds: a publish is tried for less long, and followers
/// of the broker are behind by less.
const ON_ITS_WAY_MS: i64 = 10 * 60_000;

/// Whether a job of which nothing is known may still come: its id is young. Of an older id, or one that bears no time, a
/// request to cancel is not kept, or ids of jobs that never were would fill the bucket.
#[must_use]
pub fn may_be_on_its_way(job: JobId, now_ms: i64) -> bool {
    job.time_ms().is_some_and(|made_ms| now_ms.saturating_sub(made_ms) <= ON_ITS_WAY_MS)
}

/// Cancels a job, of one tenant or of whatever tenant.
///
/// # Errors
/// The broker failed in between; the request may be made again.
pub async fn cancel<P: RouterPorts>(
    ports: &P,
    whose: Option<&Tenant>,
    job: JobId,
) -> Result<Cancelled, StepError> {
    let (job, history) = history::read_first(ports, whose, job).await?;
    let state = history.state();
    let reply = |effect| Ok(Cancelled { job, state, effect });
    if state.is_terminal() {
        return reply("it had ended before: nothing was done");
    }
    let tenant = whose.or_else(|| history.tenant()).cloned();
    ports.request_cancel(&CancelRequest { tenant, job }).await?;
    let (Some(facts), Some(assigned)) = (history.facts(), history.last_assigned()) else {
        return reply("it is cancelled as soon as the router that has it, or will have it, hears of it");
    };
    if state != JobState::Assigned {
        return reply("its worker was told to stop it");
    }
    if !may_be_taken_out(ports, assigned).await? {
        return reply("its worker was told to stop it");
    }
    let end = End {
        tenant: assigned.tenant.clone(),
        job,
        attempt: assigned.attempt,
        facts: facts.clone(),
        state: JobState::Cancelled,
        failure: Some(Failure::new(FailureCode::Cancelled, "cancelled while it waited")),
        attempts: history.attempts(),
    };
    if let Some(event) = history.without_event() {
        match ports.store(Record::Event(event)).await {
            Ok(_) | Err(PublishError::Occupied { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // First the end, then the assignment: between the two a worker may get it, and finds it cancelled.
    ending::end(ports, end).await?;
    ports.purge_work(job).await?;
    reply("it was taken out of its queue")
}

/// Whether no worker has got an assigned attempt, and of paid work none will call the provider for it. That no worker
/// published anything about it proves nothing: it may have just called the provider, and without its assignment it
/// would not be followed up when that worker dies.
async fn may_be_taken_out<P: RouterPorts>(ports: &P, assigned: &Event) -> Result<bool, StepError> {
    let Fact::Assigned { backend, class, capability, reserved_micro_usd, .. } = &assigned.fact else {
        return Ok(false);
    };
    let queue = Queue { class: class.clone(), capability: *capability };
    if let Some(from) = ports.undelivered_from(backend, &queue).await? {
        let sequence = ports.sequence_of(backend, &queue, assigned.job).await?;
        if sequence.is_none_or(|sequence| sequence < from) {
            return Ok(false);
        }
    }
    let waiting = Waiting {
        attempt: AttemptId { job: assigned.job, attempt: assigned.attempt },
        backend,
        reserved_micro_usd: *reserved_micro_usd,
        assigned_at_ms: assigned.time_ms,
    };
    // Uncounted and free of charge for a worker that reads it; what ends the job is its cancel request.
    let failure = Failure::new(FailureCode::Interrupted, "taken out of its queue to be cancelled");
    withdraw::claim_unrun(ports, waiting, &failure).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_is_young_may_be_on_its_way() {
        let (now_ms, made) = (1_800_000_000_000, |ms| JobId::from_parts(ms, [7; 10]));
        for (age_ms, may) in [(0, true), (-5_000, true), (ON_ITS_WAY_MS, true), (ON_ITS_WAY_MS + 1, false)] {
            assert_eq!(may_be_on_its_way(made(now_ms - age_ms), now_ms), may, "{age_ms}");
        }
        let without_time: JobId = "00000000-0000-4000-8000-000000000001".parse().expect("an id");
        assert!(!may_be_on_its_way(without_time, now_ms));
        assert!(!may_be_on_its_way(made(0), now_ms));
    }
}
