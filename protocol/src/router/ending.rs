//! How jobs end without a result: the terminal event, the operator's inbox, refusals.

use schemas::codec;
use schemas::{
    AttemptFacts, Event, Fact, Failure, FailureCode, Job, JobFacts, JobId, JobState, Parked, Tenant, subjects,
};

use crate::errors::PublishError;
use crate::note::Note;
use crate::ports::{Ports, Record};

/// A job's end as a router publishes it.
#[derive(Debug, Clone)]
pub struct End {
    /// Whose job.
    pub tenant: Tenant,
    /// Which job.
    pub job: JobId,
    /// After which attempt; 0 before the first.
    pub attempt: u32,
    /// The job without its body.
    pub facts: JobFacts,
    /// The terminal state.
    pub state: JobState,
    /// Why.
    pub failure: Option<Failure>,
    /// All its attempts.
    pub attempts: Vec<AttemptFacts>,
}

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

/// Publishes the terminal event. When the job had ended before, money that this end knows of is published as `charged`.
///
/// # Errors
/// The broker did not take it.
pub async fn end<P: Ports>(ports: &P, end: End) -> Result<(), PublishError> {
    let event = |attempt, fact| Event::new(ports.now_ms(), end.tenant.clone(), end.job, attempt, fact);
    let ended = event(
        end.attempt,
        Fact::Ended {
            facts: end.facts.clone(),
            state: end.state,
            artifacts: Vec::new(),
            manifest: None,
            failure: end.failure.clone(),
            attempts: end.attempts.clone(),
        },
    );
    ports.note(Note::Ended(end.state));
    match ports.store(Record::Event(&ended)).await {
        Ok(_) => {
            let code = end.failure.as_ref().map_or("", |failure| failure.code.as_str());
            tracing::info!(job = %end.job, state = end.state.as_str(), code, "job ended");
            Ok(())
        }
        Err(PublishError::Occupied { .. }) => {
            for ended_attempt in end.attempts {
                let attempt = ended_attempt.attempt;
                let charged = event(attempt, Fact::Charged { facts: end.facts.clone(), ended_attempt });
                ports.store(Record::Event(&charged)).await?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Puts a message aside for an operator, with its reason and its bytes.
///
/// # Errors
/// The broker did not take it.
pub async fn park<P: Ports>(
    ports: &P,
    id: &str,
    (tenant, job): (Option<&Tenant>, Option<JobId>),
    failure: Failure,
    original: &Original,
    attempts: Vec<AttemptFacts>,
) -> Result<(), PublishError> {
    ports.note(Note::Parked(failure.code));
    let brief =
        |facts: AttemptFacts| AttemptFacts { failure: facts.failure.as_ref().map(Failure::brief), ..facts };
    let attempts = attempts.into_iter().map(brief).collect();
    let bytes = (original.subject.as_str(), original.content_type.as_deref(), original.payload.as_slice());
    let parked = Parked::new(ports.now_ms(), failure, bytes, attempts);
    ports.store(Record::Parked { id, tenant, job, parked: &parked }).await.map(|_| ())
}

/// Publishes that a message was not accepted as a job.
///
/// # Errors
/// The broker did not take it.
pub async fn refuse<P: Ports>(
    ports: &P,
    tenant: &Tenant,
    job: JobId,
    failure: &Failure,
) -> Result<(), PublishError> {
    let fact = Fact::Refused { failure: failure.clone() };
    let event = Event::new(ports.now_ms(), tenant.clone(), job, 0, fact);
    ports.store(Record::Event(&event)).await.map(|_| ())
}

/// Publishes that a message was an earlier job again.
///
/// # Errors
/// The broker did not take it.
pub async fn duplicate<P: Ports>(ports: &P, job: &Job, of: JobId) -> Result<(), PublishError> {
    ports.note(Note::Duplicate);
    let event = Event::new(ports.now_ms(), job.tenant.clone(), job.id, 0, Fact::Duplicate { of });
    ports.store(Record::Event(&event)).await.map(|_| ())
}

/// Ends a job as `failed` after it was accepted: inbox first, then the terminal event, so that no end is seen whose
/// history cannot be found.
///
/// # Errors
/// The broker did not take it.
pub async fn fail<P: Ports>(
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
