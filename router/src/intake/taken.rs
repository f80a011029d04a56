//! A job as it comes from its lane: its address checked, and what is known of it for as long as it is in hand.

use policy::admit::Admitted;
use runtime::clock;
use schemas::codec;
use schemas::subjects::{self, Subject};
use schemas::{Failure, FailureCode, Job, JobId, JobState, Lane};

use crate::ending::End;
use crate::place::Placing;
use crate::shared::Router;

/// A job in hand.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The job.
    pub(crate) job: Job,
    /// What admission found out about it.
    pub(crate) admitted: Admitted,
    /// When the broker took it in, Unix milliseconds.
    pub(super) submitted_at_ms: i64,
}

impl Taken {
    /// Its first attempt.
    pub(crate) const fn placing(&self) -> Placing<'_> {
        Placing {
            job: &self.job,
            admitted: &self.admitted,
            submitted_at_ms: self.submitted_at_ms,
            attempt: 1,
            counted_attempts: 0,
            history: &[],
        }
    }

    /// It is not to be placed any more: how it ends.
    pub(crate) fn is_over(&self, router: &Router) -> Option<(JobState, Failure)> {
        if router.cancels.contains(self.job.id) {
            let words = "cancelled before it was placed";
            return Some((JobState::Cancelled, Failure::new(FailureCode::Cancelled, words)));
        }
        let words = "its deadline passed while it waited for room";
        let passed =
            self.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= clock::now_ms());
        passed.then(|| (JobState::Expired, Failure::new(FailureCode::Expired, words)))
    }

    pub(super) fn end(&self, state: JobState, failure: Failure) -> End {
        End {
            tenant: self.job.tenant.clone(),
            job: self.job.id,
            attempt: 0,
            facts: policy::admit::facts(&self.job, Some(self.admitted.class.clone()), self.submitted_at_ms),
            state,
            failure: Some(failure),
            attempts: Vec::new(),
        }
    }
}

/// A job says whose it is and how urgent, and so does its subject; permissions and queues go by the
/// subject, so the two must agree.
pub(super) fn same_address(subject: &str, job: &Job) -> Result<(), Failure> {
    let expected = subjects::jobs(job.lane, &job.tenant);
    if subject == expected {
        return Ok(());
    }
    let Some(Subject::Jobs(lane, tenant)) = subjects::parse(subject) else {
        return Ok(());
    };
    if job.tenant != tenant {
        let message =
            format!("the job says `{}`, its subject `{tenant}`: publish it to {expected}", job.tenant);
        return Err(Failure::invalid("tenant", message));
    }
    if job.lane != lane && job.lane != Lane::Unknown {
        let (said, subject) = (job.lane.as_str(), lane.as_str());
        let message = format!("the job says `{said}`, its subject `{subject}`: publish it to {expected}");
        return Err(Failure::invalid("lane", message));
    }
    Ok(())
}

/// The id of a job that cannot be read as one, if it has a readable `id`.
pub(super) fn sniff_id(content_type: Option<&str>, payload: &[u8]) -> Option<JobId> {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: JobId,
    }
    codec::decode::<OnlyId>(content_type, payload).ok().map(|only| only.id)
}
