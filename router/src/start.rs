//! Puts the router's tasks together.

use std::sync::{Arc, RwLock};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use policy::fleet::Fleet;
use protocol::router::rhythm::IN_HAND_MAX;
use protocol::router::room::Room;
use protocol::router::too_new::Limits;
use runtime::cancels::Cancels;
use runtime::claims::Claims;
use runtime::clock;
use runtime::exit::Fault;
use runtime::fleet_config;
use runtime::process::Context;
use runtime::topology::open_bucket;
use schemas::topology::{DAY_MS, bucket};
use schemas::{Lane, SCHEMA_VERSION};
use serde::Deserialize;
use tokio::sync::watch;

use crate::breaker_store::BreakerStore;
use crate::quotas::{self, Quotas};
use crate::reserving::Reserver;
use crate::shared::{Assigned, Router};
use crate::{advisories, api, breakers, digest, failed_attempts, fleet, intake, stalled, sweep, waiting};

/// The router's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouterProcess {
    /// Section `[router]`.
    pub router: RouterConfig,
}

/// Section `[router]`. How the fleet decides is not here: it is the document `policy`, shared by all.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouterConfig {
    /// Jobs of one lane that are being placed at once.
    pub in_hand: usize,
    /// The newest `schema_version` of jobs that this router takes; at most what it knows. Lower it to have jobs of a
    /// new schema wait for routers that take them.
    pub schema_version_max: u16,
    /// How long a job of a newer schema is handed back for other routers, milliseconds since its publish; then it is
    /// put aside as `too_new`.
    pub too_new_wait_ms: u64,
    /// Messages of one tenant in the operator's inbox; further ones are not put aside, and their jobs end all the same.
    pub parked_per_tenant: u64,
    /// Idempotency keys that one tenant may have at a time; a job with a further one is refused.
    pub keys_per_tenant: u64,
    /// Requests to cancel that one tenant may have at a time; a further one is refused.
    pub cancels_per_tenant: u64,
    /// How long an idempotency key is kept at the least, milliseconds; beyond that for as long as its first job is open.
    pub keys_kept_ms: u64,
    /// How long a request to cancel is kept at the least, milliseconds; beyond that for as long as its job is open.
    pub cancels_kept_ms: u64,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            in_hand: IN_HAND_MAX,
            schema_version_max: SCHEMA_VERSION,
            too_new_wait_ms: 600_000,
            parked_per_tenant: 20_000,
            keys_per_tenant: 100_000,
            cancels_per_tenant: 100_000,
            keys_kept_ms: DAY_MS,
            cancels_kept_ms: DAY_MS,
        }
    }
}

/// Starts the router's tasks.
///
/// # Errors
/// Missing streams, buckets or documents.
pub fn start(context: Context<RouterProcess>) -> BoxFuture<'static, Result<(), Fault>> {
    start_all(context).boxed()
}

async fn start_all(context: Context<RouterProcess>) -> Result<(), Fault> {
    let jetstream = &context.broker.jetstream;
    let (sender, config) = watch::channel(fleet_config::load(jetstream).await?);
    let soft = context.lifecycle.soft.clone();
    let (tasks, settings) = (&context.tasks, &context.config.router);
    let router = Router {
        broker: context.broker.clone(),
        config,
        fleet: Arc::new(RwLock::new(Fleet::default())),
        cancels: Cancels::default(),
        reserver: Reserver::start(context.broker.clone(), tasks, soft.clone()),
        claims: Claims::new(open_bucket(jetstream, bucket::ATTEMPTS).await?),
        keys: open_bucket(jetstream, bucket::KEYS).await?,
        quotas: Quotas::new(quotas::Limits {
            parked_per_tenant: settings.parked_per_tenant,
            keys_per_tenant: settings.keys_per_tenant,
            cancels_per_tenant: settings.cancels_per_tenant,
        }),
        breakers: BreakerStore::new(open_bucket(jetstream, bucket::BREAKERS).await?),
        room: Room::default(),
        events_short: Arc::default(),
        assigned: Assigned::default(),
        lanes: Arc::default(),
        stalled: Arc::default(),
        looks_at_lanes: Arc::default(),
        id: format!("router-{}", std::process::id()),
        started_at_ms: clock::now_ms(),
        schemas: Limits::new(settings.schema_version_max, settings.too_new_wait_ms),
        soft: soft.clone(),
    };
    let workers = open_bucket(jetstream, bucket::WORKERS).await?;
    fleet::look_once(&router, &workers).await?;
    breakers::look_once(&router).await?;
    tasks.spawn("configuration", fleet_config::follow(jetstream.clone(), sender, soft.clone()));
    tasks.spawn("cancels", router.cancels.clone().follow(jetstream.clone(), soft));
    tasks.spawn("offers", fleet::follow_offers(router.clone(), workers));
    tasks.spawn("backlog", fleet::follow_backlog(router.clone()));
    tasks.spawn("breakers", breakers::follow(router.clone()));
    tasks.spawn("outcomes", breakers::follow_outcomes(router.clone()));
    tasks.spawn("lanes", fleet::follow_lanes(router.clone()));
    tasks.spawn("waiting", waiting::answer(router.clone()));
    tasks.spawn("telling what waits", digest::tell(router.clone()));
    tasks.spawn("hearing what waits", digest::hear(router.clone()));
    for lane in Lane::ALL {
        let intake = intake::LaneLoop::open(router.clone(), lane, settings.in_hand).await?;
        tasks.spawn("intake", intake.run());
    }
    tasks.spawn("failed attempts", failed_attempts::FailedAttempts::open(router.clone()).await?.run());
    tasks.spawn("advisories", advisories::follow(router.clone()));
    tasks.spawn("taking back", sweep::take_back(router.clone()));
    tasks.spawn("orphans", sweep::send_orphans_again(router.clone()));
    tasks.spawn("stalled consumers", stalled::watch(router.clone()));
    let kept = sweep::Kept { keys_ms: settings.keys_kept_ms, cancels_ms: settings.cancels_kept_ms };
    tasks.spawn("guards", sweep::remove_guards(router.clone(), kept));
    tasks.spawn("lost work", sweep::end_lost(router.clone()));
    tasks.spawn("api", api::serve(router));
    context.health.good("running");
    Ok(())
}
