//! What the worker knows of breakers: of its provider's from bucket `BREAKERS`, and that a person closed one.

use std::sync::{Arc, PoisonError};

use async_nats::jetstream::kv;
use runtime::exit::Fault;
use runtime::watched;
use schemas::breaker::BreakerRecord;
use schemas::codec;
use tokio_util::sync::CancellationToken;

use crate::context::Shared;

/// Follows the bucket until stopped.
///
/// # Errors
/// Never while the broker lives or comes back.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    store: kv::Store,
    stop: CancellationToken,
) -> Result<(), Fault> {
    watched::follow(store, "following breakers", stop, |entry| take(&shared, entry)).await
}

fn take(shared: &Shared, entry: &kv::Entry) {
    if entry.operation != kv::Operation::Put {
        return;
    }
    match codec::decode::<BreakerRecord>(None, &entry.value) {
        Ok(record) if record.backend == shared.backend => {
            let is_news = record.time_ms >= shared.started_at_ms;
            if let Some(breaker) = &shared.breaker {
                // Its server's breaker is the worker's own: only a person speaks into it.
                if record.open_until_ms.is_none() && record.why.is_some() && is_news {
                    breaker.lock().unwrap_or_else(PoisonError::into_inner).on_success();
                }
            } else {
                shared.provider.lock().unwrap_or_else(PoisonError::into_inner).take(&record);
            }
            shared.discover_now.notify_one();
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(key = entry.key, %error, "a breaker cannot be read"),
    }
}
