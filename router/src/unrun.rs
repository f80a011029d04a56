//! The dead letter of an assignment that no worker will end.

use policy::cost;
use runtime::clock;
use runtime::publish::{self, Message};
use runtime::worker::machine::{self, Ended};
use schemas::{Assignment, AttemptRecord, Failure, Outcome, subjects};

use crate::shared::Router;

/// Sends the letter. It has the id that a worker's would have: of the two, one is stored.
///
/// An attempt without a claim cost nothing; one with a claim costs what the claim tells, or possibly
/// everything that was reserved.
///
/// # Errors
/// The broker did not store it.
pub(crate) async fn send(
    router: &Router,
    assignment: &Assignment,
    claim: Option<&AttemptRecord>,
    failure: Failure,
) -> Result<(), String> {
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
    let letter = machine::dead_letter(&Ended {
        assignment,
        worker: claim.map(|claim| &claim.worker),
        simulated: false,
        started_at_ms,
        finished_at_ms: now_ms,
        outcome: &outcome,
        price_micro_usd: price.ok(),
        called: claim.is_some(),
    });
    let id = assignment.id();
    let message = Message::new(subjects::dead(&assignment.backend, id.job), format!("{id}.dead"), &letter);
    publish::publish(&router.broker.jetstream, &message).await.map(|_| ()).map_err(|error| error.to_string())
}
