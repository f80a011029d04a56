//! A process from start to end: arguments, configuration, logs, pages, broker, work, drain, exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, Command};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::clock;
use crate::config::{Common, Source};
use crate::escape;
use crate::exit::{Exit, Fault};
use crate::health::{Health, Pages};
use crate::lifecycle::Lifecycle;
use crate::loops::Loops;
use crate::reports::Inbox;
use crate::tasks::Tasks;
use crate::telemetry;

/// How long tasks may take to let go after the hard stop.
const LET_GO: Duration = Duration::from_secs(5);

/// What a binary is.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// The binary's name.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Its own configuration sections.
    pub sections: &'static [&'static str],
    /// On how many threads it works.
    pub threads: Threads,
}

/// On how many threads a process works. One scales a fleet by processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// What it does is little and many: one thread saves handing it back and forth.
    One,
    /// Some of what it does (hashing a video) takes a while: one for each processor.
    Many,
}

/// What a binary starts its work with.
pub struct Context<C> {
    /// Its own configuration.
    pub config: C,
    /// The common one.
    pub common: Common,
    /// The broker, connected.
    pub broker: Broker,
    /// Soft and hard stop.
    pub lifecycle: Lifecycle,
    /// Owns its tasks.
    pub tasks: Tasks,
    /// Its readiness.
    pub health: Health,
    /// Where providers' reports arrive.
    pub inbox: Inbox,
}

impl Context<()> {
    fn with<C>(self, config: C) -> Context<C> {
        let Self { config: (), common, broker, lifecycle, tasks, health, inbox } = self;
        Context { config, common, broker, lifecycle, tasks, health, inbox }
    }
}

/// Begins a process's work. Boxed, so that all that is the same in every process is compiled once, here.
type Start<'a> = Box<dyn FnOnce(Context<()>) -> LocalBoxFuture<'a, Result<(), Fault>> + 'a>;

/// Runs a process to its end. `start` begins the work as tasks and returns.
pub fn run<C, S>(description: Description, start: S) -> ExitCode
where
    C: DeserializeOwned,
    S: AsyncFnOnce(Context<C>) -> Result<(), Fault>,
{
    let arguments = arguments(description).get_matches();
    let file = arguments.get_one::<PathBuf>("config").cloned();
    let loaded = Source::from_process(file.as_deref()).and_then(|source| source.load(description.sections));
    let (common, config) = match loaded {
        Ok(loaded) => loaded,
        Err(fault) => return end(description.name, &fault),
    };
    if arguments.get_flag("check") {
        eprintln!("{}: the configuration is good", description.name);
        return Exit::Stopped.into();
    }
    let start: Start<'_> = Box::new(|context| async move { start(context.with(config)).await }.boxed_local());
    run_to_its_end(description, common, start)
}

/// Runs a process whose configuration is loaded: all of [`run`] but for arguments, files and environment.
pub fn run_loaded<S>(description: Description, common: Common, start: S) -> ExitCode
where
    S: AsyncFnOnce(Context<()>) -> Result<(), Fault>,
{
    let start: Start<'_> = Box::new(|context| async move { start(context).await }.boxed_local());
    run_to_its_end(description, common, start)
}

fn run_to_its_end(description: Description, common: Common, start: Start<'_>) -> ExitCode {
    let name = description.name;
    let mut builder = match description.threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(name, &Fault::new(Exit::Crashed, error.to_string())),
    };
    match runtime.block_on(live(name, common, start)) {
        Ok(()) => Exit::Stopped.into(),
        Err(fault) => end(name, &fault),
    }
}

fn arguments(description: Description) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("TOML configuration; ARGOSY_<SECTION>__<KEY> in the environment overrides it");
    let check =
        Arg::new("check").long("check").action(ArgAction::SetTrue).help("Check the configuration and exit");
    Command::new(description.name)
        .about(description.about)
        .version(env!("CARGO_PKG_VERSION"))
        .arg(config)
        .arg(check)
}

fn end(name: &str, fault: &Fault) -> ExitCode {
    eprintln!("{name}: {}", escape::lines(&fault.message));
    fault.exit.into()
}

