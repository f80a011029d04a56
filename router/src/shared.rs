//! What the router's tasks share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_nats::jetstream::kv;
use policy::fleet::Fleet;
use protocol::router::room::Room;
use protocol::router::too_new::Limits;
use protocol::{FleetConfig, Note};
use runtime::broker::Broker;
use runtime::cancels::Cancels;
use runtime::claims::Claims;
use runtime::metrics;
use schemas::Backend;
use schemas::api::{LaneStatus, StalledConsumer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::breaker_store::BreakerStore;
use crate::quotas::Quotas;
use crate::reserving::Reserver;

/// Everything a router needs to carry plans out.
#[derive(Clone)]
pub struct Router {
    /// The broker.
    pub broker: Broker,
    /// Policy, catalog, prices, tenants.
    pub config: watch::Receiver<FleetConfig>,
    /// The fleet as plans see it.
    pub fleet: Arc<RwLock<Fleet>>,
    /// Jobs to be cancelled.
    pub cancels: Cancels,
    /// Asks the ledger for money.
    pub reserver: Reserver,
    /// Claims on paid attempts, for the sweep.
    pub claims: Claims,
    /// What keeps providers out.
    pub breakers: BreakerStore,
    /// Idempotency keys.
    pub keys: kv::Store,
    /// How much of what is shared each tenant uses.
    pub quotas: Quotas,
    /// Jobs in hand that wait for room.
    pub room: Room,
    /// The stream of events is nearly full.
    pub events_short: Arc<AtomicBool>,
    /// Attempts placed, by backend.
    pub assigned: Assigned,
    /// What lies in the lanes, as it was looked at last.
    pub lanes: Arc<RwLock<Vec<LaneStatus>>>,
    /// Consumers that do not deliver again what nobody has in hand, as they were looked at last.
    pub stalled: Arc<RwLock<Vec<StalledConsumer>>>,
    /// One look for a job in the lanes at a time.
    pub looks_at_lanes: Arc<tokio::sync::Mutex<()>>,
    /// What it calls itself: `router-` and its process id.
    pub id: String,
    /// When it started, Unix milliseconds.
    pub started_at_ms: i64,
    /// Which schemas of jobs it takes.
    pub schemas: Limits,
    /// Fires when the process is asked to stop.
    pub soft: CancellationToken,
}

impl Router {
    /// Counts what happened.
    pub(crate) fn count(&self, note: Note<'_>) {
        match note {
            Note::Assigned(backend) => self.assigned.count(backend),
            Note::Deferred => metrics::ROUTER_DEFERRED.increment(1),
            Note::Duplicate => metrics::ROUTER_DUPLICATES.increment(1),
            Note::Ended(state) => metrics::ROUTER_ENDED.of([state.as_str().into()]).increment(1),
            Note::Parked(code) => metrics::ROUTER_PARKED.of([code.as_str().into()]).increment(1),
            Note::NotParked(code) => metrics::ROUTER_NOT_PARKED.of([code.as_str().into()]).increment(1),
            Note::Refused(code) => metrics::ROUTER_REFUSED.of([code.as_str().into()]).increment(1),
            Note::HandedBack(code) => metrics::ROUTER_HANDED_BACK.of([code.as_str().into()]).increment(1),
            Note::Disposition { code, follows } => {
                metrics::ROUTER_DISPOSITIONS.of([code.as_str().into(), follows.into()]).increment(1);
            }
            Note::Orphan { stream } => metrics::ROUTER_ORPHANS.of([stream.into()]).increment(1),
            Note::InputGone => metrics::ROUTER_INPUTS_GONE.increment(1),
            // They happen in workers only.
            Note::Unfunded | Note::ClaimsFull => {}
        }
    }
}

/// The counter of attempts placed, one for each backend, looked up once: by its name and label it costs as much as
/// reading a job does.
#[derive(Clone, Default)]
pub struct Assigned(Arc<Mutex<BTreeMap<Backend, metrics::CounterSeries>>>);

impl Assigned {
    /// One more.
    pub fn count(&self, backend: &Backend) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(backend) {
            return counter.increment(1);
        }
        let counter = metrics::ROUTER_ASSIGNED.of([backend.to_string().into()]);
        counter.increment(1);
        counters.insert(backend.clone(), counter);
    }
}
