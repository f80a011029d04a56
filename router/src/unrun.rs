//! Assignments that no worker will end: taken out of their queue, and the dead letter of one.

use policy::cost;
use runtime::clock;
use runtime::publish::Message;
use schemas::{
    Assignment, AttemptId, AttemptRecord, AttemptState, Backend, DeadLetter, Failure, MicroUsd, Outcome,
    SCHEMA_VERSION, subjects,
};
use worker_host::claim::Asked;
use worker_host::machine::{self, Ended};

use crate::shared::Router;

/// The letter. An attempt without a claim cost nothing; one with a claim costs what the claim tells, or
/// possibly everything that was reserved.
pub(crate) fn letter(
    router: &Router,
    assignment: &Assignment,
    claim: Option<&AttemptRecord>,
    failure: Failure,
) -> DeadLetter {
    let told = claim.and_then(|claim| claim.outcome.clone()).unwrap_or_default();
    let outcome = Outcome {
        failure: Some(failure),
        provider_id: told.provider_id.clone().or_else(|| claim.and_then(|claim| claim.provider_id.clone())),
        ..told
    };
    let now_ms = clock::now_ms();
    let started_at_ms = claim.and_then(|claim| claim.started_at_ms);
    let prices = router.config().prices;
    let at_ms = started_at_ms.unwrap_or(now_ms);
    let price = cost::price_of(&outcome.usage, &assignment.backend, &assignment.model, &prices, at_ms);
    machine::dead_letter(&Ended {
        assignment,
        worker: claim.map(|claim| &claim.worker),
        simulated: false,
        started_at_ms,
        finished_at_ms: now_ms,
        outcome: &outcome,
        price_micro_usd: price.ok(),
        called: claim.is_some(),
    })
}

/// Sends it. It has the id that a worker's would have: of the two, one is stored.
///
/// # Errors
/// The broker did not store it.
pub(crate) async fn send(router: &Router, letter: &DeadLetter) -> Result<(), String> {
    let assignment = &letter.assignment;
    let id = assignment.id();
    let message = Message::new(subjects::dead(&assignment.backend, id.job), format!("{id}.dead"), letter);
    router.broker.publisher.publish(&message).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Who claims when no worker will.
const CLAIMANT: &str = "router-sweep";

/// Whether an attempt may be taken out of its queue unrun. Free work always; of paid work the claim is
/// taken and settled with `failure`, like a worker would, so that none will call the provider for it.
/// Where somebody has the claim, the provider may have been called, and a worker must find out.
///
/// # Errors
/// The broker did not answer.
pub(crate) async fn take(
    router: &Router,
    attempt: AttemptId,
    backend: &Backend,
    reserved_micro_usd: MicroUsd,
    failure: &Failure,
) -> Result<bool, String> {
    let other = claimant(router, attempt, backend, reserved_micro_usd, failure).await?;
    Ok(other.is_none())
}

/// Who has claimed a paid attempt, having taken the claim if nobody has; nobody for free work. Taking it is
/// how to know: a claim that is merely read may come from a replica that is behind.
///
/// # Errors
/// The broker did not answer.
pub(crate) async fn claimant(
    router: &Router,
    attempt: AttemptId,
    backend: &Backend,
    reserved_micro_usd: MicroUsd,
    failure: &Failure,
) -> Result<Option<AttemptRecord>, String> {
    if reserved_micro_usd.0 == 0 {
        return Ok(None);
    }
    let record = AttemptRecord {
        schema_version: SCHEMA_VERSION,
        job: attempt.job,
        attempt: attempt.attempt,
        backend: backend.clone(),
        worker: CLAIMANT.parse().map_err(|error: schemas::ids::IdError| error.to_string())?,
        state: AttemptState::Settled,
        claimed_at_ms: clock::now_ms(),
        started_at_ms: None,
        reserved_micro_usd,
        provider_id: None,
        outcome: Some(Outcome { failure: Some(failure.clone()), ..Outcome::default() }),
        delivered: None,
    };
    match router.claims.ask(record).await {
        Ok(Asked::Granted(_)) => Ok(None),
        // Taken before, by a router that died before it told.
        Ok(Asked::Taken(held)) => Ok(Some(*held.record).filter(|record| record.worker.as_str() != CLAIMANT)),
        Err(error) => Err(error.to_string()),
    }
}
