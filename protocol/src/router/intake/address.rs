//! Whether a job's own words agree with where it was published.

use schemas::subjects::{self, Subject};
use schemas::{Failure, Job, JobId, Lane, codec};

/// A job says whose it is and how urgent, and so does its subject; permissions and queues go by the subject, so the two
/// must agree.
pub(super) fn check_address(subject: &str, job: &Job) -> Result<(), Failure> {
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
