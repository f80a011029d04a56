//! What the worker's tasks share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use policy::breaker::Breaker;
use policy::breakers::Breakers;
use protocol::worker::machine;
use runtime::metrics;
use schemas::{
    Assignment, Class, Failure, FailureCode, JobId, RUNNING_MAX, RunningAttempt, ServerBreaker, WorkerId,
};
use serde::Deserialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::address::Address;
use crate::kept_claims::KeptClaims;
use crate::room::{self, Room};
use crate::spool::Spool;
use crate::stoppers::Stoppers;
use runtime::artifacts::Artifacts;
use runtime::broker::Broker;
use runtime::cancels::Cancels;
use runtime::claims::Claims;
use runtime::clock;
use runtime::config::Secret;
use runtime::fleet_config::FleetConfig;
use runtime::health::Health as Readiness;
use runtime::lifecycle::Lifecycle;
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
    /// Where the provider reaches this worker's reports, or those of any other worker of the backend, e.g.
    /// `https://fleet.example`. With it and a secret, providers that can report each attempt; work whose
    /// start was not confirmed is then found again instead of being given up as unknown.
    pub report_url: String,
    /// Where this worker listens for reports, and for nothing else; `report_url` leads here. Beside the pages, on
    /// `http.listen`, when absent: then whoever reaches the one reaches the other.
    pub report_listen: Option<SocketAddr>,
    /// Shared by all workers of the backend; reports without it are not taken.
    pub report_secret: Secret,
    /// Where results that came in a provider's answer lie until they are stored. It must outlive the process;
    /// `spool` in the state folder of the user when absent.
    pub spool_dir: Option<PathBuf>,
    /// How many bytes may lie there; 1 GiB when absent. What does not fit is kept in memory only.
    pub spool_bytes: Option<u64>,
}

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
    pub(crate) kept_claims: KeptClaims,
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
    /// How much runs.
    pub(crate) running: watch::Sender<u32>,
    /// The attempts that run, by their jobs, and since when.
    pub(crate) at_work: Mutex<HashMap<JobId, (u32, Class, Instant)>>,
    pub(crate) discover_now: Notify,
    pub(crate) figures: Figures,
    pub(crate) learned: Mutex<HashMap<Class, u64>>,
    /// Its own server's breaker; none where many workers call one provider.
    pub(crate) breaker: Option<Mutex<Breaker>>,
    /// What keeps its provider out, as routers wrote it.
    pub(crate) provider: Mutex<Breakers>,
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

    /// What an attempt says of the worker's own server.
    pub(crate) fn note_for_server(&self, job: JobId, failure: Option<&Failure>) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = clock::now_ms();
        match failure {
            None => breaker.on_success(),
            Some(failure) => breaker.on_failure(job, failure, &self.config.borrow().policy, now_ms),
        }
        if breaker.is_open(now_ms) {
            self.discover_now.notify_one();
        }
    }

    /// What is remembered of the worker's own server.
    pub(crate) fn server_breaker(&self) -> Option<ServerBreaker> {
        Some(self.breaker.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).told())
    }

    /// Whether its provider is out for a class, so that what waits there would only fail.
    pub(crate) fn is_out(&self, class: &Class) -> bool {
        let config = self.config.borrow();
        let model = config.catalog.service(&self.backend, class).map(|service| service.model.as_str());
        self.provider.lock().unwrap_or_else(PoisonError::into_inner).open(model, clock::now_ms()).is_some()
    }

    /// Work here costs money.
    pub(crate) fn is_paid(&self) -> bool {
        room::is_paid(&self.backend, &self.config.borrow().prices)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.permits.available_permits() >= self.slots as usize
    }

    /// An attempt runs from now on.
    pub(crate) fn runs(&self, assignment: &Assignment) {
        let running = (assignment.attempt, assignment.class.clone(), Instant::now());
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).insert(assignment.job.id, running);
    }

    /// The attempt of a job runs no more.
    pub(crate) fn ran(&self, job: JobId) {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    /// What runs, the longest first.
    pub(crate) fn running_attempts(&self) -> Vec<RunningAttempt> {
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running: Vec<RunningAttempt> = at_work
            .iter()
            .map(|(job, (attempt, class, since))| RunningAttempt {
                job: *job,
                attempt: *attempt,
                class: class.clone(),
                running_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
            .collect();
        drop(at_work);
        running.sort_by_key(|attempt| std::cmp::Reverse(attempt.running_ms));
        running.truncate(RUNNING_MAX);
        running
    }

    /// One more piece of work, until what is returned is dropped.
    pub(crate) fn occupy(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> Occupied {
        self.running.send_modify(|running| *running += 1);
        Occupied { shared: Arc::clone(self), _permit: permit }
    }
}

/// What is told of each attempt as a metric, looked up once: by its name and labels each costs as much as a message.
pub(crate) struct Figures {
    pub(crate) attempts_running: metrics::GaugeSeries,
    run_seconds_completed: metrics::HistogramSeries,
    backend: String,
}

impl Figures {
    pub(crate) fn of(backend: &schemas::Backend) -> Self {
        let backend = backend.to_string();
        Self {
            attempts_running: metrics::ATTEMPTS_RUNNING.of([]),
            run_seconds_completed: run_seconds(&backend, "completed"),
            backend,
        }
    }

    /// How long attempts ran that ended so.
    pub(crate) fn run_seconds(&self, failure: Option<FailureCode>) -> metrics::HistogramSeries {
        match failure {
            None => self.run_seconds_completed.clone(),
            Some(code) => run_seconds(&self.backend, code.as_str()),
        }
    }
}

fn run_seconds(backend: &str, outcome: &'static str) -> metrics::HistogramSeries {
    metrics::ATTEMPT_RUN.of([backend.to_owned().into(), outcome.into()])
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
