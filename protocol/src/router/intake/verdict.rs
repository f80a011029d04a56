//! What is to be done with a job's message.

use std::time::Duration;

use schemas::{FailureCode, JobState};

use super::arrived::Arrived;
use crate::errors::StepError;
use crate::router::job::AdmittedJob;
use crate::router::parking;
use crate::router::place::Placed;
use crate::router::ports::RouterPorts;
use crate::router::unended;

/// The shortest wait of a job whose money was refused.
const DEFER_MIN_MS: i64 = 50;

/// What is to be done with a job's message.
pub(super) enum Verdict {
    /// It is settled elsewhere: acknowledge.
    Done,
    /// Hand it back, to be delivered again after a while.
    Back(Option<Duration>),
}

/// Carries out what came of a placement, and ends the job where nothing can come of it any more.
pub(super) async fn conclude<P: RouterPorts>(
    ports: &P,
    arrived: &Arrived<P::Delivery>,
    admitted: &AdmittedJob,
    placed: Placed,
) -> Result<Verdict, StepError> {
    match placed {
        Placed::Done => {}
        Placed::Later { at_ms, .. } => return Ok(Verdict::Back(Some(until(at_ms, ports.now_ms())))),
        Placed::Over(state, failure) => {
            unended::end(ports, admitted.job.id, state, failure, None).await?;
        }
        Placed::Refused(failure) => {
            let expired = failure.code == FailureCode::Expired;
            let state = if expired { JobState::Expired } else { JobState::Failed };
            let end = admitted.end(state, failure);
            parking::fail(ports, &admitted.job, end, &arrived.original()).await?;
        }
    }
    Ok(Verdict::Done)
}

/// How long to wait until a moment.
pub(super) fn until(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis((at_ms - now_ms).max(DEFER_MIN_MS).unsigned_abs())
}
