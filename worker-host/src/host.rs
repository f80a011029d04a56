//! Starts a worker: what its tasks share, and which tasks there are.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemas::topology::bucket;
use schemas::{Class, FailureCode, Health, WorkerId};
use serde::Deserialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::adopt::{Address, Adopter};
use crate::cancels::Cancels;
use crate::claim::Claims;
use crate::room::Room;
use crate::spool::{self, Spool};
use crate::stoppers::Stoppers;
use crate::{Backend, Discovery, machine, presence, pull, rescue, room};
use runtime::artifacts::Artifacts;
use runtime::broker::Broker;
use runtime::clock;
use runtime::config::Secret;
use runtime::exit::{Exit, Fault};
use runtime::fleet_config::{self, FleetConfig};
use runtime::health::Health as Readiness;
use runtime::lifecycle::Lifecycle;
use runtime::process::Context;
use runtime::reports::Inbox;
use runtime::tasks::Tasks;

/// Section `[worker]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// The worker's name; made of the backend's and a random part when absent.
    pub name: Option<String>,
    /// Attempts at once; the backend's own default when absent.
    pub slots: Option<u32>,
    /// The provider is a simulator: said in offers, reports and the ledger.
    pub simulated: bool,
    /// Where the provider reaches this worker's pages, or those of any other worker of the backend, e.g.
    /// `https://fleet.example`. With it and a secret, providers that can report each attempt; work whose
    /// start was not confirmed is then found again instead of being given up as unknown.
    pub report_url: String,
    /// Shared by all workers of the backend; reports without it are not taken.
    pub report_secret: Secret,
    /// Where results that came in a provider's answer lie until they are stored. It must outlive the process;
    /// `spool` in the state folder of the user when absent.
    pub spool_dir: Option<PathBuf>,
    /// How many bytes may lie there; 1 GiB when absent. What does not fit is kept in memory only.
    pub spool_bytes: Option<u64>,
}

/// The most attempts at once that are taken seriously.
const SLOTS_MAX: u32 = 10_000;

/// What the worker's tasks share.
pub(crate) struct Shared {
    pub(crate) worker: WorkerId,
    pub(crate) backend: schemas::Backend,
    pub(crate) simulated: bool,
    /// The provider bills.
    pub(crate) paid: bool,
    pub(crate) slots: u32,
    pub(crate) started_at_ms: i64,
    pub(crate) broker: Broker,
    pub(crate) artifacts: Artifacts,
    pub(crate) claims: Claims,
    pub(crate) spool: Spool,
    pub(crate) room: Arc<Room>,
    pub(crate) cancels: Cancels,
    pub(crate) stoppers: Stoppers,
    pub(crate) config: watch::Receiver<FleetConfig>,
    pub(crate) reports: Option<Address>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) tasks: Tasks,
    pub(crate) health: Readiness,
    /// One per slot; held by what runs and by waits that could bring work for it.
    pub(crate) permits: Arc<Semaphore>,
    /// What runs.
    pub(crate) running: watch::Sender<u32>,
    pub(crate) discover_now: Notify,
    pub(crate) figures: Figures,
    learned: Mutex<HashMap<Class, u64>>,
}

impl Shared {
    pub(crate) fn learned(&self, class: &Class) -> Option<u64> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(class).copied()
    }

    pub(crate) fn learn(&self, class: &Class, run_ms: u64) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let before = learned.get(class).copied();
        learned.insert(class.clone(), machine::learn(before, run_ms));
    }

    /// Work here costs money.
    pub(crate) fn is_paid(&self) -> bool {
        room::is_paid(&self.backend, &self.config.borrow().prices)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.permits.available_permits() >= self.slots as usize
    }

    /// One more piece of work, until what is returned is dropped.
    pub(crate) fn occupy(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> Occupied {
        self.running.send_modify(|running| *running += 1);
        Occupied { shared: Arc::clone(self), _permit: permit }
    }
}

