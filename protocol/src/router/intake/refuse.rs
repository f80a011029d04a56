//! A publish that is no job: parked with its bytes, announced where tenant and id are known, and only then
//! acknowledged. One of a newer schema is handed back before, and does not end while it lies in the inbox.

use policy::admit;
use schemas::{Failure, FailureCode, Job, JobFacts, JobId, JobState, Tenant, subjects};

use super::arrived::Arrived;
use super::verdict::Verdict;
use crate::errors::StepError;
use crate::note::Note;
use crate::router::ending::{self, End, unknown_tenant};
use crate::router::history::{self, History};
use crate::router::parking::{self, Within};
use crate::router::place;
use crate::router::ports::{Delivery, RouterPorts};
use crate::router::too_new::Resting;
use crate::router::unended;

/// A publish that is not accepted as a job.
pub(super) struct Refusal {
    /// What may travel of the job, where it could be read. The rest is not kept: read, it takes many times its bytes.
    pub(super) facts: Option<JobFacts>,
    /// Its id, where that could be read.
    pub(super) id: Option<JobId>,
    /// Why.
    pub(super) failure: Failure,
}

impl Refusal {
    /// A job that was read, and why it is refused.
    pub(super) fn of(job: &Job, submitted_at_ms: i64, failure: Failure) -> Self {
        Self { facts: Some(JobFacts::of_refused(job, submitted_at_ms)), id: Some(job.id), failure }
    }
}

/// Whether it is the tenant's own job that was decided on and could not be handed on, as an earlier release admitted what
/// is refused now: no queue holds it, and nothing else would end it.
async fn is_stuck<P: RouterPorts>(
    ports: &P,
    tenant: &Tenant,
    job: JobId,
    history: &History,
) -> Result<bool, StepError> {
    let first = history.last_assigned().filter(|event| event.attempt == 1 && event.tenant == *tenant);
    Ok(first.is_some() && place::is_unassigned(ports, job, 1).await?)
}

/// Refuses a publish.
pub(super) async fn refuse<P: RouterPorts>(
    ports: &P,
    resting: &Resting,
    arrived: &Arrived<P::Delivery>,
    refusal: Refusal,
) -> Result<Verdict, StepError> {
    let Refusal { facts, id, mut failure } = refusal;
    let message = &arrived.message;
    let is_too_new = failure.code == FailureCode::TooNew;
    let resting_as = (message.published_at_ms(), message.payload().len());
    if is_too_new && let Some(rest) = resting.rest(ports.schemas(), resting_as, ports.now_ms()) {
        ports.note(Note::HandedBack(FailureCode::TooNew));
        return Ok(Verdict::Back(Some(rest)));
    }
    let tenant = subjects::jobs_tokens(message.subject()).and_then(|(_, tenant)| tenant.parse().ok());
    ports.note(Note::Refused(failure.code));
    tracing::info!(
        job = id.map(|id| id.to_string()),
        tenant = tenant.as_ref().map(Tenant::as_str),
        field = failure.field.as_deref().unwrap_or_default(),
        reason = failure.message,
        "refused"
    );
    let about = (tenant.as_ref(), id);
    // One id for each of the two: a router that refused it may be followed by an older one, for which it is too new.
    let what = if is_too_new { "too-new" } else { "parked" };
    let parked_id = format!("jobs.{}.{what}", message.sequence());
    let original = (&arrived.original(), Within::Share);
    let is_parked = parking::park(ports, &parked_id, about, failure.clone(), original, Vec::new()).await?;
    if is_too_new && !is_parked {
        failure = admit::not_put_aside(&failure);
    }
    let Some(id) = id else { return Ok(Verdict::Done) };
    // Whoever waits for it learns why, though its subject names no tenant: never in the name of the tenant in its
    // body, which anybody can write.
    let tenant = tenant.unwrap_or_else(unknown_tenant);
    ending::refuse(ports, &tenant, id, &failure).await?;
    if is_too_new && is_parked {
        return Ok(Verdict::Done);
    }
    // A job that runs under this id is not ended by a bad publish that borrows it.
    let history = history::read(ports, id).await?;
    if is_stuck(ports, &tenant, id, &history).await? {
        // With what its attempt may have cost: a worker may have begun it before its assignment was removed.
        unended::end(ports, id, JobState::Failed, failure, None).await?;
    } else if let Some(facts) = facts.filter(|_| history.facts().is_none()) {
        let end = End {
            tenant,
            job: id,
            attempt: 0,
            facts,
            state: JobState::Failed,
            failure: Some(failure),
            attempts: Vec::new(),
        };
        ending::end(ports, end).await?;
    }
    Ok(Verdict::Done)
}
