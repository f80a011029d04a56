//! What happened in a drill, line by line as JSON: `history.jsonl`. Everything the verdict needs is in it.

use super::plan::Blow;
use anyhow::Context as _;
use policy::invariants::{AuditAttempt, AuditJob, AuditOverhead, BilledDay, InvoiceLine};
use schemas::{Backend, Event, JobId, JobState, MicroUsd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The file's name, beside the report.
pub const FILE_NAME: &str = "history.jsonl";

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Decides.
    Router,
    /// Runs jobs on a ComfyUI.
    WorkerLocal,
    /// Runs jobs on RunPod.
    WorkerCloud,
    /// Runs jobs on Gemini.
    WorkerGemini,
    /// Keeps the books.
    Ledger,
    /// A node of the broker.
    NatsServer,
    /// A node's links to the other nodes: killed they are cut, stopped they pass nothing on.
    Links,
    /// The database.
    Postgres,
    /// A simulated provider.
    Simulator,
    /// The artifact store, a bucket or a stream of the broker, which fills and is made larger.
    Storage,
}

impl Component {
    /// What people call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::WorkerLocal => "worker-local",
            Self::WorkerCloud => "worker-cloud",
            Self::WorkerGemini => "worker-gemini",
            Self::Ledger => "ledger",
            Self::NatsServer => "nats-server",
            Self::Links => "links",
            Self::Postgres => "postgres",
            Self::Simulator => "simulator",
            Self::Storage => "storage",
        }
    }
}

/// A blow that was struck, or the end that a process made by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// When, Unix milliseconds. Of what was filled, when its limit was lowered.
    pub at_ms: i64,
    /// The process, or what was filled.
    pub name: String,
    /// What it is.
    pub component: Component,
    /// What was done; none when the process ended by itself.
    pub blow: Option<Blow>,
    /// How it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When it was started, set going or made larger again, Unix milliseconds.
    pub back_at_ms: Option<i64>,
    /// When its next useful step was seen, Unix milliseconds; none when it was struck again before, or when
    /// there was nothing left for it to do.
    pub useful_at_ms: Option<i64>,
}

/// How a process of an earlier release was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// SIGTERM: it ended what it had, or handed it back.
    Drained,
    /// SIGKILL.
    Killed,
}

impl Removal {
    /// What people call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Killed => "killed",
        }
    }
}

/// A process of an earlier release that gave way to one of this state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// When the old one was killed or asked to stop, Unix milliseconds.
    pub at_ms: i64,
    /// The process.
    pub name: String,
    /// What it is.
    pub component: Component,
    /// How the old one was removed.
    pub removal: Removal,
    /// The old one's exit code; none where a signal ended it.
    pub exit_code: Option<i32>,
    /// The old executable.
    pub from: PathBuf,
    /// The new one.
    pub to: PathBuf,
    /// Paid attempts that ran at that moment, by their backend.
    pub paid_in_flight: BTreeMap<String, u64>,
    /// When the new one was ready, Unix milliseconds.
    pub ready_at_ms: i64,
    /// When its first useful step was seen, Unix milliseconds.
    pub useful_at_ms: i64,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first one.
    Begin {
        /// The form of this file.
        version: u32,
        /// What the jobs and the plan were drawn from.
        seed: u64,
        /// Jobs to be published.
        jobs: u64,
        /// Nodes of the broker.
        nodes: u64,
        /// Unix milliseconds.
        at_ms: i64,
        /// What tenants may spend in a day.
        daily_micro_usd: BTreeMap<String, MicroUsd>,
        /// The processes of an earlier release that are to be replaced, in their order; none in a kill drill.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        to_replace: Vec<String>,
    },
    /// The broker acknowledged a job.
    Accepted {
        /// Which.
        job: JobId,
        /// When, Unix milliseconds.
        at_ms: i64,
        /// Publishes it took, those inside one patience of the client counted as one.
        tries: u64,
        /// Its deadline, Unix milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_ms: Option<i64>,
    },
    /// A client asked for a job to be cancelled; a second line when a router answered.
    Cancel {
        /// Which.
        job: JobId,
        /// When it was asked or answered, Unix milliseconds.
        at_ms: i64,
        /// The state in which the router found the job; none in the line of the question.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<JobState>,
    },
    /// Somebody was struck.
    Hit(Hit),
    /// A process of an earlier release was replaced.
    Replaced(Replacement),
    /// The broker stored an event.
    Event {
        /// When, Unix milliseconds.
        stored_at_ms: i64,
        /// The event.
        event: Box<Event>,
    },
    /// The blows ended, or all is replaced.
    Calm {
        /// Unix milliseconds.
        at_ms: i64,
    },
    /// Everything had ended, or nothing ended any more.
    Rest {
        /// Unix milliseconds.
        at_ms: i64,
        /// What streams and ledger still held; nothing when they had come to rest.
        unrest: Vec<String>,
        /// Jobs that had not ended.
        open: u64,
    },
    /// An announced file was fetched, or could not be.
    Fetched {
        /// Of which job.
        job: JobId,
        /// Its key in the artifact store.
        key: String,
        /// What was wrong; nothing when its bytes have the hash that was announced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A job in the ledger.
    BookedJob(AuditJob),
    /// An attempt in the ledger.
    BookedAttempt(AuditAttempt),
    /// A charge without a job.
    BookedOverhead(AuditOverhead),
    /// What a simulator's billing call says.
    Bill {
        /// Whose.
        backend: Backend,
        /// By endpoint and day.
        days: Vec<BilledDay>,
    },
    /// A simulator's bill.
    Invoice {
        /// Whose.
        backend: Backend,
        /// Its lines.
        lines: Vec<InvoiceLine>,
    },
    /// Runs that a simulated GPU began.
    GpuRuns {
        /// Which simulator.
        simulator: String,
        /// How many, over all its lives.
        runs: u64,
    },
    /// A process of the drill that was there after its end.
    Left {
        /// Its id.
        pid: u32,
        /// Its command line.
        command: String,
    },
    /// The last one: the fleet was stopped.
    End {
        /// Unix milliseconds.
        at_ms: i64,
    },
}

/// Writes a history.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Writer {
    /// A new history in a folder; an earlier one is gone.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE_NAME);
        let made = std::fs::create_dir_all(dir).and_then(|()| File::create(&path));
        let file = made.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: BufWriter::new(file), path })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, line: &Line) -> anyhow::Result<()> {
        let context = || format!("cannot write {}", self.path.display());
        serde_json::to_writer(&mut self.file, line).with_context(context)?;
        self.file.write_all(b"\n").with_context(context)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Reads the history in a folder, a line at a time.
///
/// # Errors
/// There is none, or a line is not one of a history.
pub fn read(dir: &Path, mut take: impl FnMut(Line)) -> anyhow::Result<()> {
    let path = dir.join(FILE_NAME);
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for (number, text) in BufReader::new(file).lines().enumerate() {
        let context = || format!("{}, line {}", path.display(), number + 1);
        take(serde_json::from_str(&text.with_context(context)?).with_context(context)?);
    }
    Ok(())
}