async fn live(name: &'static str, common: Common, start: Start<'_>) -> Result<(), Fault> {
    let metrics = telemetry::start(&common.log, name)?;
    clock::shift(common.clock.shift_ms);
    let pages = Pages::bind(&common.http).await?;
    let lifecycle = Lifecycle::default();
    let tasks = Tasks::new(lifecycle.clone());
    let health = Health::default();
    // Signals are heard from here on; the set ends with this function, which looks at how the listener ended.
    let mut signals = Listening::new();
    signals.spawn(lifecycle.clone().listen());
    let broker = tokio::select! {
        connected = Broker::connect(&common.nats, name) => connected?,
        () = lifecycle.soft.cancelled() => return Ok(()),
        deaf = deaf(&mut signals) => return Err(deaf),
    };
    // The pages outlive the drain, so that a supervisor can watch it.
    let pages_stop = CancellationToken::new();
    let inbox = Inbox::default();
    let serving = pages.serve(health.clone(), metrics, inbox.clone(), pages_stop);
    let grace = Duration::from_millis(common.shutdown.grace_ms);
    let context = Context {
        config: (),
        common,
        broker: broker.clone(),
        lifecycle: lifecycle.clone(),
        tasks: tasks.clone(),
        health: health.clone(),
        inbox,
    };
    watch(broker.loops.clone(), &tasks, lifecycle.soft.clone());
    // Before the first time is written or compared.
    clock::correct(&broker.client).await;
    tasks.spawn("clock", clock::follow(broker.client.clone(), lifecycle.soft.clone()));
    let work = async {
        // A start that waits for something ends as it is dropped: what it has begun as tasks is told to stop below.
        tokio::select! {
            started = start(context) => {
                started?;
                tracing::info!(version = env!("CARGO_PKG_VERSION"), "{name} started");
                lifecycle.soft.cancelled().await;
            }
            () = lifecycle.soft.cancelled() => {}
        }
        health.bad("running", "stopping");
        drain(&tasks, &lifecycle, grace).await
    };
    let ended = tokio::select! {
        ended = work => ended,
        deaf = deaf(&mut signals) => Err(deaf),
        failed = serving => Err(Fault::new(Exit::Crashed, format!("the pages ended: {failed:?}"))),
    };
    lifecycle.hard.cancel();
    let _ = tokio::time::timeout(LET_GO, broker.acknowledger.finish()).await;
    let _ = tokio::time::timeout(LET_GO, broker.client.drain()).await;
    drop(signals);
    ended
}

/// The end of a background loop of the connection before the soft stop ends the process.
fn watch(loops: Loops, tasks: &Tasks, soft: CancellationToken) {
    tasks.spawn("connection", async move {
        tokio::select! {
            name = loops.first_end() => Err(format!("the {name} ended")),
            () = soft.cancelled() => Ok(()),
        }
    });
}

/// The listener for signals.
type Listening = JoinSet<Result<(), std::io::Error>>;

/// Resolves where signals are not heard any more: a process that cannot be asked to stop must not go on. A listener that
/// has heard all that it waits for is none.
async fn deaf(signals: &mut Listening) -> Fault {
    let reason = match signals.join_next().await {
        Some(Ok(Ok(()))) | None => return std::future::pending().await,
        Some(Ok(Err(error))) => error.to_string(),
        Some(Err(error)) => error.to_string(),
    };
    Fault::new(Exit::Crashed, format!("signals are not heard: {reason}"))
}

async fn drain(tasks: &Tasks, lifecycle: &Lifecycle, grace: Duration) -> Result<(), Fault> {
    let done = tokio::select! {
        () = tasks.finished() => true,
        () = tokio::time::sleep(grace) => false,
        () = lifecycle.hard.cancelled() => false,
    };
    if !done {
        lifecycle.hard.cancel();
        if tokio::time::timeout(LET_GO, tasks.finished()).await.is_err() {
            return Err(Fault::new(Exit::DrainIncomplete, "the grace period ran out with work in hand"));
        }
    }
    match tasks.defect() {
        Some(defect) => Err(Fault::new(Exit::Crashed, defect)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_defect_ends_the_process_with_its_code() {
        let lifecycle = Lifecycle::default();
        let tasks = Tasks::new(lifecycle.clone());
        let loops = Loops::default();
        loops.run("reader of publish acknowledgements", std::future::pending());
        watch(loops.clone(), &tasks, lifecycle.soft.clone());
        loops.abort("reader of publish acknowledgements");
        lifecycle.soft.cancelled().await;
        let ended = drain(&tasks, &lifecycle, LET_GO).await.expect_err("a defect");
        assert_eq!((ended.exit, ended.exit as u8), (Exit::Crashed, 70));
        assert!(ended.message.contains("reader of publish"), "{ended}");
    }

    #[tokio::test]
    async fn a_process_that_hears_no_signals_ends_with_its_code() {
        let mut signals = Listening::new();
        signals.spawn(async { Err(std::io::Error::other("no more signals")) });
        let fault = deaf(&mut signals).await;
        assert_eq!((fault.exit as u8, fault.message.contains("no more signals")), (70, true), "{fault}");
        signals.spawn(async { panic!("on purpose") });
        assert_eq!(deaf(&mut signals).await.exit, Exit::Crashed);
        signals.spawn(async { Ok(()) });
        let heard_all = tokio::time::timeout(Duration::from_millis(50), deaf(&mut signals)).await;
        assert!(heard_all.is_err(), "it heard all that it waits for");
    }
}
