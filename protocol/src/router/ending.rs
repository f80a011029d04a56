//! How jobs end without a result: the terminal event, refusals.

use schemas::{AttemptFacts, Event, Fact, Failure, Job, JobFacts, JobId, JobState, Tenant, subjects};

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

/// The tenant of events about jobs whose tenant cannot be read.
pub(super) fn unknown_tenant() -> Tenant {
    subjects::UNKNOWN.parse().unwrap_or_else(|_| unreachable!("`{}` is a tenant's name", subjects::UNKNOWN))
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
