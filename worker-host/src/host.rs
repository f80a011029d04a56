//! Starts a worker: which tasks there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocol::worker::rescue;
use schemas::topology::bucket;
use schemas::{Health, WorkerId};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::adopt::Adopter;
use crate::context::{Figures, Shared};
use crate::kept_claims::KeptClaims;
use crate::nats::NatsPorts;
use crate::spool::{self, Spool};
use crate::stoppers::Stoppers;
use crate::{Backend, Discovery, breakers, measure, presence, pull};
use runtime::artifacts::Artifacts;
use runtime::broker::Broker;
use runtime::cancels::Cancels;
use runtime::claims::Claims;
use runtime::clock;
use runtime::exit::{Exit, Fault};
use runtime::fleet_config::{self, FleetConfig};
use runtime::health::Health as Readiness;
use runtime::lifecycle::Lifecycle;
use runtime::process::Context;
use runtime::reports::{Inbox, Reports};
use runtime::tasks::Tasks;

pub use crate::context::WorkerConfig;

/// The most attempts at once that are taken seriously.
const SLOTS_MAX: u32 = 10_000;

/// Starts a worker: its backend is made from the fleet's configuration, then presence, cancel requests
/// and the pulling run as tasks of the process. Returns the worker's id.
///
/// # Errors
/// Missing buckets or documents, or a wrong `[worker]` section.
pub async fn start<C, B, F>(
    context: &Context<C>,
    worker: &WorkerConfig,
    name: schemas::Backend,
    default_slots: u32,
    make: F,
) -> Result<WorkerId, Fault>
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

fn begin<'a>(context: Parts<'a>, with: With<'a>) -> BoxFuture<'a, Result<WorkerId, Fault>> {
    begin_with(context, with).boxed()
}

async fn begin_with(context: Parts<'_>, with: With<'_>) -> Result<WorkerId, Fault> {
    let With { worker, name, slots, backend, sender, config } = with;
    let jetstream = &context.broker.jetstream;
    if !(1..=SLOTS_MAX).contains(&slots) {
        let message = format!("configuration key `worker.slots`: {slots} is not within 1 to {SLOTS_MAX}");
        return Err(Fault::new(Exit::Config, message));
    }
    let stoppers = Stoppers::default();
    let spool = spool(worker)?;
    let of_requests = stoppers.clone();
    let shared = Arc::new(Shared {
        worker: worker_id(worker, &name)?,
        backend: name.clone(),
        simulated: worker.simulated,
        paid: backend.is_paid(),
        provider: Mutex::default(),
        breaker: backend.has_own_server().then(Mutex::default),
        slots,
        started_at_ms: clock::now_ms(),
        broker: context.broker.clone(),
        artifacts: Artifacts::new(jetstream.clone()),
        claims: Claims::new(runtime::topology::open_bucket(jetstream, bucket::ATTEMPTS).await?),
        kept_claims: KeptClaims::new(spool.dir().to_owned()),
        spool,
        room: Arc::default(),
        cancels: Cancels::notifying(move |request| of_requests.cancel(request)),
        stoppers,
        config,
        reports: Address::new(&worker.report_url, &worker.report_secret),
        lifecycle: context.lifecycle.clone(),
        tasks: context.tasks.clone(),
        health: context.health.clone(),
        permits: Arc::new(Semaphore::new(slots as usize)),
        running: watch::Sender::new(0),
        at_work: Mutex::new(HashMap::new()),
        discover_now: Notify::new(),
        figures: Figures::of(&name),
        learned: Mutex::new(HashMap::new()),
    });
    tracing::info!(worker = %shared.worker, backend = %shared.backend, slots, simulated = shared.simulated, "worker");
    let id = shared.worker.clone();
    let ports = NatsPorts::new(&shared, &backend);
    let drained = drained(&shared, context.lifecycle.hard.clone());
    if let Some(address) = shared.reports.clone() {
        let adopter = Arc::new(Adopter { address, ports: ports.clone() });
        match worker.report_listen {
            Some(listen) => {
                let reports = Reports::bind(listen, "worker.report_listen").await?;
                context.tasks.spawn("reports", reports.serve(adopter, drained.clone()));
            }
            None => {
                tracing::warn!(
                    "reports come in beside the pages: set worker.report_listen to an address of their own"
                );
                context.inbox.open(adopter);
            }
        }
    }
    let workers = runtime::topology::open_bucket(jetstream, bucket::WORKERS).await?;
    rescue::mark(&ports).await;
    measure::measure_once(&shared).await;
    let (discovered, discovery) = watch::channel(Discovery::unwell(Health::Down, "not looked at yet"));
    let tasks = &context.tasks;
    let breakers = runtime::topology::open_bucket(jetstream, bucket::BREAKERS).await?;
    let stop = context.lifecycle.soft.clone();
    tasks.spawn("breakers", breakers::follow(Arc::clone(&shared), breakers, stop));
    tasks.spawn(
        "configuration",
        fleet_config::follow(jetstream.clone(), sender, context.lifecycle.soft.clone()),
    );
    tasks.spawn("cancels", shared.cancels.clone().follow(jetstream.clone(), drained.clone()));
    tasks.spawn("discovery", presence::discover(Arc::clone(&shared), backend, discovered));
    tasks.spawn("presence", presence::tell(Arc::clone(&shared), workers, discovery.clone()));
    tasks.spawn("room", measure::measure(shared, drained));
    let of_spool = ports.clone();
    tasks.spawn("spool", async move {
        rescue::run(&of_spool).await;
        Ok::<(), Fault>(())
    });
    tasks.spawn("pull", pull::run(ports, discovery));
    Ok(id)
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
