//! `argosy drill`: kill everything at random, then audit.

use super::crowd::Crowd;
use super::from_env::{check_size, or_env};
use super::session::Session;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::show::drill as show;
use crate::text::Text;
use anyhow::Context as _;
use clap::Args;
use stack::Stack;
use stack::station::{Station, stop_signal};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trials::audience::Audience as _;
use trials::drill::report::Report;
use trials::drill::run::{judge, run};
use trials::drill::{self, DrillOptions};

/// The fleet of a drill is complete within this.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// Run many jobs through a whole simulated fleet while every process is killed and stopped at random, broker
/// and database included; then wait for rest and audit: every accepted job ended once, nothing paid twice,
/// ledger equal to invoices, every announced file there, nothing left running. Exit code 0 only if all holds.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy drill\n  argosy drill --jobs 300 --seed 7\n  \
    argosy drill --nodes 3              a cluster, whose nodes are killed and parted\n  \
    argosy drill --upgrade-from DIR     from an earlier release's binaries to these (make drill-upgrade)\n  \
    argosy drill --audit out/drill      the verdict again, from the history, without any server\n\n\
    Written into out/drill: history.jsonl and report.json (ops/docs/drill.md).")]
pub(crate) struct Drill {
    /// How many jobs [env: JOBS] [default: 20000]
    #[arg(long)]
    jobs: Option<usize>,
    /// Same seed, same jobs and the same plan of blows [env: SEED] [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Nodes of the broker: 1, or 3, which are killed and parted [default: 1]
    #[arg(long, value_parser = ["1", "3"])]
    nodes: Option<String>,
    /// Wall time per provider time [default: 0.01]
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Strike nothing: begin with the binaries of an earlier release, which lie in this folder, and replace them by
    /// these, one by one, in the order of CHANGELOG.md [default then: 3000 jobs, time scale 0.05, out/drill-upgrade]
    #[arg(long, value_name = "DIR")]
    upgrade_from: Option<PathBuf>,
    /// Where history and report go [default: out/drill]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only give the verdict on the history in this folder again
    #[arg(long, value_name = "DIR",
        conflicts_with_all = ["jobs", "seed", "nodes", "time_scale", "upgrade_from", "out"])]
    audit: Option<PathBuf>,
}

impl Drill {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let report = match &self.audit {
            Some(dir) => judge(dir)?,
            None => Box::pin(self.strike(session)).await?,
        };
        if session.json {
            say_json(&report)?;
        } else {
            let mut text = Text::default();
            text.gap();
            text.append(show::text(&report));
            say(text);
        }
        if report.audit.holds {
            return Ok(());
        }
        Err(DoesNotHold(format!("the drill found {} breaks", report.audit.findings.len())).into())
    }

    async fn strike(&self, session: &Session) -> anyhow::Result<Report> {
        let options = self.options()?;
        let folder = if self.upgrade_from.is_some() { "drill-upgrade" } else { "drill" };
        let out = self.out.clone().unwrap_or_else(|| session.root.join("out").join(folder));
        let station = Station::claim(&session.root)?;
        let mut stop = Box::pin(stop_signal()?);
        let mut crowd = Crowd::new(options.jobs, session.json);
        let report = tokio::select! {
            done = Box::pin(whole(session, &station, &options, &out, &mut crowd)) => done?,
            // What was started ends as the future that owns it is dropped.
            signal = &mut stop => return Err(DoesNotHold(format!("{signal}: the drill was stopped")).into()),
        };
        crowd.close();
        Ok(report)
    }

    fn options(&self) -> anyhow::Result<DrillOptions> {
        let usual = match &self.upgrade_from {
            Some(dir) => DrillOptions::upgrade(std::path::absolute(dir)?),
            None => DrillOptions::default(),
        };
        let options = DrillOptions {
            jobs: or_env(self.jobs, "JOBS", usual.jobs)?,
            seed: or_env(self.seed, "SEED", usual.seed)?,
            nodes: if self.nodes.as_deref() == Some("3") { 3 } else { usual.nodes },
            time_scale: self.time_scale.unwrap_or(usual.time_scale),
            upgrade_from: usual.upgrade_from,
        };
        check_size(options.jobs, options.time_scale)?;
        Ok(options)
    }
}

/// From nothing to the report.
async fn whole(
    session: &Session,
    station: &Station,
    options: &DrillOptions,
    out: &Path,
    crowd: &mut Crowd,
) -> anyhow::Result<Report> {
    let dir = session.root.join(".argosy").join("drill");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    let stack_options = drill::stack_options(options, &session.root, &dir)?;
    let workers = stack_options.workers();
    crowd.line("starting servers, simulators, routers, workers and ledger; every provider is SIMULATED");
    if let Some(from) = &options.upgrade_from {
        crowd.line(&format!("ledger, routers and workers are those of {}, for now", from.display()));
    }
    let stack = Stack::start(stack_options).await?;
    stack.wait_workers(workers, COMPLETE_WITHIN).await?;
    station.announce(&stack.fleet_file())?;
    let under = if options.upgrade_from.is_some() { "during an upgrade" } else { "under blows" };
    crowd.line(&format!("{} jobs {under} (seed {})", options.jobs, options.seed));
    let report = run(stack, options, out, crowd).await?;
    station.withdraw();
    Ok(report)
}
