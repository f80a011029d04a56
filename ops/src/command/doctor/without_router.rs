//! How the backends are where no router says so: by what routers know it from, the buckets `WORKERS`, `BREAKERS` and
//! `CONFIG`, and the work that lies in its stream.

use anyhow::Context as _;
use async_nats::jetstream::kv;
use futures::{StreamExt as _, TryStreamExt as _};
use policy::fleet::Fleet;
use policy::status;
use runtime::broker::Broker;
use runtime::topology::open_bucket;
use runtime::{clock, fleet_config};
use schemas::api::BackendStatus;
use schemas::subjects::{self, Subject};
use schemas::topology::{bucket, stream};
use schemas::{Offer, codec};

/// The backends, and the broker's time, Unix milliseconds.
pub(super) async fn backends(broker: &Broker) -> anyhow::Result<(Vec<BackendStatus>, i64)> {
    let jetstream = &broker.jetstream;
    let config = fleet_config::load(jetstream).await?;
    let mut fleet = Fleet::default();
    let workers = open_bucket(jetstream, bucket::WORKERS).await?;
    let mut keys = workers.keys().await.context("bucket WORKERS")?;
    while let Some(key) = keys.next().await {
        let entry = workers.entry(key.context("bucket WORKERS")?).await.context("bucket WORKERS")?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else { continue };
        // What a newer version wrote may not be readable here.
        if let Ok(offer) = codec::decode::<Offer>(None, &entry.value) {
            fleet.upsert_offer(offer, clock::ms_of_ns(entry.created.unix_timestamp_nanos()));
        }
    }
    for (record, _) in client::breakers::list(jetstream).await? {
        fleet.take_breaker(&record);
    }
    let work = jetstream.get_stream(stream::WORK).await.context("stream WORK")?;
    let mut waiting = work.info_with_subjects(subjects::WORK_FILTER).await.context("stream WORK")?;
    while let Some((subject, _)) = waiting.try_next().await.context("stream WORK")? {
        if let Some(Subject::Work(backend, queue, _)) = subjects::parse(&subject) {
            fleet.add_backlog(&backend, queue, 1);
        }
    }
    // Offers bear the broker's time; so does their age.
    let measured = clock::measure(&broker.client).await;
    let now_ms = clock::machine_ms() - measured.map_or(0, |measured| measured.skew_ms);
    Ok((status::backends(&fleet, &config.policy, &config.catalog, now_ms), now_ms))
}