/// What is told of each attempt as a metric, looked up once: by its name and labels each costs as much as a message.
pub(crate) struct Figures {
    pub(crate) attempts_running: metrics::Gauge,
    run_seconds_completed: metrics::Histogram,
    backend: String,
}

impl Figures {
    fn of(backend: &schemas::Backend) -> Self {
        let backend = backend.to_string();
        Self {
            attempts_running: metrics::gauge!("argosy_worker_attempts_running"),
            run_seconds_completed: run_seconds(&backend, "completed"),
            backend,
        }
    }

    /// How long attempts ran that ended so.
    pub(crate) fn run_seconds(&self, failure: Option<FailureCode>) -> metrics::Histogram {
        match failure {
            None => self.run_seconds_completed.clone(),
            Some(code) => run_seconds(&self.backend, code.as_str()),
        }
    }
}

fn run_seconds(backend: &str, outcome: &'static str) -> metrics::Histogram {
    metrics::histogram!("argosy_attempt_run_seconds", "backend" => backend.to_owned(), "outcome" => outcome)
}

/// A slot with work in it.
pub(crate) struct Occupied {
    shared: Arc<Shared>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.shared.running.send_modify(|running| *running = running.saturating_sub(1));
    }
}

/// Starts a worker: its backend is made from the fleet's configuration, then presence, cancel requests
/// and the pulling run as tasks of the process.
///
/// # Errors
/// Missing buckets or documents, or a wrong `[worker]` section.
pub async fn start<C, B, F>(
    context: &Context<C>,
    worker: &WorkerConfig,
    name: schemas::Backend,
    default_slots: u32,
    make: F,
) -> Result<(), Fault>
where
    B: Backend,
    F: FnOnce(watch::Receiver<FleetConfig>) -> Result<B, Fault>,
{
    let loaded = loaded(&context.broker).await?;
    let (sender, config) = watch::channel(loaded);
    let backend: Arc<dyn Backend> = Arc::new(make(config.clone())?);
    let slots = worker.slots.unwrap_or(default_slots);
    let with = With { worker, name, slots, backend, sender, config };
    begin(Parts::of(context), with).await
}

/// What all workers share of their process's context, whatever their configuration is.
struct Parts<'a> {
    broker: &'a Broker,
    lifecycle: &'a Lifecycle,
    tasks: &'a Tasks,
    health: &'a Readiness,
    inbox: &'a Inbox,
}

impl<'a> Parts<'a> {
    const fn of<C>(context: &'a Context<C>) -> Self {
        let Context { broker, lifecycle, tasks, health, inbox, .. } = context;
        Self { broker, lifecycle, tasks, health, inbox }
    }
}

struct With<'a> {
    worker: &'a WorkerConfig,
    name: schemas::Backend,
    slots: u32,
    backend: Arc<dyn Backend>,
    sender: watch::Sender<FleetConfig>,
    config: watch::Receiver<FleetConfig>,
}

/// Boxed, as [`begin`] is, so that it is compiled once, here, and not again in every worker.
fn loaded(broker: &Broker) -> BoxFuture<'_, Result<FleetConfig, Fault>> {
    fleet_config::load(&broker.jetstream).boxed()
}

fn begin<'a>(context: Parts<'a>, with: With<'a>) -> BoxFuture<'a, Result<(), Fault>> {
    begin_with(context, with).boxed()
}

