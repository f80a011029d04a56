//! `argosy up`: the fleet, and it stays.

mod listen;

use super::own_servers;
use super::session::Session;
use crate::exit::Usage;
use crate::monitor;
use crate::say::{say, say_json};
use crate::storage;
use crate::table::{Align, Table};
use crate::text::Text;
use anyhow::Context as _;
use clap::Args;
use client::documents::Documents;
use listen::Listen;
use schemas::topology::Topology;
use stack::fleet_file::{FleetFile, FleetProcess};
use stack::station::{Station, stop_signal};
use stack::{Provider, RunPodAccount, Stack, StackOptions, Supervisor, Waiting};
use std::path::Path;
use std::time::Duration;

/// How long workers may finish what they run, milliseconds.
const GRACE_MS: u64 = 25_000;
/// What comes on top of it before a process is killed.
const GRACE_SLACK: Duration = Duration::from_secs(5);
/// The whole fleet is up within this.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// Run the fleet and stay: servers, routers, ledger, and a worker for each backend that is configured.
/// What dies is started again; Ctrl-C drains and ends everything. Data and ports stay in `.argosy/up`. The broker
/// listens on 127.0.0.1:4222 and everything else on the ports behind it; one that is taken is passed over, and said.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy up --simulate\n  \
    COMFYUI_URLS=http://127.0.0.1:8188,http://127.0.0.1:8189 argosy up\n  \
    RUNPOD_API_KEY=... RUNPOD_ENDPOINT=abc123 GEMINI_API_KEY=... argosy up\n  \
    argosy up --simulate --first-port 5000 --port database=5432\n  \
    argosy up --simulate --listen 192.168.1.10     workers of other machines may join\n\n\
    More workers may join from any machine:\n  \
    ARGOSY_NATS__URL=<the broker's address below> ARGOSY_COMFYUI__URL=http://gpu-2:8188 worker-local")]
pub(crate) struct Up {
    /// Put simulators in the place of backends that are not configured
    #[arg(long)]
    simulate: bool,
    /// ComfyUI servers; one worker each
    #[arg(long, env = "COMFYUI_URLS", value_delimiter = ',', value_name = "URL,URL")]
    comfyui_urls: Vec<String>,
    /// RunPod key
    #[arg(long, env = "RUNPOD_API_KEY", hide_env_values = true, hide = true)]
    runpod_api_key: Option<String>,
    /// RunPod serverless endpoint
    #[arg(long, env = "RUNPOD_ENDPOINT", value_name = "ID")]
    runpod_endpoint: Option<String>,
    /// Gemini key
    #[arg(long, env = "GEMINI_API_KEY", hide_env_values = true, hide = true)]
    gemini_api_key: Option<String>,
    /// Simulators: wall time per provider time; 1 is as slow as life
    #[arg(long, default_value_t = 0.2, value_name = "FACTOR")]
    time_scale: f64,
    /// Room for everything at the broker, bytes, in fixed shares; a new fleet takes half of what is free on its disk
    #[arg(long, env = "ARGOSY_STORAGE__BYTES", value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
    storage_bytes: Option<i64>,
    /// How many routers
    #[arg(long, default_value_t = 2)]
    routers: usize,
    #[command(flatten)]
    listen: Listen,
}

