//! A job in a router's hand, and one attempt of it that is to be placed.

use policy::admit::Admitted;
use schemas::{AttemptFacts, Failure, FailureCode, Job, JobState};

use crate::router::ending::End;
use crate::router::first_to_go::FirstToGo;

/// A job that was admitted.
#[derive(Debug)]
pub struct AdmittedJob {
    /// The job.
    pub job: Job,
    /// What admission found out about it.
    pub admitted: Admitted,
    /// When the broker took it in, Unix milliseconds.
    pub submitted_at_ms: i64,
    /// Its input that goes first, once it waits.
    pub inputs: FirstToGo,
}

impl AdmittedJob {
    /// Its first attempt.
    #[must_use]
    pub const fn first_attempt(&self) -> Placement<'_> {
        Placement {
            job: &self.job,
            admitted: &self.admitted,
            submitted_at_ms: self.submitted_at_ms,
            attempt: 1,
            counted_attempts: 0,
            history: &[],
        }
    }

    /// Why it is not to be placed any more, and how it ends.
    #[must_use]
    pub fn is_over(&self, is_cancelled: bool, now_ms: i64) -> Option<(JobState, Failure)> {
        self.first_attempt().is_over(is_cancelled, now_ms)
    }

    /// Whether a plan for one would say of the other what it says of the one: all that a plan looks at is the same, the
    /// deadline among it.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self.job.tenant == other.job.tenant
            && self.job.lane == other.job.lane
            && self.admitted == other.admitted
            && self.job.constraints == other.job.constraints
            && self.job.preferences == other.job.preferences
            && self.job.body.inputs.is_empty() == other.job.body.inputs.is_empty()
    }

    /// Its end before any attempt.
    #[must_use]
    pub fn end(&self, state: JobState, failure: Failure) -> End {
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

impl Placement<'_> {
    /// Why it is not to be placed any more, and how the job ends.
    #[must_use]
    pub fn is_over(&self, is_cancelled: bool, now_ms: i64) -> Option<(JobState, Failure)> {
        if is_cancelled {
            let words = "cancelled before it was placed";
            return Some((JobState::Cancelled, Failure::new(FailureCode::Cancelled, words)));
        }
        let words = "its deadline passed while it waited for room";
        let passed = self.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
        passed.then(|| (JobState::Expired, Failure::new(FailureCode::Expired, words)))
    }
}

/// One attempt to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// The job.
    pub job: &'a Job,
    /// What admission found out about it.
    pub admitted: &'a Admitted,
    /// When the broker took it in, Unix milliseconds.
    pub submitted_at_ms: i64,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Attempts so far that counted.
    pub counted_attempts: u32,
    /// The attempts so far.
    pub history: &'a [AttemptFacts],
}
