//! `argosy bench`: what the fleet costs beside the broker that it lives on.

use super::crowd::Crowd;
use super::session::Session;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::show::bench as show;
use crate::text::Text;
use anyhow::Context as _;
use clap::Args;
use client::documents::Documents;
use schemas::Tenant;
use stack::station::{Station, stop_signal};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trials::audience::Audience as _;
use trials::bench::report::Report;
use trials::bench::running::{self, RunningOptions};
use trials::bench::{self, BenchOptions, Part, Scale};

/// Jobs of a measurement of the fleet that runs.
const RUNNING_JOBS: usize = 100;
/// How long the last of them may take.
const RUNNING_PATIENCE: Duration = Duration::from_secs(300);

/// Measure the fleet: what the broker alone can do, routers, the whole life of a job, latencies. Every part
/// starts servers of its own; nothing of it touches a fleet that runs, unless `--running` asks for that. There is
/// no figure where the audit or Little's law does not hold.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy bench                       all parts, several runs each\n  \
    argosy bench router fleet          two parts\n  \
    argosy bench --short               whether everything holds; the figures are worth nothing\n  \
    argosy bench --running --rate 20   the fleet that runs, with 100 jobs of tenant `bench`\n\n\
    Written into out/bench: report.json (ops/docs/bench.md).")]
pub(crate) struct Bench {
    /// Which parts; all when none is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Few jobs, one run: only whether everything holds
    #[arg(long)]
    short: bool,
    /// Runs of each measurement [default: 3]
    #[arg(long)]
    runs: Option<usize>,
    /// Jobs of one throughput run [default: 60000]
    #[arg(long)]
    jobs: Option<usize>,
    /// Jobs that wait where many do [default: 1000000]
    #[arg(long)]
    backlog: Option<usize>,
    /// Attempts that the views are read over [default: 10000000]
    #[arg(long)]
    attempts: Option<i64>,
    /// Seconds that the first sustained run publishes, later ones a third of it [default: 60]
    #[arg(long, value_name = "SECONDS")]
    sustained: Option<u64>,
    /// Measure the fleet that runs, with plain jobs of its own that consent to no cost
    #[arg(long, conflicts_with_all = ["parts", "short", "runs", "backlog", "attempts", "sustained"])]
    running: bool,
    /// Jobs a second, with --running
    #[arg(long, requires = "running", default_value_t = 10)]
    rate: u64,
    /// Whose jobs, with --running
    #[arg(long, requires = "running", default_value = "bench")]
    tenant: Tenant,
    /// A folder with policy.json, catalog.json and prices.json of another release: whose binaries are to be measured
    /// reads these
    #[arg(long, value_name = "DIR", conflicts_with = "running")]
    documents: Option<PathBuf>,
    /// Where the report goes [default: out/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Bench {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let out = self.out.clone().unwrap_or_else(|| session.root.join("out").join("bench"));
        let report = if self.running {
            self.running(session).await?
        } else {
            Box::pin(self.all(session, &out)).await?
        };
        report.write(&out)?;
        if session.json {
            say_json(&report)
        } else {
            let mut text = Text::default();
            text.gap();
            text.append(show::text(&report));
            say(text);
            Ok(())
        }
    }

    async fn running(&self, session: &Session) -> anyhow::Result<Report> {
        let options = RunningOptions {
            jobs: self.jobs.unwrap_or(RUNNING_JOBS).max(1),
            rate: self.rate,
            tenant: self.tenant.clone(),
            patience: RUNNING_PATIENCE,
        };
        let (broker, reader) = (session.broker().await?, session.reader().await?);
        let simulators = session.simulators()?;
        running::measure(&broker, &reader, &simulators, &options).await
    }

    async fn all(&self, session: &Session, out: &Path) -> anyhow::Result<Report> {
        let mut scale = if self.short { Scale::SHORT } else { Scale::FULL };
        scale.attempts = self.attempts.unwrap_or(scale.attempts).max(1);
        scale.runs = self.runs.unwrap_or(scale.runs).max(1);
        scale.jobs = self.jobs.unwrap_or(scale.jobs).max(100);
        scale.backlog = self.backlog.unwrap_or(scale.backlog).max(100);
        scale.sustained = self.sustained.map_or(scale.sustained, Duration::from_secs);
        let executable = std::env::current_exe().context("the path of this executable")?;
        let options = BenchOptions {
            root: session.root.clone(),
            dir: session.root.join(".argosy").join("bench"),
            bin_dir: executable.parent().context("the folder of this executable")?.to_owned(),
            documents: match &self.documents {
                Some(folder) => read_documents(folder)?,
                None => Documents::simulated(),
            },
            parts: if self.parts.is_empty() { Part::ALL.to_vec() } else { self.parts.clone() },
            scale,
        };
        let _station = Station::claim(&session.root)?;
        let mut stop = Box::pin(stop_signal()?);
        let mut crowd = Crowd::new(0, session.json);
        crowd.line("measuring; workers and providers do nothing (null workers)");
        let report = tokio::select! {
            done = bench::run(&options, out, &mut crowd) => done?,
            signal = &mut stop => return Err(DoesNotHold(format!("{signal}: the benchmark was stopped")).into()),
        };
        crowd.close();
        Ok(report)
    }
}

/// The documents of a folder, for simulated providers: who may pay is the bench's.
fn read_documents(folder: &Path) -> anyhow::Result<Documents> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(Documents {
        policy: read("policy.json")?,
        catalog: read("catalog.json")?,
        prices: read("prices.json")?,
        ..Documents::simulated()
    })
}
