//! What a test or an operator may do to a simulator, beside the provider's own protocol: faults, invoice, stats.
//!
//! The same handle is used in process (`Server::admin`) and over HTTP (`/_admin/…`); nothing here is part of any
//! provider's interface, and no worker may call it.

mod faults;
mod invoice;
mod routes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

pub use faults::Fault;
pub use invoice::{Invoice, Line};
pub(crate) use routes::router;

use crate::Error;
use crate::host::Gate;
use crate::journal::{self, Journal};
use faults::Faults;
use invoice::Ledger;

/// Counters since the process started; cumulative unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Which simulator: `comfyui`, `runpod` or `gemini`.
    pub simulator: String,
    /// Requests of any kind, the admin routes excluded.
    pub requests: u64,
    /// Accepted submissions (work that was started or queued).
    pub posts: u64,
    /// How many jobs entered each state of the provider.
    pub jobs: BTreeMap<String, u64>,
    /// How often the download host saw the API key (it must never).
    pub key_leaks: u64,
    /// Requests refused for a missing or wrong key.
    pub auth_failures: u64,
    /// Jobs running right now.
    pub running_now: u64,
    /// Most jobs that ever ran at the same time.
    pub running_max: u64,
    /// How often each fault fired.
    pub faults_fired: BTreeMap<String, u64>,
    /// Runs begun on a simulated GPU, those before a restart on the same state directory included.
    pub runs_ever: u64,
}

/// Time for an answer to reach a client on the same machine.
const OFFLINE_GRACE: Duration = Duration::from_millis(25);

type Wipe = Box<dyn Fn() + Send + Sync>;

struct Shared {
    simulator: &'static str,
    faults: Faults,
    ledger: Ledger,
    runs: Journal,
    stats: Mutex<Stats>,
    gate: Arc<Gate>,
    on_restart: OnceLock<Wipe>,
    /// Holds the at most one pending [`Admin::offline_soon`].
    tasks: Mutex<JoinSet<()>>,
}

/// Handle on a running simulator; cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Shared>);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Admin").field(&self.0.simulator).finish()
    }
}

