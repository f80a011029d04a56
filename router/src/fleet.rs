//! The fleet as plans see it, kept current in place: offers from the watched bucket, backlog from the
//! work consumers.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use futures::StreamExt;
use protocol::Ports as _;
use protocol::router::RouterPorts as _;
use protocol::router::intake::look_at_room;
use protocol::router::rhythm;
use runtime::clock;
use runtime::exit::{Exit, Fault};
use runtime::lanes;
use runtime::metrics;
use runtime::telemetry;
use runtime::watched;
use schemas::api::LaneStatus;
use schemas::topology::{self, stream};
use schemas::{Offer, codec};

use crate::shared::Router;
use crate::{queues, streams};

/// How often the queues are listed: one that no worker reads any more may hold work.
const QUEUES_EVERY: Duration = Duration::from_secs(10);

/// The stream of facts is nearly full when less than this share of it is left, as a divisor, or less than the largest
/// message: what the fleet writes between two looks is far less.
const EVENTS_SHORT_SHARE: u64 = 20;

/// How often the lanes are looked at: two calls for each.
const LANES_EVERY: Duration = Duration::from_secs(1);

/// For how long a worker that fell silent is remembered, milliseconds: it is named until somebody has looked.
const FORGOTTEN_AFTER_MS: u64 = 10 * 60 * 1_000;

/// Reads the offers and the backlog once, so that the first job is not planned onto an empty fleet.
///
/// # Errors
/// The bucket cannot be read.
pub async fn look_once(router: &Router, workers: &kv::Store) -> Result<(), Fault> {
    let absent = |reason: String| Fault::new(Exit::BrokerAbsent, format!("reading offers: {reason}"));
    let mut keys = workers.keys().await.map_err(|error| absent(telemetry::chain(&error)))?;
    while let Some(key) = keys.next().await {
        let key = key.map_err(|error| absent(telemetry::chain(&error)))?;
        let entry = workers.entry(key).await.map_err(|error| absent(telemetry::chain(&error)))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else { continue };
        if let Ok(offer) = codec::decode::<Offer>(None, &entry.value) {
            router.change_fleet(|fleet| fleet.upsert_offer(offer, told_at_ms(&entry)));
        }
    }
    queues::look(router).await;
    poll_backlog(router).await;
    look_at_events(router).await;
    Ok(())
}

/// When the broker took an offer in: its worker's clock may be wrong.
fn told_at_ms(entry: &kv::Entry) -> i64 {
    clock::ms_of_ns(entry.created.unix_timestamp_nanos())
}

/// Follows the offers until stopped.
///
/// # Errors
/// Never while the broker lives or comes back.
pub async fn follow_offers(router: Router, workers: kv::Store) -> Result<(), Fault> {
    let stop = router.soft.clone();
    watched::follow(workers, "following offers", stop, |entry| take_offer(&router, entry)).await
}

fn take_offer(router: &Router, entry: &kv::Entry) {
    if entry.operation != kv::Operation::Put {
        if let Ok(worker) = entry.key.parse() {
            router.change_fleet(|fleet| fleet.remove_offer(&worker));
        }
        return;
    }
    match codec::decode::<Offer>(None, &entry.value) {
        Ok(offer) => router.change_fleet(|fleet| fleet.upsert_offer(offer, told_at_ms(entry))),
        Err(error) => tracing::warn!(worker = entry.key, %error, "an offer cannot be read"),
    }
}

/// Asks for the backlog again and again, and forgets offers that are long past.
///
/// # Errors
/// Never.
pub async fn follow_backlog(router: Router) -> Result<(), Fault> {
    let mut queues_seen_at = Instant::now();
    while !router.soft.is_cancelled() {
        if queues_seen_at.elapsed() >= QUEUES_EVERY {
            queues::look(&router).await;
            queues_seen_at = Instant::now();
        }
        poll_backlog(&router).await;
        look_at_events(&router).await;
        forget_old_offers(&router);
        look_at_room(&router);
        router
            .rest(if router.room.is_empty() {
                rhythm::BACKLOG_EVERY
            } else {
                rhythm::BACKLOG_EVERY_WHEN_WAITING
            })
            .await;
    }
    Ok(())
}

async fn poll_backlog(router: &Router) {
    for (backend, queue) in queues::all(router) {
        let Some(jobs) = streams::backlog(router, &backend, &queue).await else { continue };
        router.change_fleet(|fleet| fleet.set_backlog(&backend, queue, jobs));
    }
    for service in &router.config().catalog.services {
        let (backend, class) = (&service.backend, &service.class);
        let jobs = router.with_fleet(|fleet| fleet.view(backend).map_or(0, |view| view.backlog_of(class)));
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::BACKLOG.of([backend.to_string().into(), class.to_string().into()]).set(jobs as f64);
    }
}

/// Sees how much room is left in the stream of facts.
async fn look_at_events(router: &Router) {
    let Ok(facts) = router.broker.jetstream.get_stream(stream::EVENTS).await else { return };
    let info = facts.cached_info();
    // None is set: it has all the room there is.
    let most = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
    let room = most.saturating_sub(info.state.bytes);
    let short = (most / EVENTS_SHORT_SHARE).max(topology::MESSAGE_MAX_BYTES.unsigned_abs().into());
    router.events_short.store(room < short, Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::EVENTS_ROOM.set(room as f64);
}

/// Offers far past their age are no help even in explanations, nor are empty queues without a reader.
fn forget_old_offers(router: &Router) {
    let now_ms = clock::now_ms();
    router.change_fleet(|fleet| {
        for view in fleet.backends.values_mut() {
            view.offers.retain(|offer| offer.is_fresh(FORGOTTEN_AFTER_MS, now_ms));
            let (offers, backlog) = (&view.offers, &mut view.backlog);
            backlog.retain(|queue, jobs| {
                *jobs > 0 || queue.capability.is_none() || offers.iter().any(|offer| offer.reads(queue))
            });
        }
    });
}

/// Looks again and again at what lies in the lanes.
///
/// # Errors
/// Never.
pub async fn follow_lanes(router: Router) -> Result<(), Fault> {
    while !router.soft.is_cancelled() {
        match lanes::status(&router.broker.jetstream).await {
            Ok(lanes) => {
                lanes.iter().for_each(count_lane);
                *router.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes;
            }
            Err(error) => tracing::debug!(%error, "looking at the lanes"),
        }
        router.rest(LANES_EVERY).await;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "gauges")]
fn count_lane(status: &LaneStatus) {
    let lane = || [status.lane.as_str().into()];
    metrics::LANE_JOBS.of(lane()).set(status.jobs as f64);
    metrics::LANE_OLDEST_AGE.of(lane()).set(status.oldest_age_ms.unwrap_or_default() as f64 / 1_000.0);
}
