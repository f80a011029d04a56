//! The benchmark: what the fleet costs beside the broker that it lives on. Every figure is a ratio, or has the
//! broker's own beside it from the same run, because machines differ. Servers are real, files are files.

mod backlog;
mod books;
mod commits;
pub mod cpu;
mod decide;
mod fair;
mod fleet;
mod ground;
mod latency;
mod limit;
mod little;
mod load;
mod open_loop;
pub mod report;
mod router;
pub mod running;
pub mod spread;
pub mod started;
mod starts;
mod submit;
pub mod targets;
mod workers;

use crate::audience::Audience;
use anyhow::bail;
use clap::ValueEnum;
use report::{Report, Row};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    /// Which parts.
    pub parts: Vec<Part>,
    /// How much.
    pub scale: Scale,
}

/// Runs the parts one after the other and writes the report into `out`.
///
/// # Errors
/// A server or process does not start, something is lost, or a result breaks Little's law: then there is no
/// figure.
pub async fn run(options: &BenchOptions, out: &Path, audience: &mut impl Audience) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    let parts: BTreeSet<Part> = options.parts.iter().copied().collect();
    for part in parts {
        audience.line(&format!("{} (at {} s)", part.describe(), started.elapsed().as_secs()));
        let mut measured = match part {
            Part::Limit => limit::rows(options, audience).await?,
            Part::Router => router::rows(options, audience).await?,
            Part::Fleet => fleet::rows(options, audience).await?,
            Part::Latency => latency::rows(options, audience).await?,
            Part::Backlog => backlog::rows(options, audience).await?,
            Part::Workers => workers::rows(options, audience).await?,
            Part::Fair => fair::rows(options, audience).await?,
            Part::Submit => submit::rows(options, audience).await?,
            Part::Decide => decide::rows(options, audience)?,
            Part::Ledger => books::rows(options, audience).await?,
            Part::Cost => fleet::cost_rows(options, audience).await?,
        };
        rows.append(&mut measured);
    }
    if rows.is_empty() {
        bail!("nothing was measured");
    }
    let report = Report::new(rows, started.elapsed());
    report.write(out)?;
    Ok(report)
}

impl Part {
    const fn describe(self) -> &'static str {
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
