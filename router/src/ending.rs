//! How jobs end without a result: the terminal event, the operator's inbox, refusals.

use base64::Engine as _;
use runtime::clock;
use runtime::metrics;
use runtime::publish::{Message, PublishError};
use schemas::codec;
use schemas::{
    AttemptFacts, Event, Fact, Failure, FailureCode, Job, JobFacts, JobId, JobState, Parked, SCHEMA_VERSION,
    Tenant, subjects,
};

use crate::shared::Router;

/// A job's end as the router publishes it.
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

/// What lies on a lane and is not, or no longer, a job to run: enough to put it aside and redrive it.
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

/// Publishes the terminal event. When the job had ended before, money that this end knows of is told.
///
/// # Errors
/// The broker did not take it.
pub async fn end(router: &Router, end: End) -> Result<(), PublishError> {
    let publisher = &router.broker.publisher;
    let event = |attempt, fact| Event::new(clock::now_ms(), end.tenant.clone(), end.job, attempt, fact);
    let ended = event(
        end.attempt,
        Fact::Ended {
            facts: end.facts.clone(),
            state: end.state,
            artifacts: Vec::new(),
            failure: end.failure.clone(),
            attempts: end.attempts.clone(),
        },
    );
    metrics::ROUTER_ENDED.of([end.state.as_str().into()]).increment(1);
    match publisher.publish(&Message::event(&ended)).await {
        Ok(_) => {
            let code = end.failure.as_ref().map_or("", |failure| failure.code.as_str());
            tracing::info!(job = %end.job, state = end.state.as_str(), code, "job ended");
            Ok(())
        }
        Err(PublishError::Occupied { .. }) => {
            for ended_attempt in end.attempts {
                let attempt = ended_attempt.attempt;
                let charged = event(attempt, Fact::Charged { facts: end.facts.clone(), ended_attempt });
                publisher.publish(&Message::event(&charged)).await?;
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
pub async fn park(
    router: &Router,
    id: String,
    (tenant, job): (Option<&Tenant>, Option<JobId>),
    failure: Failure,
    original: &Original,
    attempts: Vec<AttemptFacts>,
) -> Result<(), PublishError> {
    let subject = subjects::parked(tenant, failure.code, job);
    metrics::ROUTER_PARKED.of([failure.code.as_str().into()]).increment(1);
    let parked = Parked {
        schema_version: SCHEMA_VERSION,
        time_ms: clock::now_ms(),
        failure,
        subject: original.subject.clone(),
        content_type: original.content_type.clone(),
        payload_base64: base64::engine::general_purpose::STANDARD.encode(&original.payload),
        attempts,
    };
    router.broker.publisher.publish(&Message::new(subject, id, &parked)).await.map(|_| ())
}

/// Says that a publish was not accepted as a job.
///
/// # Errors
/// The broker did not take it.
pub async fn refuse(
    router: &Router,
    tenant: &Tenant,
    job: JobId,
    failure: &Failure,
) -> Result<(), PublishError> {
    let fact = Fact::Refused { failure: failure.clone() };
    let event = Event::new(clock::now_ms(), tenant.clone(), job, 0, fact);
    router.broker.publisher.publish(&Message::event(&event)).await.map(|_| ())
}

/// Says that a publish was an earlier job again.
///
/// # Errors
/// The broker did not take it.
pub async fn duplicate(router: &Router, job: &Job, of: JobId) -> Result<(), PublishError> {
    metrics::ROUTER_DUPLICATES.increment(1);
    let event = Event::new(clock::now_ms(), job.tenant.clone(), job.id, 0, Fact::Duplicate { of });
    router.broker.publisher.publish(&Message::event(&event)).await.map(|_| ())
}

/// The job ended `failed` after it was accepted: inbox first, then the terminal event, so that nobody
/// sees an end whose history cannot be found.
///
/// # Errors
/// The broker did not take it.
pub async fn fail(router: &Router, job: &Job, ended: End, original: &Original) -> Result<(), PublishError> {
    let failure =
        ended.failure.clone().unwrap_or_else(|| Failure::new(FailureCode::Unknown, "ended without a reason"));
    let about = (Some(&job.tenant), Some(job.id));
    park(router, format!("{}.parked", job.id), about, failure, original, ended.attempts.clone()).await?;
    end(router, ended).await
}
