//! What came of placing an attempt.

use schemas::{Backend, Failure, JobState};

/// What came of it.
#[derive(Debug)]
pub enum Placed {
    /// It waits at a backend; the message that brought it may be acknowledged.
    Done,
    /// Nothing changed; look again then.
    Later {
        /// When, Unix milliseconds.
        at_ms: i64,
        /// What it waits for.
        why: String,
        /// Backends for which its money was refused just now, with the ledger's words.
        refused: Vec<(Backend, String)>,
    },
    /// It cannot be placed, ever.
    Refused(Failure),
    /// It is not to be placed any more: it was cancelled, or its deadline passed, and no queue holds the attempt.
    Over(JobState, Failure),
}
