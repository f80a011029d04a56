//! What is published: plain jobs for the free backend, and offers of workers that are not there.

use client::submit;
use runtime::broker::Broker;
use runtime::clock::now_ms;
use schemas::offer::ClassOffer;
use schemas::topology::bucket;
use schemas::{
    Backend, Body, Catalog, Health, Job, JobId, Lane, Offer, SCHEMA_VERSION, Tenant, WorkerId, codec,
};
use std::convert::Infallible;
use std::time::Duration;

/// Slots that an offer of the benchmark claims: a free one for all that is placed while nobody takes it.
const SLOTS: u32 = 10_000_000;

/// Offers are renewed well within the age at which they count as gone.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// A job like most: a prompt, no more said than needed.
pub(super) fn job(lane: Lane, tenant: &Tenant) -> Job {
    let body = Body {
        prompt: Some("a lighthouse in a storm, oil on canvas".to_owned()),
        model: Some("sd15".to_owned()),
        width: Some(512),
        height: Some(512),
        ..Body::default()
    };
    Job { lane, ..Job::new(JobId::new(), tenant.clone(), body, now_ms()) }
}

/// The tenant of jobs where it does not matter.
pub(super) fn tenant() -> anyhow::Result<Tenant> {
    Ok(Tenant::new("bench")?)
}

/// Publishes so many jobs of a tenant to one lane.
pub(super) async fn fill(broker: &Broker, lane: Lane, tenant: &Tenant, jobs: usize) -> anyhow::Result<()> {
    let messages = (0..jobs).map(|_| submit::message(&job(lane, tenant)));
    broker.publisher.publish_all(messages, submit::BULK_IN_FLIGHT).await?;
    Ok(())
}

/// A worker for each backend of the catalog, with room for everything.
pub(super) fn offers(catalog: &Catalog) -> anyhow::Result<Vec<Offer>> {
    let mut backends: Vec<&Backend> = catalog.services.iter().map(|service| &service.backend).collect();
    backends.sort_unstable();
    backends.dedup();
    let offer = |backend: &&Backend| {
        Ok(Offer {
            schema_version: SCHEMA_VERSION,
            worker: WorkerId::new(&format!("{backend}-offered"))?,
            backend: Backend::clone(backend),
            time_ms: now_ms(),
            started_at_ms: now_ms(),
            classes: catalog
                .services_of(backend)
                .map(|service| ClassOffer { class: service.class.clone(), learned_ms: Some(10) })
                .collect(),
            slots: SLOTS,
            free_slots: SLOTS,
            health: Health::Healthy,
            health_reason: None,
            unavailable_until_ms: None,
            clock_skew_ms: None,
            breaker: None,
            running: Vec::new(),
            models: None,
            nodes: None,
            file_choices: None,
            capability: None,
            gpus: Vec::new(),
            simulated: true,
            paid: None,
        })
    };
    backends.iter().map(offer).collect()
}

/// Tells of such workers for as long as something goes on.
pub(super) async fn offer_during<T>(
    broker: &Broker,
    catalog: &Catalog,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        ended = offer(broker, catalog) => match ended? {},
    }
}

async fn offer(broker: &Broker, catalog: &Catalog) -> anyhow::Result<Infallible> {
    let store = broker.jetstream.get_key_value(bucket::WORKERS).await?;
    loop {
        for offer in offers(catalog)? {
            store.put(offer.worker.as_str(), codec::encode(&offer).into()).await?;
        }
        tokio::time::sleep(RENEW_EVERY).await;
    }
}
