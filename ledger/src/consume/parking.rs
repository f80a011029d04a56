//! Putting aside what cannot be booked, with its reason and its bytes.

use async_nats::jetstream::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::clock;
use runtime::publish::{self, Publisher};
use schemas::codec::CONTENT_TYPE;
use schemas::subjects::{self, Subject};
use schemas::{Event, Failure, Parked, SCHEMA_VERSION};

/// Publishes the message to the operator's inbox; true when it lies there, and may be acknowledged.
pub(super) async fn park(
    publisher: &Publisher,
    message: &Message,
    event: Option<&Event>,
    failure: Failure,
) -> bool {
    let named = match (event, subjects::parse(&message.subject)) {
        (Some(event), _) => Some((event.tenant.clone(), event.job)),
        (None, Some(Subject::Event(tenant, job, _))) => Some((tenant, job)),
        (None, _) => None,
    };
    let (tenant, job) = named.unzip();
    let subject = subjects::parked(tenant.as_ref(), failure.code, job);
    let sequence = message.info().map(|info| info.stream_sequence).unwrap_or_default();
    let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
    tracing::warn!(subject = %message.subject, sequence, reason = failure.message, "event put aside");
    metrics::counter!("argosy_ledger_events_parked_total").increment(1);
    let parked = Parked {
        schema_version: SCHEMA_VERSION,
        time_ms: clock::now_ms(),
        failure,
        subject: message.subject.to_string(),
        content_type: header.map(ToString::to_string),
        payload_base64: STANDARD.encode(&message.payload),
        attempts: Vec::new(),
    };
    // The same event parks under the same id, however often it is delivered.
    let id = format!("event-{sequence}");
    match publisher.publish(&publish::Message::new(subject, id, &parked)).await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, sequence, "could not be put aside, the broker keeps it");
            false
        }
    }
}
