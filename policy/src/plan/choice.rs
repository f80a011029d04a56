//! By which rule a backend is chosen among those that may run a job.

use schemas::{Backend, Capability};

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
    /// A schedule chose these workers.
    Scheduled {
        /// Where.
        backend: &'a Backend,
        /// Which of its workers: those of this capability, or those without one.
        capability: Option<Capability>,
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
