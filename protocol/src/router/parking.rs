//! What is put aside for an operator, and jobs that end with it.

use policy::inbox::InboxShare;
use schemas::codec;
use schemas::{AttemptFacts, Failure, FailureCode, Job, JobId, Parked, Tenant, subjects};

use crate::errors::PublishError;
use crate::note::Note;
use crate::ports::{Ports, Record};
use crate::router::ending::{End, end};
use crate::router::ports::RouterPorts;

/// A message that is not, or no longer, a job to run: enough to put it aside and redrive it.
#[derive(Debug, Clone)]
pub struct Original {
    /// Where it was published.
    pub subject: String,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl Original {
    /// The bytes of a job whose message is gone, encoded again.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            subject: subjects::jobs(job.lane, &job.tenant),
            content_type: Some(schemas::Encoding::MessagePack.content_type().to_owned()),
            payload: codec::encode(job),
        }
    }
}

/// Puts a message aside for an operator, with its reason and its bytes. Whatever the inbox takes, what follows goes on:
/// one that is full, or a tenant's share of it that is used up, ends no less. Only a job of a newer schema has not ended, and
/// must lie there before its message goes.
///
/// # Errors
/// The broker did not answer, or did not take what has not ended.
pub async fn park<P: RouterPorts>(
    ports: &P,
    id: &str,
    (tenant, job): (Option<&Tenant>, Option<JobId>),
    failure: Failure,
    original: &Original,
    attempts: Vec<AttemptFacts>,
) -> Result<(), PublishError> {
    let code = failure.code;
    let must = code == FailureCode::TooNew;
    let share = if must { InboxShare::Whole } else { ports.inbox_share(tenant).await };
    if share == InboxShare::Nothing {
        not_parked(ports, job, code, "the inbox is full, or its tenant's share of it");
        return Ok(());
    }
    let brief =
        |facts: AttemptFacts| AttemptFacts { failure: facts.failure.as_ref().map(Failure::brief), ..facts };
    let attempts = attempts.into_iter().map(brief).collect();
    let bytes = (original.subject.as_str(), original.content_type.as_deref(), original.payload.as_slice());
    let parked = Parked::new(ports.now_ms(), failure, bytes, attempts);
    let parked = if share == InboxShare::Brief { parked.brief() } else { parked };
    match ports.store(Record::Parked { id, tenant, job, parked: &parked }).await {
        Ok(_) => {
            ports.note(Note::Parked(code));
            Ok(())
        }
        Err(PublishError::Refused { .. }) if !must => {
            not_parked(ports, job, code, "the inbox is full");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn not_parked<P: Ports>(ports: &P, job: Option<JobId>, code: FailureCode, why: &'static str) {
    ports.note(Note::NotParked(code));
    let job = job.map(|job| job.to_string());
    tracing::warn!(
        job,
        code = code.as_str(),
        reason = why,
        "not put aside; its end and its reason are published"
    );
}

/// Ends a job as `failed` after it was accepted: inbox first, then the terminal event, so that no end is seen whose
/// history cannot be found, as long as the inbox takes it.
///
/// # Errors
/// The broker did not take the event.
pub async fn fail<P: RouterPorts>(
    ports: &P,
    job: &Job,
    ended: End,
    original: &Original,
) -> Result<(), PublishError> {
    let failure =
        ended.failure.clone().unwrap_or_else(|| Failure::new(FailureCode::Unknown, "ended without a reason"));
    let about = (Some(&job.tenant), Some(job.id));
    park(ports, &format!("{}.parked", job.id), about, failure, original, ended.attempts.clone()).await?;
    end(ports, ended).await
}
