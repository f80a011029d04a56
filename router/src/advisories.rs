//! Messages that the broker gave up on: after the last delivery it says so once, and keeps the message,
//! undelivered, for ever. Such an assignment killed its workers: it becomes a dead letter, `poison`.
//!
//! Workers count deliveries themselves and give up much sooner; this is the net below them.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::stream::DirectGetErrorKind;
use futures::StreamExt;
use runtime::exit::Fault;
use runtime::telemetry;
use schemas::topology::{self, stream};
use schemas::{Assignment, Failure, FailureCode, codec};
use serde::Deserialize;

use crate::fleet::rest;
use crate::shared::Router;
use crate::unrun;

/// Advisories in hand at once.
const IN_HAND: usize = 32;

/// How long one pull waits, and how long to rest after trouble.
const WAIT: Duration = Duration::from_secs(5);

/// The part of the broker's advisory that is needed.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream: String,
    stream_seq: u64,
    deliveries: u64,
}

/// Follows advisories until stopped.
///
/// # Errors
/// The consumer is not there.
pub async fn follow(router: Router) -> Result<(), Fault> {
    let jetstream = &router.broker.jetstream;
    let consumer =
        runtime::topology::consumer(jetstream, stream::ADVISORIES, topology::ADVISORY_CONSUMER).await?;
    while !router.soft.is_cancelled() {
        let batch = tokio::select! {
            batch = consumer.batch().max_messages(IN_HAND).expires(WAIT).messages() => batch,
            () = router.soft.cancelled() => return Ok(()),
        };
        let Ok(mut messages) = batch else {
            rest(&router, WAIT).await;
            continue;
        };
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = router.soft.cancelled() => return Ok(()),
            };
            let Some(Ok(message)) = message else { break };
            let answer = match serde_json::from_slice::<Advisory>(&message.payload) {
                Ok(advisory) => poison(&router, &advisory).await,
                Err(error) => Err(error.to_string()),
            };
            let acknowledgement = match answer {
                Ok(()) => AckKind::Ack,
                Err(reason) => {
                    tracing::warn!(error = reason, "an advisory was not followed, trying again");
                    AckKind::Nak(Some(WAIT))
                }
            };
            let _ = message.ack_with(acknowledgement).await;
        }
    }
    Ok(())
}

async fn poison(router: &Router, advisory: &Advisory) -> Result<(), String> {
    if advisory.stream != stream::WORK {
        return Ok(());
    }
    let jetstream = &router.broker.jetstream;
    let work = jetstream.get_stream(stream::WORK).await.map_err(|error| telemetry::chain(&error))?;
    // Gone already: settled in the meantime, or by another router.
    let message = match work.direct_get(advisory.stream_seq).await {
        Ok(message) => message,
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(telemetry::chain(&error)),
    };
    let assignment =
        codec::decode::<Assignment>(None, &message.payload).map_err(|error| error.to_string())?;
    let words = format!("{} deliveries and no outcome: it is put aside", advisory.deliveries);
    let failure = Failure::new(FailureCode::Poison, words);
    let (id, reserved) = (assignment.id(), assignment.reserved_micro_usd);
    let claim = unrun::claimant(router, id, &assignment.backend, reserved, &failure).await?;
    unrun::send(router, &unrun::letter(router, &assignment, claim.as_ref(), failure)).await?;
    let _ = work.delete_message(advisory.stream_seq).await;
    Ok(())
}
