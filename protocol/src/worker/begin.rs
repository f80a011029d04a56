//! How a delivery goes on from a claim that another delivery left behind.

use schemas::{Failure, Outcome};

/// How to go on from a claim that another delivery left behind.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// It runs at the provider: go on from its id.
    Resume(String),
    /// A start was intended and never confirmed: find out first.
    Find,
    /// It ended before: publish the recorded outcome again.
    Retell(Box<Outcome>),
    /// The provider delivered, and a worker's spool has the result: wait until that worker has stored it.
    AwaitStored,
    /// The provider delivered, and the result can no longer be had: end so.
    GiveUp(Box<Outcome>),
    /// It kills its workers; the provider may have been called.
    Poison(Failure),
    /// It kills its workers and runs at the provider under this id: stop it there, and ask what it cost.
    StopThere(String),
    /// Its claimant may be about to record the id: look again later.
    Wait {
        /// Milliseconds.
        after_ms: i64,
    },
}
