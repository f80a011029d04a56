//! What the router's tasks share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use policy::fleet::Fleet;
use runtime::broker::Broker;
use runtime::fleet_config::FleetConfig;
use runtime::metrics;
use schemas::Backend;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker_host::cancels::Cancels;
use worker_host::claim::Claims;

use crate::keys::Keys;
use crate::reserving::Reserver;
use crate::room::Room;
use crate::too_new::Limits;

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
    /// The ledger's ear.
    pub reserver: Reserver,
    /// Claims on paid attempts, for the sweep.
    pub claims: Claims,
    /// Idempotency keys.
    pub keys: Keys,
    /// Jobs in hand that wait for room.
    pub room: Room,
    /// The stream of facts is nearly full ([`Router::is_short_of_room_for_facts`]).
    pub facts_short: Arc<AtomicBool>,
    /// Attempts placed, by backend.
    pub assigned: Assigned,
    /// Which schemas of jobs it takes.
    pub schemas: Limits,
    /// Fires when the process is asked to stop.
    pub soft: CancellationToken,
}

impl Router {
    /// The configuration as it stands.
    #[must_use]
    pub fn config(&self) -> FleetConfig {
        self.config.borrow().clone()
    }

    /// Whether the stream of facts is nearly full. Then each placement begins with its event: it is refused where there
    /// is no room, and the job waits in its lane instead of at a worker that could not tell of its end.
    #[must_use]
    pub fn is_short_of_room_for_facts(&self) -> bool {
        self.facts_short.load(Ordering::Relaxed)
    }

    /// Reads the fleet.
    pub fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the fleet.
    pub fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.fleet.write().unwrap_or_else(PoisonError::into_inner))
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
