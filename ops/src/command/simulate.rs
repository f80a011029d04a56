//! `argosy simulate`: strategies side by side over the same arrivals, beside the bound of hindsight. No broker, no
//! provider, no money.

use super::session::Session;
use crate::exit::Usage;
use crate::say::{say, say_json};
use crate::show::simulate as show;
use anyhow::Context as _;
use clap::Args;
use schemas::Backend;
use simulation::bound;
use simulation::chart;
use simulation::compare::{Comparison, Plan, compare};
use simulation::fleet::FleetSpec;
use simulation::named::Name;
use simulation::setting::Setting;
use simulation::workload::{Generator, Source, parse};
use std::path::{Path, PathBuf};

/// Seeds of a comparison and jobs of a generated workload, at most.
const SEEDS_MAX: u64 = 1_000;
const JOBS_MAX: usize = 2_000_000;

/// What routing costs, and how late it is: the shipped decisions over simulated arrivals and providers, beside
/// yardsticks and beside the least possible cost with everything known before. Nothing runs and nothing is spent
/// (docs/economics.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy simulate                                        all strategies under bursts\n  \
    argosy simulate --workload mixed --seeds 10            means and 95 % confidence\n  \
    argosy simulate --workload jobs.jsonl --fleet my.json  a workload and a fleet of one's own\n  \
    argosy simulate --strategy balanced --strategy local-then-cloud --chart cost.svg")]
pub(crate) struct Simulate {
    /// steady, bursts, mixed, outage, checkpoints, flood, or a file with one job on each line
    #[arg(long, default_value = "bursts", value_name = "NAME|FILE")]
    workload: String,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first_seed: u64,
    /// Jobs of a generated workload; its own number when absent
    #[arg(long)]
    jobs: Option<usize>,
    /// Which strategies, several times; all when absent. Differences are to the first
    #[arg(long, value_name = "NAME")]
    strategy: Vec<String>,
    /// A fleet (JSON); the demo's when absent
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// How many routers
    #[arg(long)]
    routers: Option<usize>,
    /// Without the bound of hindsight, which takes longest
    #[arg(long)]
    no_bound: bool,
    /// A chart of cost against lateness (SVG)
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Every job, attempt and provider worker of the first strategy and seed (JSON)
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
}

impl Simulate {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let plan = self.plan()?;
        let comparison = compare(&plan, |seed, name| {
            if !session.json {
                eprintln!("seed {seed}: {}", name.as_str());
            }
        });
        let comparison = comparison.map_err(|error| Usage(format!("{}: {error}", self.workload)))?;
        self.write_files(&plan, &comparison)?;
        if session.json { say_json(&comparison) } else { print(&comparison) }
    }

    fn write_files(&self, plan: &Plan, comparison: &Comparison) -> anyhow::Result<()> {
        if let Some(path) = &self.chart {
            write(path, chart::svg(comparison).as_bytes())?;
        }
        if let Some(path) = &self.rows {
            let rows = plan.rows(self.first_seed, plan.strategies[0])?;
            write(path, &serde_json::to_vec(&rows)?)?;
        }
        Ok(())
    }

    /// Reads what the command line says.
    fn plan(&self) -> anyhow::Result<Plan> {
        if self.seeds == 0 || self.seeds > SEEDS_MAX {
            return Err(usage(format!("--seeds {}: give 1 to {SEEDS_MAX}", self.seeds)));
        }
        let source = self.source()?;
        let strategies: Result<Vec<Name>, _> = self.strategy.iter().map(|name| name.parse()).collect();
        let mut strategies = strategies.map_err(|error| usage(format!("--strategy {error}")))?;
        if strategies.is_empty() {
            strategies = Name::ALL.to_vec();
        }
        let fleet = self.fleet.as_deref().map(read_fleet).transpose()?;
        if let Some(routers) = self.routers {
            check(&FleetSpec { routers, ..FleetSpec::demo() })
                .map_err(|error| usage(format!("--{error}")))?;
        }
        let jobs = match &source {
            Source::Generated(..) => self.jobs.unwrap_or_default(),
            Source::Given { jobs, .. } => jobs.len(),
        };
        let with_bound = !self.no_bound;
        if with_bound && jobs > bound::JOBS_MAX {
            let words =
                format!("the bound is for up to {} jobs, here are {jobs}: add --no-bound", bound::JOBS_MAX);
            return Err(usage(words));
        }
        let last = self
            .first_seed
            .checked_add(self.seeds)
            .ok_or_else(|| usage("--first-seed is too large".into()))?;
        let seeds = (self.first_seed..last).collect();
        Ok(Plan { source, fleet, routers: self.routers, strategies, seeds, with_bound })
    }

    fn source(&self) -> anyhow::Result<Source> {
        match self.workload.parse::<Generator>() {
            Ok(generator) => {
                if self.jobs.is_some_and(|jobs| jobs == 0 || jobs > JOBS_MAX) {
                    return Err(usage(format!("--jobs: give 1 to {JOBS_MAX}")));
                }
                Ok(Source::Generated(generator, self.jobs))
            }
            Err(unknown) => {
                let path = Path::new(&self.workload);
                if !path.exists() {
                    return Err(usage(format!("--workload {unknown}")));
                }
                if self.jobs.is_some() {
                    return Err(usage("--jobs is for generated workloads: a file has its own".into()));
                }
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
                let jobs = parse(&text).map_err(|error| usage(format!("{}: {error}", path.display())))?;
                Ok(Source::Given { name: self.workload.clone(), jobs })
            }
        }
    }
}

fn usage(words: String) -> anyhow::Error {
    Usage(words).into()
}

fn read_fleet(path: &Path) -> anyhow::Result<FleetSpec> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let fleet: FleetSpec =
        serde_json::from_str(&text).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    check(&fleet).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    Ok(fleet)
}

fn check(fleet: &FleetSpec) -> Result<(), simulation::fleet::BadFleet> {
    let setting = Setting::default();
    let backends: Vec<&Backend> = setting.backends().collect();
    fleet.check(&backends)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

#[expect(clippy::unnecessary_wraps, reason = "as its sibling for programs")]
fn print(comparison: &Comparison) -> anyhow::Result<()> {
    say(show::text(comparison));
    Ok(())
}
