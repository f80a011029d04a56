//! Who was found to have everything: remembered, because asking again means hundreds of names.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many kinds are remembered; of two that fall on the same place, the later.
const PLACES: usize = 16;

/// The kinds of workers that were found to lack nothing of what is required.
///
/// A kind is a number for all workers that have the same (0 is none). Only what was found is remembered, so
/// a plan is the same with and without it, and requirements are equal whatever is remembered of them. What
/// helps is a model's template, which lives as long as the catalog: a job's own workflow is new each time.
#[derive(Debug, Default)]
pub struct Met([AtomicU64; PLACES]);

impl Met {
    /// Workers of this kind were found to lack nothing. `false` where nothing is remembered.
    #[must_use]
    pub fn by(&self, kind: u64) -> bool {
        kind != 0 && self.place(kind).load(Ordering::Relaxed) == kind
    }

    /// Workers of this kind lack nothing.
    pub fn remember(&self, kind: u64) {
        self.place(kind).store(kind, Ordering::Relaxed);
    }

    fn place(&self, kind: u64) -> &AtomicU64 {
        // The remainder is below `PLACES`.
        &self.0[(kind % PLACES as u64) as usize]
    }
}

impl Clone for Met {
    /// A copy finds out for itself.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Met {
    /// It follows from the requirements.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Met {}
