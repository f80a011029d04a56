//! What is to be done with a job's message.

use std::time::Duration;

use crate::router::place::Placed;

/// The shortest wait of a job whose money was refused.
const DEFER_MIN_MS: i64 = 50;

/// What is to be done with a job's message.
pub(super) enum Verdict {
    /// It is settled elsewhere: acknowledge.
    Done,
    /// Hand it back, to be delivered again after a while.
    Back(Option<Duration>),
}

impl Verdict {
    /// Of one whose placement was begun before.
    pub(super) fn of(placed: &Placed, now_ms: i64) -> Self {
        match placed {
            Placed::Later { at_ms, .. } => Self::Back(Some(until(*at_ms, now_ms))),
            Placed::Done | Placed::Refused(_) => Self::Done,
        }
    }
}

/// How long to wait until a moment.
pub(super) fn until(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis((at_ms - now_ms).max(DEFER_MIN_MS).unsigned_abs())
}