impl Admin {
    pub(crate) fn new(
        simulator: &'static str,
        known: &'static [&'static str],
        seed: u64,
        state_dir: &Path,
        gate: Arc<Gate>,
    ) -> Result<Self, Error> {
        let runs = state_dir.join("runs.jsonl");
        let runs_ever = journal::read::<String>(&runs)?.len() as u64;
        Ok(Self(Arc::new(Shared {
            simulator,
            faults: Faults::new(known, seed),
            ledger: Ledger::open(&state_dir.join("invoice.jsonl"))?,
            runs: Journal::open(&runs)?,
            stats: Mutex::new(Stats { simulator: simulator.to_owned(), runs_ever, ..Stats::default() }),
            gate,
            on_restart: OnceLock::new(),
            tasks: Mutex::default(),
        })))
    }

    /// What the provider would bill, to the micro-dollar.
    pub fn invoice(&self) -> Invoice {
        self.0.ledger.invoice(self.0.simulator)
    }

    /// The faults that are armed now.
    pub fn faults(&self) -> Vec<Fault> {
        self.0.faults.list()
    }

    /// Replaces the armed faults.
    ///
    /// # Errors
    /// [`Error::UnknownFault`] for a name this simulator does not have; nothing is changed then.
    pub fn set_faults(&self, faults: Vec<Fault>) -> Result<(), Error> {
        self.0.faults.replace(faults)
    }

    /// The fault names this simulator understands.
    pub fn known_faults(&self) -> &'static [&'static str] {
        self.0.faults.known()
    }

    /// Cuts every connection and turns new ones away for `for_ms` of wall time; a simulated ComfyUI also forgets
    /// its queue and history, as a restart does.
    pub fn offline(&self, for_ms: u64) {
        tracing::info!(simulator = self.0.simulator, for_ms, "simulator: going offline");
        self.0.gate.go_offline(for_ms);
        self.forget();
    }

    /// [`Admin::offline`] after a moment, so that the answer to the one who asked can leave first.
    pub(crate) fn offline_soon(&self, for_ms: u64) {
        let admin = self.clone();
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            tokio::time::sleep(OFFLINE_GRACE).await;
            admin.offline(for_ms);
        });
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats_mut().clone()
    }

    pub(crate) fn simulator(&self) -> &'static str {
        self.0.simulator
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// Runs what the simulator loses at a restart.
    pub(crate) fn forget(&self) {
        if let Some(wipe) = self.0.on_restart.get() {
            wipe();
        }
    }

    pub(crate) fn on_restart(&self, wipe: Wipe) {
        // Set once, at start; a second call would be a bug of this crate and changes nothing.
        self.0.on_restart.set(wipe).ok();
    }

    /// Fires the fault if it is armed; counts it.
    pub(crate) fn take(&self, name: &str) -> Option<Fault> {
        let fault = self.0.faults.take(name, |_| true)?;
        self.fired(name);
        Some(fault)
    }

    /// Fires the fault only if `matches` agrees (for example, names this node).
    pub(crate) fn take_if(&self, name: &str, matches: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let fault = self.0.faults.take(name, matches)?;
        self.fired(name);
        Some(fault)
    }

    /// Whether a fault that lasts is armed. Counts as no occasion of it.
    pub(crate) fn is_armed(&self, name: &str) -> bool {
        self.0.faults.list().iter().any(|fault| fault.name == name)
    }

    fn fired(&self, name: &str) {
        tracing::info!(simulator = self.0.simulator, fault = name, "simulator: fault fired");
        *self.stats_mut().faults_fired.entry(name.to_owned()).or_default() += 1;
    }

    /// Writes a line to the invoice unless this provider id already has one (a job is billed once, restarts included).
    ///
    /// False if the simulator stopped meanwhile; the caller must then not show the work as done.
    pub(crate) fn bill_once(&self, line: Line) -> bool {
        self.0.ledger.bill_once(line).unwrap_or_else(|error| {
            // An invoice that cannot be written would make the audit lie; stop being a provider.
            tracing::error!(%error, "simulator: the invoice cannot be written");
            self.0.gate.go_offline(u64::MAX / 2);
            false
        })
    }

    /// Cuts all connections and ends billing: what still runs in the background of a dropped server counts for
    /// nothing, and its successor on the same state directory does it again.
    pub(crate) fn close(&self) {
        self.0.ledger.close();
        self.0.gate.cut_all();
    }

    pub(crate) fn count_request(&self) {
        self.stats_mut().requests += 1;
    }

    /// Counts a piece of work; its number is part of its id, so no two may ever be given the same.
    pub(crate) fn count_post(&self) -> u64 {
        let mut stats = self.stats_mut();
        stats.posts += 1;
        stats.posts
    }

    pub(crate) fn count_auth_failure(&self) {
        self.stats_mut().auth_failures += 1;
    }

    pub(crate) fn count_key_leak(&self) {
        self.stats_mut().key_leaks += 1;
    }

    pub(crate) fn count_state(&self, state: &str) {
        *self.stats_mut().jobs.entry(state.to_owned()).or_default() += 1;
    }

    /// Writes down that a GPU begins a run: what was begun and lost was run all the same.
    pub(crate) fn begin_run(&self, id: &str) {
        self.0.runs.append(&id);
        self.stats_mut().runs_ever += 1;
    }

    /// Counts a job as running until the guard is dropped.
    pub(crate) fn running(&self) -> RunningGuard {
        let mut stats = self.stats_mut();
        stats.running_now += 1;
        stats.running_max = stats.running_max.max(stats.running_now);
        RunningGuard(self.clone())
    }

    fn stats_mut(&self) -> MutexGuard<'_, Stats> {
        self.0.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Admin::running`].
#[derive(Debug)]
pub(crate) struct RunningGuard(Admin);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        let mut stats = self.0.stats_mut();
        stats.running_now = stats.running_now.saturating_sub(1);
    }
}
