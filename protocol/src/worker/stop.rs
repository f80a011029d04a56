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
