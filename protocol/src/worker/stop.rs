//! Why an attempt is stopped before it is done.

use schemas::{Failure, FailureCode};

/// Why an attempt has to end before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// Its job was cancelled.
    Cancelled = 1,
    /// It took longer than it may.
    Timeout = 2,
    /// The job's deadline passed.
    Expired = 3,
    /// The process is going down.
    Drain = 4,
    /// Nothing is reserved for it, and the provider bills.
    Unfunded = 5,
    /// It was delivered, and the result is kept nowhere any longer.
    NotStored = 6,
    /// Its job was lost with its workers too often.
    Poison = 7,
}

impl Stop {
    /// The failure code that says so.
    #[must_use]
    pub const fn code(self) -> FailureCode {
        match self {
            Self::Cancelled => FailureCode::Cancelled,
            Self::Timeout => FailureCode::Timeout,
            Self::Expired => FailureCode::Expired,
            Self::Drain | Self::Unfunded => FailureCode::Interrupted,
            Self::NotStored => FailureCode::NotStored,
            Self::Poison => FailureCode::Poison,
        }
    }

    /// The failure of an attempt that was stopped for it.
    #[must_use]
    pub fn failure(self) -> Failure {
        Failure::new(self.code(), self.message())
    }

    /// The reason in words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled while running",
            Self::Timeout => "the attempt ran longer than its limit",
            Self::Expired => "the job's deadline passed while it ran",
            Self::Drain => "the worker was stopped",
            Self::Unfunded => "nothing is reserved for it and the provider bills",
            Self::NotStored => {
                "the result was delivered, and it could not be stored for as long as it was kept"
            }
            Self::Poison => {
                "its workers were lost with this job: it is put aside, and was stopped at its provider"
            }
        }
    }
}

/// Whether paid work may be started now. It is asked right before the call that costs money: a worker that slept over
/// its claim may have been given up meanwhile, and what stops the attempt may come while its claim is renewed.
///
/// # Errors
/// Why not: it has to end, nothing is reserved for it, or the claim is somebody else's now.
pub async fn may_start(
    stop: impl Fn() -> Option<Stop>,
    is_paid: bool,
    is_still_ours: impl Future<Output = bool>,
) -> Result<(), Stop> {
    if let Some(stop) = stop() {
        return Err(stop);
    }
    if !is_paid {
        return Err(Stop::Unfunded);
    }
    if !is_still_ours.await {
        return Err(Stop::Drain);
    }
    stop().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn may_start_table() {
        use Stop::{Cancelled, Drain, Expired, Unfunded};
        // What stops it before, that it is paid, that its claim is ours, what stops it while the claim is renewed.
        let cases = [
            (None, true, true, None, Ok(())),
            (Some(Cancelled), true, true, None, Err(Cancelled)),
            (Some(Expired), false, false, None, Err(Expired)),
            (None, false, true, None, Err(Unfunded)),
            (None, true, false, None, Err(Drain)),
            (None, true, false, Some(Cancelled), Err(Drain)),
            (None, true, true, Some(Cancelled), Err(Cancelled)),
            (None, true, true, Some(Drain), Err(Drain)),
        ];
        for (before, is_paid, is_ours, meanwhile, expected) in cases {
            let stop = Cell::new(before);
            let renewed = async {
                stop.set(stop.get().or(meanwhile));
                is_ours
            };
            let found = may_start(|| stop.get(), is_paid, renewed).now_or_never();
            assert_eq!(found, Some(expected), "{before:?}, {is_paid}, {is_ours}, {meanwhile:?}");
        }
    }
}