impl Up {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut options = self.options(session)?;
        let station = Station::claim(&session.root)?;
        let mut stop = Box::pin(stop_signal()?);
        self.listen.choose(&mut options)?;
        own_servers::check(session, &options)?;
        let dir = options.dir.clone();
        eprintln!("starting the fleet below {}", dir.display());
        let workers = options.comfyui.len()
            + usize::from(options.runpod.is_some())
            + usize::from(options.gemini.is_some());
        // Beside the data until they have their size: a start may be ended before.
        let unsized_mark = dir.join("unsized");
        if !dir.join("nats").exists() {
            std::fs::write(&unsized_mark, []).with_context(|| format!("cannot write {}", dir.display()))?;
        }
        let waiting = Waiting::default();
        let started = async {
            let stack = Box::pin(Stack::start_telling(options, &waiting)).await?;
            if unsized_mark.exists() || self.storage_bytes.is_some() {
                waiting.during("the broker's sizes", Box::pin(size(&stack, self.storage_bytes))).await?;
                // Where it stays, the same is done once more.
                let _ = std::fs::remove_file(&unsized_mark);
            }
            let all = waiting.during("the workers", stack.wait_workers(workers, COMPLETE_WITHIN));
            if let Err(error) = all.await {
                // A real backend may be away at present: the fleet runs without it, and says so.
                eprintln!("argosy: {error:#}");
            }
            anyhow::Ok(stack)
        };
        let mut stack = tokio::select! {
            stack = started => stack?,
            // What was started ends as the future that owns it is dropped.
            signal = &mut stop => {
                eprintln!("{signal}: stopped before everything ran; {}", kept(&dir));
                return Ok(());
            }
            never = waiting.tell(|line| eprintln!("{line}")) => match never {},
        };
        station.announce(&stack.fleet_file())?;
        tell(session, &stack.fleet_file(), stack.postgres.note())?;
        let mut supervisor = Supervisor::default();
        let watched = tokio::select! {
            watched = supervisor.watch(&mut stack, &station, |line| eprintln!("{line}")) => watched,
            signal = &mut stop => { eprintln!("{signal}: draining; once more to end at once"); Ok(()) }
        };
        station.withdraw();
        tokio::select! {
            stopped = stack.stop(Duration::from_millis(GRACE_MS) + GRACE_SLACK) => stopped?,
            again = &mut stop_signal_boxed()? => eprintln!("{again}: ending at once"),
        }
        eprintln!("the fleet has ended; {}", kept(&dir));
        watched
    }

    fn options(&self, session: &Session) -> anyhow::Result<StackOptions> {
        let simulated = StackOptions::simulated(&session.root, &session.root.join(".argosy").join("up"))?;
        let mut comfyui: Vec<_> =
            self.comfyui_urls.iter().filter(|url| !url.is_empty()).cloned().map(Provider::Real).collect();
        let runpod = match (&self.runpod_api_key, &self.runpod_endpoint) {
            (Some(api_key), Some(endpoint)) if !api_key.is_empty() && !endpoint.is_empty() => {
                let account = RunPodAccount { endpoint: endpoint.clone(), api_key: api_key.clone() };
                Some(Provider::Real(account))
            }
            _ => self.simulate.then_some(Provider::Simulated),
        };
        let gemini = match &self.gemini_api_key {
            Some(key) if !key.is_empty() => Some(Provider::Real(key.clone())),
            _ => self.simulate.then_some(Provider::Simulated),
        };
        if comfyui.is_empty() && self.simulate {
            comfyui.clone_from(&simulated.comfyui);
        }
        if comfyui.is_empty() && runpod.is_none() && gemini.is_none() {
            let cure =
                "set COMFYUI_URLS, RUNPOD_API_KEY with RUNPOD_ENDPOINT, or GEMINI_API_KEY; or --simulate";
            return Err(Usage(format!("no backend is configured: {cure}")).into());
        }
        // A real account is spent only after its owner's word: what is shipped says never.
        let is_real = matches!(runpod, Some(Provider::Real(_))) || matches!(gemini, Some(Provider::Real(_)));
        let documents = if is_real { Documents::default() } else { Documents::simulated() };
        Ok(StackOptions {
            documents,
            comfyui,
            runpod,
            gemini,
            routers: self.routers.max(1),
            time_scale: self.time_scale,
            ephemeral: false,
            grace_ms: GRACE_MS,
            ..simulated
        })
    }
}

/// Gives a new fleet `storage.bytes`, or half of the disk: of what is free on it, and of what its broker may set aside.
async fn size(stack: &Stack, storage_bytes: Option<i64>) -> anyhow::Result<()> {
    let jetstream = &stack.broker.jetstream;
    let bytes = match storage_bytes {
        Some(bytes) => Some(bytes),
        None => {
            let nodes = monitor::varz(&[stack.nats.monitor_url()]).await.unwrap_or_default();
            let of_disk = stack.free_disk_bytes().map(|free| free / 2);
            let of_broker = storage::half_of_free(jetstream, &nodes).await;
            [of_disk, of_broker].into_iter().flatten().min()
        }
    };
    let Some(bytes) = bytes else { return Ok(()) };
    let topology = Topology::new(runtime::topology::replicas(jetstream).await?).with_storage_bytes(bytes);
    runtime::topology::apply(jetstream, &topology).await?;
    Ok(())
}

/// What a fleet that ended leaves.
fn kept(dir: &Path) -> String {
    format!(
        "jobs, files, books, logs and ports are kept in {}, and the next `argosy up` here goes on with them",
        dir.display()
    )
}

fn stop_signal_boxed() -> anyhow::Result<std::pin::Pin<Box<dyn Future<Output = &'static str>>>> {
    Ok(Box::pin(stop_signal()?))
}

fn tell(session: &Session, fleet: &FleetFile, note: Option<&str>) -> anyhow::Result<()> {
    let fleet = fleet.without_passwords();
    if session.json {
        return say_json(&fleet);
    }
    let mut text = Text::from(processes_table(&fleet.processes));
    if let Some(note) = note {
        text.gap();
        text.line(note);
    }
    text.gap();
    text.line(format!("broker    {}", fleet.nats_url));
    text.line(format!("database  {}", fleet.database_url));
    text.gap();
    text.line("In another terminal, in this folder:");
    text.line("  argosy submit \"a lighthouse in a storm\" --wait");
    text.line("  argosy backends");
    text.line("  psql \"$(jq -r .database_url .argosy/run/fleet.json)\"");
    text.gap();
    text.line("Ctrl-C drains and ends everything.");
    say(text);
    Ok(())
}

/// What runs; simulators, and what talks to them, are marked.
fn processes_table(processes: &[FleetProcess]) -> Table {
    let columns = [
        ("process", Align::Left),
        ("pid", Align::Right),
        ("provider", Align::Left),
        ("address", Align::Left),
        ("log", Align::Left),
    ];
    let rows: Vec<Vec<String>> = processes
        .iter()
        .map(|process| {
            let provider = match (process.simulated, process.name.starts_with("worker")) {
                (true, _) => "SIMULATED",
                (false, true) => "real",
                (false, false) => "",
            };
            vec![
                process.name.clone(),
                process.pid.to_string(),
                provider.to_owned(),
                process.address.clone().unwrap_or_default(),
                process.log.display().to_string(),
            ]
        })
        .collect();
    Table::new(&columns, rows)
}
