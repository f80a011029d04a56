//! Putting aside what cannot be booked, with its reason and its bytes.

use runtime::broker::Broker;
use runtime::clock;
use runtime::metrics;
use runtime::publish;
use schemas::subjects::{self, Subject};
use schemas::{Failure, Parked};

use super::arrived::Arrived;

/// Publishes the message to the operator's inbox; true when it lies there, and may be acknowledged.
pub(super) async fn park(broker: &Broker, arrived: &Arrived, failure: Failure) -> bool {
    let named = match subjects::parse(&arrived.subject) {
        Some(Subject::Event(tenant, job, _)) => Some((tenant, job)),
        _ => None,
    };
    let (tenant, job) = named.unzip();
    let subject = subjects::parked(tenant.as_ref(), failure.code, job);
    let sequence = arrived.sequence(&broker.jetstream);
    tracing::warn!(subject = %arrived.subject, sequence, reason = failure.message, "event put aside");
    metrics::LEDGER_EVENTS_PARKED.increment(1);
    let original = (arrived.subject.as_str(), arrived.content_type.as_deref(), &arrived.payload[..]);
    let parked = Parked::new(clock::now_ms(), failure, original, Vec::new());
    // The same event parks under the same id, however often it is delivered.
    let id = format!("event-{sequence}");
    match broker.publisher.publish(&publish::Message::new(subject, id, &parked)).await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, sequence, "could not be put aside, the broker keeps it");
            false
        }
    }
}
