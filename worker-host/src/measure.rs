//! Measures the artifact store, and how much all workers have in hand that it is to hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use runtime::metrics;
use schemas::topology::stream;
use schemas::{Backend, Class, subjects};
use tokio_util::sync::CancellationToken;

use crate::context::Shared;
use crate::room::{self, Measured};
use runtime::claims::ClaimsRoom;
use runtime::clock;
use runtime::exit::Fault;
use runtime::store_room::StoreRoom;
use runtime::telemetry;

/// How often the store is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// Measures the store until nothing runs any more: a drain waits for this.
pub(crate) async fn measure(shared: Arc<Shared>, drained: CancellationToken) -> Result<(), Fault> {
    loop {
        measure_once(&shared).await;
        tokio::select! {
            () = tokio::time::sleep(MEASURE_EVERY) => {}
            () = drained.cancelled() => return Ok(()),
        }
    }
}

/// Measures the store; what cannot be measured now stays as it was.
pub(crate) async fn measure_once(shared: &Shared) {
    let jetstream = &shared.broker.jetstream;
    let store = match StoreRoom::measure(jetstream, clock::now_ms()).await {
        Ok(store) => store,
        Err(error) => {
            tracing::debug!(%error, "the artifact store was not measured");
            return;
        }
    };
    publish_metrics(&store);
    // Ours are counted as they begin and end; the rest of what is in hand is others'.
    let own_bytes = shared.room.in_hand_bytes();
    let is_paid = shared.is_paid();
    let in_hand = if is_paid { in_hand_bytes(shared).await } else { Some(0) };
    let Some(in_hand) = in_hand else { return };
    let claims = if is_paid { claims_room(shared).await } else { None };
    let measured = Measured { store, others_bytes: in_hand.saturating_sub(own_bytes), claims };
    if shared.room.set(measured) {
        shared.discover_now.notify_one();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn publish_metrics(store: &StoreRoom) {
    let left = store.left_bytes().map_or(f64::INFINITY, |left| left as f64);
    metrics::ARTIFACT_STORE_ROOM.set(left);
    let days = store.days().map_or(f64::INFINITY, |days| days as f64);
    metrics::ARTIFACT_STORE_DAYS.set(days);
}

/// How full the bucket of claims is; none where it cannot be found out now.
async fn claims_room(shared: &Shared) -> Option<ClaimsRoom> {
    let room = shared.claims.room().await;
    let room =
        room.inspect_err(|error| tracing::debug!(%error, "the bucket of claims was not measured")).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    metrics::CLAIMS_ROOM.set(room.left_bytes().map_or(f64::INFINITY, |left| left as f64));
    Some(room)
}

/// What all paid attempts that are in any worker's hands may store, bytes.
async fn in_hand_bytes(shared: &Shared) -> Option<u64> {
    let (catalog, prices) = {
        let config = shared.config.borrow();
        (Arc::clone(&config.catalog), Arc::clone(&config.prices))
    };
    let paid = catalog.services.iter().filter(|service| room::is_paid(&service.backend, &prices));
    let sizes: HashMap<(Backend, Class), u64> = paid
        .map(|service| {
            let at = (service.backend.clone(), service.class.clone());
            (at, shared.room.expected(&service.class, &catalog))
        })
        .collect();
    let work = shared.broker.jetstream.get_stream_no_info(stream::WORK).await.ok()?;
    let consumers: Result<Vec<_>, _> = work.consumers().try_collect().await;
    let consumers = consumers
        .inspect_err(|error| tracing::debug!(error = telemetry::chain(error), "counting what is in hand"))
        .ok()?;
    let in_hand = consumers.iter().filter_map(|consumer| {
        let (backend, queue) = subjects::work_filter_parts(&consumer.config.filter_subject)?;
        let bytes = sizes.get(&(backend, queue.class))?;
        Some(bytes.saturating_mul(consumer.num_ack_pending as u64))
    });
    Some(in_hand.fold(0, u64::saturating_add))
}
