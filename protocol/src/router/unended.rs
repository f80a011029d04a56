//! Jobs whose work is gone: an assignment or a failed attempt that cannot be read, or one that an operator removed.
//!
//! The job's body is in what is gone, so nothing of it can be tried again. Such a job ends with the reason, in the name of
//! its tenant, and with what its attempts may have cost.

use schemas::codec;
use schemas::{
    Assignment, AttemptFacts, AttemptRecord, Body, Event, Fact, Failure, FailureCode, Job, JobFacts, JobId,
    JobState, SCHEMA_VERSION, Tenant,
};
use serde::Deserialize;

use crate::errors::StepError;
use crate::router::ending::{self, End, unknown_tenant};
use crate::router::history::{self, History};
use crate::router::ports::RouterPorts;
use crate::router::withdraw::{self, Waiting};

/// Ends a job whose work is gone, or was never handed on, unless it has ended; whether it ended now. `bytes` are what is
/// left of it.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn end<P: RouterPorts>(
    ports: &P,
    job: JobId,
    state: JobState,
    failure: Failure,
    bytes: Option<(Option<&str>, &[u8])>,
) -> Result<bool, StepError> {
    let history = history::read(ports, job).await?;
    if history.ended().is_some() {
        return Ok(false);
    }
    let tenant = history.events.first().map(|event| event.tenant.clone());
    let tenant = tenant.or_else(|| owner(bytes?)).unwrap_or_else(unknown_tenant);
    let end = end_of(ports, &history, &tenant, job, state, failure).await?;
    ending::end(ports, end).await?;
    Ok(true)
}

/// The end of such a job, by what is known of it: all its attempts, the last as its claim says.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub(super) async fn end_of<P: RouterPorts>(
    ports: &P,
    history: &History,
    tenant: &Tenant,
    job: JobId,
    state: JobState,
    failure: Failure,
) -> Result<End, StepError> {
    let facts = history.facts().cloned().unwrap_or_else(|| unknown_facts(ports.now_ms()));
    let mut attempts = history.attempts();
    let open = open_attempt(history, &attempts, tenant, facts.submitted_at_ms);
    if let Some(assignment) = &open {
        let claim = withdraw::claimant(ports, Waiting::of(assignment), &failure).await?;
        let failed =
            withdraw::failed_attempt(ports, assignment, claim.as_ref(), of_attempt(claim.as_ref(), &failure));
        attempts.push(failed.ended_attempt);
    }
    let attempt = attempts.last().map_or(0, |facts| facts.attempt);
    Ok(End { tenant: tenant.clone(), job, attempt, facts, state, failure: Some(failure), attempts })
}

/// How the open attempt ends: a worker with a claim may have started it at its provider, and no delivery is left to find out.
fn of_attempt(claim: Option<&AttemptRecord>, failure: &Failure) -> Failure {
    if let Some(unknowable) = claim.and_then(withdraw::unknowable) {
        return unknowable.clone();
    }
    match claim {
        Some(claim) if claim.outcome.is_none() => {
            Failure::new(FailureCode::OutcomeUnknown, failure.message.clone())
        }
        _ => failure.clone(),
    }
}

/// The attempt that was placed last and has not ended, with a body in the place of the one that is gone.
fn open_attempt(
    history: &History,
    ended: &[AttemptFacts],
    tenant: &Tenant,
    submitted_at_ms: i64,
) -> Option<Assignment> {
    let event: &Event = history.last_assigned()?;
    if ended.iter().any(|facts| facts.attempt >= event.attempt) {
        return None;
    }
    let Fact::Assigned { backend, class, capability, model, reserved_micro_usd, .. } = &event.fact else {
        return None;
    };
    Some(Assignment {
        schema_version: SCHEMA_VERSION,
        time_ms: event.time_ms,
        submitted_at_ms,
        attempt: event.attempt,
        counted_attempts: 0,
        backend: backend.clone(),
        class: class.clone(),
        capability: *capability,
        model: model.clone(),
        timeout_ms: 0,
        reserved_micro_usd: *reserved_micro_usd,
        decision: None,
        warnings: Vec::new(),
        job: Job::new(event.job, tenant.clone(), Body::default(), event.time_ms),
        history: Vec::new(),
    })
}

/// Whose job it is, by what can be read of an assignment or a failed attempt.
fn owner((content_type, payload): (Option<&str>, &[u8])) -> Option<Tenant> {
    #[derive(Deserialize)]
    struct Remains {
        job: Option<Owned>,
        assignment: Option<Work>,
    }
    #[derive(Deserialize)]
    struct Work {
        job: Option<Owned>,
    }
    #[derive(Deserialize)]
    struct Owned {
        tenant: Tenant,
    }
    let remains: Remains = codec::decode(content_type, payload).ok()?;
    let job = remains.assignment.and_then(|work| work.job).or(remains.job)?;
    Some(job.tenant)
}

fn unknown_facts(now_ms: i64) -> JobFacts {
    let job = Job::new(JobId::from_parts(0, [0; 10]), unknown_tenant(), Body::default(), now_ms);
    JobFacts::of(&job, None, now_ms)
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn an_owner_is_read_from_what_is_left() {
        let letter = samples::dead_letter();
        let tenant = letter.assignment.job.tenant.clone();
        let whole = codec::encode(&letter);
        assert_eq!(owner((None, &whole)), Some(tenant.clone()));
        assert_eq!(owner((None, &codec::encode(&letter.assignment))), Some(tenant.clone()), "an assignment");
        let odd = format!(r#"{{"attempt": "first", "job": {{"tenant": "{tenant}", "id": 7}}}}"#);
        assert_eq!(owner((None, odd.as_bytes())), Some(tenant));
        assert_eq!(owner((None, &whole[..whole.len() / 2])), None, "cut off");
        assert_eq!(owner((None, br#"{"job": {"tenant": "ACME"}}"#)), None, "no tenant's name");
    }

    #[test]
    fn an_attempt_that_may_have_been_started_ends_as_possibly_paid() {
        let gone = Failure::new(FailureCode::Interrupted, "removed");
        let claimed = samples::attempt_record();
        let begun = AttemptRecord { outcome: None, ..claimed.clone() };
        let settled = AttemptRecord { outcome: Some(schemas::Outcome::default()), ..claimed };
        assert_eq!(of_attempt(Some(&begun), &gone).code, FailureCode::OutcomeUnknown);
        assert_eq!(of_attempt(Some(&settled), &gone), gone);
        assert_eq!(of_attempt(None, &gone), gone);
    }

    #[test]
    fn the_open_attempt_is_the_last_that_was_placed_and_has_not_ended() {
        let events = samples::events();
        let history = History::of(None, None, events.clone());
        let placed = history.last_assigned().expect("a sample is placed").attempt;
        let tenant = &events[0].tenant;
        let open = open_attempt(&history, &[], tenant, 5).expect("open");
        assert_eq!((open.attempt, open.submitted_at_ms), (placed, 5));
        let ended = AttemptFacts { attempt: placed, ..samples::attempt_facts() };
        assert_eq!(open_attempt(&history, &[ended], tenant, 5), None);
    }
}
