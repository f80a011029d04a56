//! What the router's tasks share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_nats::jetstream::kv;
use metrics::Counter;
use policy::fleet::Fleet;
use protocol::{FleetConfig, Note};
use protocol::router::room::Room;
use protocol::router::too_new::Limits;
use runtime::broker::Broker;
use runtime::cancels::Cancels;
use runtime::claims::Claims;
use schemas::Backend;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
    /// Idempotency keys.
    pub keys: kv::Store,
    /// Jobs in hand that wait for room.
    pub room: Room,
    /// The stream of events is nearly full.
    pub events_short: Arc<AtomicBool>,
    /// Attempts placed, by backend.
    pub assigned: Assigned,
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
            Note::Deferred => metrics::counter!("argosy_router_deferred_total").increment(1),
            Note::Duplicate => metrics::counter!("argosy_router_duplicates_total").increment(1),
            Note::Ended(state) => {
                metrics::counter!("argosy_router_ended_total", "state" => state.as_str()).increment(1);
            }
            Note::Parked(code) => {
                metrics::counter!("argosy_router_parked_total", "code" => code.as_str()).increment(1);
            }
            Note::Refused(code) => {
                metrics::counter!("argosy_router_refused_total", "code" => code.as_str()).increment(1);
            }
            Note::HandedBack(code) => {
                metrics::counter!("argosy_router_handed_back_total", "code" => code.as_str()).increment(1);
            }
            Note::Disposition { code, follows } => {
                let code = code.as_str();
                metrics::counter!("argosy_router_dispositions_total", "code" => code, "disposition" => follows)
                    .increment(1);
            }
            Note::Orphan { stream } => {
                metrics::counter!("argosy_router_orphans_total", "stream" => stream).increment(1);
            }
            // What happens in workers only.
            _ => {}
        }
    }
}

/// The counter of attempts placed, one for each backend, looked up once: by its name and label it costs as much as
/// reading a job does.
#[derive(Clone, Default)]
pub struct Assigned(Arc<Mutex<BTreeMap<Backend, Counter>>>);

impl Assigned {
    /// One more.
    pub fn count(&self, backend: &Backend) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(backend) {
            return counter.increment(1);
        }
        let counter = metrics::counter!("argosy_router_assigned_total", "backend" => backend.to_string());
        counter.increment(1);
        counters.insert(backend.clone(), counter);
    }
}
