//! A job as the command line describes it, before it has an id.

use schemas::{Body, JobId, workflow};

/// A job before it has an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What to make.
    pub body: Body,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The seed that it is made with, where that is known; a prompt without one derives it from the job's id.
    pub(crate) seed: Option<u64>,
}

impl Draft {
    /// The seed of the job that this becomes, where it is known.
    #[must_use]
    pub fn seed(&self, id: JobId) -> Option<u64> {
        let derived = self.body.workflow.is_none().then(|| workflow::seed_of(id));
        self.seed.or(derived)
    }
}
