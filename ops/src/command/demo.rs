//! `argosy demo`: the main job on a simulated fleet.

use super::crowd::Crowd;
use super::from_env::{check_size, or_env};
use super::session::Session;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::show::demo as show;
use crate::text::Text;
use anyhow::Context as _;
use clap::Args;
use runtime::clock::now_ms;
use stack::station::{Station, stop_signal};
use stack::{Stack, Supervisor, Waiting};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trials::audience::Audience as _;
use trials::demo::run::{Outcome, run};
use trials::demo::{self, DemoOptions};

/// The fleet of a demo is complete within this.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);
/// What its processes get to stop once all is done.
const GRACE: Duration = Duration::from_secs(10);
/// Workers of the demo's fleet.
const WORKERS: usize = 4;

/// Run the main job: 100 jobs through the front door of a whole fleet on simulated providers, with the local
/// GPUs going away in the middle. Ends with tables, pictures, a report and an audit; exit code 0 only if the
/// audit holds and every job ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  argosy demo\n  argosy demo --jobs 20 --fault 0\n  SEED=7 argosy demo\n  \
    argosy demo --stay             the fleet stays until Ctrl-C, to be looked at\n\n\
    Written into out/demo: the pictures, contact-sheet.png and report.json (ops/docs/report.md).\n\n\
    While it runs, in another terminal: argosy backends, argosy watch. A worker started by hand joins:\n  \
    ARGOSY_NATS__URL=$(jq -r .nats_url .argosy/run/fleet.json) ARGOSY_WORKER__SIMULATED=true \\\n  \
    ARGOSY_COMFYUI__URL=$(jq -r .simulators[0].url .argosy/run/fleet.json) target/release/worker-local"
)]
pub(crate) struct Demo {
    /// How many jobs [env: JOBS] [default: 100]
    #[arg(long)]
    jobs: Option<usize>,
    /// Same seed, same jobs [env: SEED] [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// 0 leaves the local ComfyUIs alone [env: FAULT] [default: 1]
    #[arg(long)]
    fault: Option<u8>,
    /// Wall time per provider time [default: 0.05]
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Where pictures and report go [default: out/demo]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the fleet running afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,
}

impl Demo {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let options = self.options()?;
        let out = self.out.clone().unwrap_or_else(|| session.root.join("out").join("demo"));
        let station = Station::claim(&session.root)?;
        let mut stop = Box::pin(stop_signal()?);
        let mut crowd = Crowd::new(options.jobs, session.json);
        let (stack, outcome) = tokio::select! {
            done = whole(session, &station, &options, &out, &mut crowd) => done?,
            // What was started ends as the future that owns it is dropped.
            signal = &mut stop => return Err(DoesNotHold(format!("{signal}: the demo was stopped")).into()),
        };
        if self.stay {
            eprintln!("the fleet stays: Ctrl-C ends it");
            stop.await;
        }
        station.withdraw();
        stack.stop(GRACE).await?;
        let audit = &outcome.report.audit;
        if audit.holds && outcome.tracker.is_done() {
            return Ok(());
        }
        Err(DoesNotHold(format!("the audit does not hold: {} findings", audit.findings.len())).into())
    }

    fn options(&self) -> anyhow::Result<DemoOptions> {
        let usual = DemoOptions::default();
        let options = DemoOptions {
            jobs: or_env(self.jobs, "JOBS", usual.jobs)?,
            seed: or_env(self.seed, "SEED", usual.seed)?,
            fault: or_env(self.fault, "FAULT", u8::from(usual.fault))? != 0,
            time_scale: self.time_scale.unwrap_or(usual.time_scale),
        };
        check_size(options.jobs, options.time_scale)?;
        Ok(options)
    }
}

/// From nothing to the printed report.
async fn whole(
    session: &Session,
    station: &Station,
    options: &DemoOptions,
    out: &Path,
    crowd: &mut Crowd,
) -> anyhow::Result<(Stack, Outcome)> {
    let stack_options = demo::stack_options(options, &session.root, now_ms())?;
    let dir = &stack_options.dir;
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    crowd.line("starting servers, simulators, routers, workers and ledger; every provider is SIMULATED");
    let waiting = Waiting::default();
    let starting = async {
        let stack = Box::pin(Stack::start_telling(stack_options, &waiting)).await?;
        waiting.during("the workers", stack.wait_workers(WORKERS, COMPLETE_WITHIN)).await?;
        anyhow::Ok(stack)
    };
    let mut stack = tokio::select! {
        stack = starting => stack?,
        never = waiting.tell(crowd.teller()) => match never {},
    };
    station.announce(&stack.fleet_file())?;
    crowd.line(&format!("submitting {} jobs (seed {})", options.jobs, options.seed));
    // Apart for as long as the demo runs, so that whoever is killed in the middle comes back.
    let mut members = std::mem::take(&mut stack.members);
    let (mut supervisor, teller) = (Supervisor::default(), crowd.teller());
    let outcome = tokio::select! {
        outcome = run(&stack, options, out, crowd) => outcome?,
        watched = supervisor.watch_members(&stack, &mut members, station, teller) => {
            watched?;
            unreachable!("watching has no other end")
        }
    };
    stack.members = members;
    crowd.close();
    if session.json {
        say_json(&outcome.report)?;
    } else {
        let mut text = Text::default();
        text.gap();
        text.append(show::text(&outcome.report));
        text.gap();
        let files = outcome.report.files;
        text.line(format!("{files} files, contact-sheet.png and report.json in {}", out.display()));
        say(text);
    }
    Ok((stack, outcome))
}
