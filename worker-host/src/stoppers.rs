//! The attempts that run here, by their jobs: a request to cancel a job stops its attempt at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::JobId;

use crate::{Stop, Stopper};

/// The stoppers of what runs. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stoppers {
    running: Arc<Mutex<HashMap<JobId, Stopper>>>,
}

impl Stoppers {
    /// Registers a running attempt. Whoever registers looks afterwards whether a request came before.
    pub(crate) fn running(&self, job: JobId, stopper: &Stopper) {
        self.lock().insert(job, stopper.clone());
    }

    /// Forgets an attempt that ended.
    pub(crate) fn ended(&self, job: JobId) {
        self.lock().remove(&job);
    }

    /// Stops a job's attempt, if one runs here.
    pub(crate) fn cancel(&self, job: JobId) {
        if let Some(stopper) = self.lock().get(&job) {
            stopper.stop(Stop::Cancelled);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Stopper>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