async fn begin_with(context: Parts<'_>, with: With<'_>) -> Result<(), Fault> {
    let With { worker, name, slots, backend, sender, config } = with;
    let jetstream = &context.broker.jetstream;
    if !(1..=SLOTS_MAX).contains(&slots) {
        let message = format!("configuration key `worker.slots`: {slots} is not within 1 to {SLOTS_MAX}");
        return Err(Fault::new(Exit::Config, message));
    }
    let stoppers = Stoppers::default();
    let of_requests = stoppers.clone();
    let shared = Arc::new(Shared {
        worker: worker_id(worker, &name)?,
        backend: name.clone(),
        simulated: worker.simulated,
        paid: backend.is_paid(),
        slots,
        started_at_ms: clock::now_ms(),
        broker: context.broker.clone(),
        artifacts: Artifacts::new(jetstream.clone()),
        claims: Claims::new(runtime::topology::open_bucket(jetstream, bucket::ATTEMPTS).await?),
        spool: spool(worker)?,
        room: Arc::default(),
        cancels: Cancels::notifying(move |job| of_requests.cancel(job)),
        stoppers,
        config,
        reports: Address::new(&worker.report_url, &worker.report_secret),
        lifecycle: context.lifecycle.clone(),
        tasks: context.tasks.clone(),
        health: context.health.clone(),
        permits: Arc::new(Semaphore::new(slots as usize)),
        running: watch::Sender::new(0),
        discover_now: Notify::new(),
        figures: Figures::of(&name),
        learned: Mutex::new(HashMap::new()),
    });
    tracing::info!(worker = %shared.worker, backend = %shared.backend, slots, simulated = shared.simulated, "worker");
    if let Some(address) = shared.reports.clone() {
        let (claims, backend) = (shared.claims.clone(), Arc::clone(&backend));
        context.inbox.open(Arc::new(Adopter { address, claims, backend }));
    }
    let workers = runtime::topology::open_bucket(jetstream, bucket::WORKERS).await?;
    rescue::mark(&shared).await;
    room::measure_once(&shared).await;
    let (discovered, discovery) = watch::channel(Discovery::unwell(Health::Down, "not looked at yet"));
    let hard = context.lifecycle.hard.clone();
    let tasks = &context.tasks;
    tasks.spawn(
        "configuration",
        fleet_config::follow(jetstream.clone(), sender, context.lifecycle.soft.clone()),
    );
    tasks.spawn("cancels", shared.cancels.clone().follow(jetstream.clone(), drained(&shared, hard)));
    tasks.spawn("discovery", presence::discover(Arc::clone(&shared), Arc::clone(&backend), discovered));
    tasks.spawn("presence", presence::tell(Arc::clone(&shared), workers, discovery.clone()));
    tasks.spawn("room", room::measure(Arc::clone(&shared)));
    tasks.spawn("spool", rescue::run(Arc::clone(&shared)));
    tasks.spawn("pull", pull::run(shared, backend, discovery));
    Ok(())
}

/// A folder that was asked for must be there; the default one is made when it is needed.
fn spool(config: &WorkerConfig) -> Result<Spool, Fault> {
    let asked_for = config.spool_dir.clone();
    let dir = asked_for.clone().unwrap_or_else(Spool::default_dir);
    let spool = Spool::new(dir, config.spool_bytes.unwrap_or(spool::DEFAULT_BYTES));
    if asked_for.is_some()
        && let Err(error) = spool.make_dir()
    {
        let message = format!("configuration key `worker.spool_dir`: {}: {error}", spool.dir().display());
        return Err(Fault::new(Exit::Config, message));
    }
    Ok(spool)
}

/// Fires when nothing runs any more after the soft stop, or at the hard stop.
fn drained(shared: &Arc<Shared>, hard: CancellationToken) -> CancellationToken {
    let done = CancellationToken::new();
    let (fire, shared) = (done.clone(), Arc::clone(shared));
    let tasks = shared.tasks.clone();
    tasks.spawn_piece(async move {
        shared.lifecycle.soft.cancelled().await;
        tokio::select! {
            _ = shared.permits.acquire_many(shared.slots) => {}
            () = hard.cancelled() => {}
        }
        fire.cancel();
    });
    done
}

fn worker_id(config: &WorkerConfig, backend: &schemas::Backend) -> Result<WorkerId, Fault> {
    let random = || format!("{backend}-{}", &schemas::JobId::new().0.simple().to_string()[20..]);
    let name = config.name.clone().unwrap_or_else(random);
    name.parse()
        .map_err(|error| Fault::new(Exit::Config, format!("configuration key `worker.name`: {error}")))
}
