//! Whether a job's own words agree with where it was published.

use schemas::ids::TOKEN_MAX_BYTES;
use schemas::{Failure, Job, JobId, Lane, Tenant, codec, subjects};

/// A job says whose it is and how urgent, and so does its subject; permissions and queues go by the subject, so the two
/// must agree, also where the subject names nothing that can be a lane or a tenant.
pub(super) fn check_address(subject: &str, job: &Job) -> Result<(), Failure> {
    let expected = subjects::jobs(job.lane, &job.tenant);
    if subject == expected {
        return Ok(());
    }
    let Some((lane, tenant)) = subjects::jobs_tokens(subject) else {
        let message = format!("`{subject}` is no subject of a job: publish it to {expected}");
        return Err(Failure::invalid("lane", message));
    };
    if job.tenant.as_str() != tenant {
        let invalid = match tenant.parse::<Tenant>() {
            Ok(_) => String::new(),
            Err(_) => {
                format!(", which is no tenant's name (1 to {TOKEN_MAX_BYTES} of a-z, 0-9, `-` and `_`)")
            }
        };
        let said = &job.tenant;
        let message =
            format!("the job says `{said}`, its subject `{tenant}`{invalid}: publish it to {expected}");
        return Err(Failure::invalid("tenant", message));
    }
    if job.lane.as_str() != lane && job.lane != Lane::Unknown {
        let said = job.lane.as_str();
        let message = format!("the job says `{said}`, its subject `{lane}`: publish it to {expected}");
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
