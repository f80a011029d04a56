//! What happened, for metrics. An implementation of [`crate::Ports`] counts it.

use schemas::{Backend, FailureCode, JobState};

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note<'a> {
    /// A plan found no room, or a job's money was refused: it waits.
    Deferred,
    /// An attempt was placed.
    Assigned(&'a Backend),
    /// A job ended here.
    Ended(JobState),
    /// A message was put aside for an operator.
    Parked(FailureCode),
    /// A message was not put aside, since the inbox is full or its tenant's share of it is used up.
    NotParked(FailureCode),
    /// A publish was an earlier job again, by its idempotency key.
    Duplicate,
    /// A publish was not accepted as a job.
    Refused(FailureCode),
    /// A message of a newer schema was handed back.
    HandedBack(FailureCode),
    /// What follows a failed attempt, at its first delivery.
    Disposition {
        /// How the attempt failed.
        code: FailureCode,
        /// What follows, in one word.
        follows: &'static str,
    },
    /// A message that its consumer has passed was published again.
    Orphan {
        /// The stream's name.
        stream: &'static str,
    },
    /// A paid attempt was handed back because its reservation does not suffice.
    Unfunded,
    /// A job that waited ended because an input file goes.
    InputGone,
    /// A claim was not written because its bucket is full.
    ClaimsFull,
}
