//! What is measured, how much of it, and where.

use clap::ValueEnum;
use client::documents::Documents;
use std::path::PathBuf;
use std::time::Duration;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// What the broker can do, without us
    Limit,
    /// Jobs through routers alone
    Router,
    /// Jobs through everything, to the committed row
    Fleet,
    /// From publish to start and to the row, at given rates
    Latency,
    /// Many jobs waiting, against few
    Backlog,
    /// Few and many workers joined
    Workers,
    /// Few jobs beside many, and urgent ones behind many
    Fair,
    /// What one client can publish
    Submit,
    /// What one decision costs
    Decide,
    /// The ledger's database: events, and the views over many attempts
    Ledger,
    /// The processor time of a job by process, alone: for comparisons of binaries
    Cost,
}

impl Part {
    /// Those that run when none is named, in this order.
    pub const ALL: [Self; 10] = [
        Self::Limit,
        Self::Router,
        Self::Fleet,
        Self::Latency,
        Self::Backlog,
        Self::Workers,
        Self::Fair,
        Self::Submit,
        Self::Decide,
        Self::Ledger,
    ];
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Runs of each measurement.
    pub runs: usize,
    /// Jobs of one throughput run.
    pub jobs: usize,
    /// Jobs that wait where many do.
    pub backlog: usize,
    /// Attempts that the views are read over.
    pub attempts: i64,
    /// The most workers that join.
    pub workers: usize,
    /// Jobs inside a fleet at most while it is kept busy.
    pub inside_max: u64,
    /// How long the sustained run publishes.
    pub sustained: Duration,
    /// How long one open-loop run publishes.
    pub open_loop: Duration,
    /// How long something is waited for that may take for ever.
    pub patience: Duration,
}

impl Scale {
    /// Whose figures are worth something.
    pub const FULL: Self = Self {
        runs: 3,
        jobs: 60_000,
        backlog: 1_000_000,
        attempts: 10_000_000,
        workers: 256,
        // Enough to keep everybody busy: a second or so of work.
        inside_max: 10_000,
        sustained: Duration::from_secs(60),
        open_loop: Duration::from_secs(4),
        patience: Duration::from_secs(15),
    };
    /// Only to see that everything holds.
    pub const SHORT: Self = Self {
        runs: 1,
        jobs: 2_000,
        backlog: 5_000,
        attempts: 5_000,
        workers: 2,
        inside_max: 1_000,
        sustained: Duration::from_secs(2),
        open_loop: Duration::from_secs(2),
        patience: Duration::from_secs(4),
    };
}

/// What is measured, and where.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The folder whose `.argosy/servers.json` names the servers.
    pub root: PathBuf,
    /// Data, logs and port files.
    pub dir: PathBuf,
    /// Where our binaries lie.
    pub bin_dir: PathBuf,
    /// The configuration documents; the bound on the backends' queues is the bench's.
    pub documents: Documents,
    /// Which parts.
    pub parts: Vec<Part>,
    /// How much.
    pub scale: Scale,
}

impl Part {
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Limit => "limit: the broker without us",
            Self::Router => "router: jobs through routers alone",
            Self::Fleet => "fleet: the whole life, to the committed row",
            Self::Latency => "latency: open loop",
            Self::Backlog => "backlog: many jobs waiting",
            Self::Workers => "workers: few and many joined",
            Self::Fair => "fair: few beside many, urgent behind many",
            Self::Submit => "submit: one client",
            Self::Decide => "decide: one plan",
            Self::Ledger => "ledger: events into the database, and the views over many attempts",
            Self::Cost => "cost: processor time of a job by process",
        }
    }
}
