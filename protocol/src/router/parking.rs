//! What is put aside for an operator, and jobs that end with it.

use policy::inbox::{InboxShare, UseOf};
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

/// Within which part of the inbox a message is put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// Its tenant's share.
    Share,
    /// All of it: a failed attempt of a newer schema, of which there are no more than the fleet's own routers placed.
    All,
}

/// Puts a message aside for an operator, with its reason and its bytes; whether it lies there. The inbox may be full, or the
/// tenant's share of it used up: what follows must not depend on it. A job of a newer schema is kept whole or not at all,
/// and has to end where it is not.
///
/// # Errors
/// The broker did not answer.
pub async fn park<P: RouterPorts>(
    ports: &P,
    id: &str,
    (tenant, job): (Option<&Tenant>, Option<JobId>),
    failure: Failure,
    (original, within): (&Original, Within),
    attempts: Vec<AttemptFacts>,
) -> Result<bool, PublishError> {
    let code = failure.code;
    let use_of = match code {
        FailureCode::TooNew => UseOf::Original { bytes: original.payload.len() },
        _ => UseOf::Reason,
    };
    let share = match within {
        Within::Share => ports.inbox_share(tenant, use_of).await,
        Within::All => InboxShare::Whole,
    };
    if share == InboxShare::Nothing {
        not_parked(ports, job, code, "the inbox is full, or its tenant's share of it");
        return Ok(false);
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
            Ok(true)
        }
        Err(PublishError::Refused { .. }) => {
            not_parked(ports, job, code, "the inbox is full");
            Ok(false)
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
    let attempts = ended.attempts.clone();
    park(ports, &format!("{}.parked", job.id), about, failure, (original, Within::Share), attempts).await?;
    end(ports, ended).await
}
