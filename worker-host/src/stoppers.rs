//! The attempts that run here, by their jobs: a request to cancel a job stops its attempt at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{CancelRequest, Job, JobId, Tenant};

use crate::{Stop, Stopper};

/// The stoppers of what runs. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stoppers {
    running: Arc<Mutex<HashMap<JobId, (Tenant, Stopper)>>>,
}

impl Stoppers {
    /// Registers a running attempt. Whoever registers looks afterwards whether a request came before.
    pub(crate) fn running(&self, job: &Job, stopper: &Stopper) {
        self.lock().insert(job.id, (job.tenant.clone(), stopper.clone()));
    }

    /// Forgets an attempt that ended.
    pub(crate) fn ended(&self, job: JobId) {
        self.lock().remove(&job);
    }

    /// Stops the attempt of the job that a request means, if one runs here.
    pub(crate) fn cancel(&self, request: &CancelRequest) {
        if let Some((tenant, stopper)) = self.lock().get(&request.job)
            && request.tenant.as_ref().is_none_or(|whose| whose == tenant)
        {
            stopper.stop(Stop::Cancelled);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, (Tenant, Stopper)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn a_request_stops_the_job_of_its_tenant_and_of_no_other() {
        let job = samples::job();
        let (stoppers, stopper) = (Stoppers::default(), Stopper::default());
        stoppers.running(&job, &stopper);
        let request = |tenant: Option<&str>, job| CancelRequest {
            tenant: tenant.map(|tenant| tenant.parse().expect("a name")),
            job,
        };
        stoppers.cancel(&request(Some("studio-z"), job.id));
        stoppers.cancel(&request(None, JobId::new()));
        assert!(!stopper.is_fired(), "neither the tenant nor the job");
        stoppers.cancel(&request(Some(job.tenant.as_str()), job.id));
        assert!(stopper.is_fired());
        let (stoppers, stopper) = (Stoppers::default(), Stopper::default());
        stoppers.running(&job, &stopper);
        stoppers.cancel(&request(None, job.id));
        assert!(stopper.is_fired(), "a request of before names no tenant");
    }
}
