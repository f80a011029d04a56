//! The command line. A file per command; each prints a table for people and, with `--json`, JSON for
//! programs, and ends with a code of [`crate::exit`].

mod audit;
mod backends;
mod bench;
mod breakers;
mod cancel;
mod completions;
mod config;
mod costs;
mod crowd;
mod demo;
mod doctor;
pub mod draft;
mod drill;
mod estimate;
pub mod explain;
mod from_env;
mod get;
mod global;
pub mod job_options;
mod jobs;
mod keyed;
mod live;
mod man;
mod moments;
mod own_servers;
mod parked;
pub mod series;
mod session;
mod simulate;
mod status;
mod submit;
mod tenant_note;
mod tenants;
mod topology;
mod unknown;
mod up;
mod watch;
mod whose;
mod window;

pub use backends::tables as backends_tables;
pub use jobs::jobs_table;
pub use parked::list_table as parked_table;
pub use status::text as status_text;

use crate::exit;
use crate::say;
use clap::{CommandFactory as _, Parser, Subcommand};
use global::Global;
use runtime::escape;
use std::process::ExitCode;

/// Threads of the command: it mostly waits.
const WORKER_THREADS: usize = 2;

/// Image and video generation wherever it is cheapest and fast enough.
#[derive(Debug, Parser)]
#[command(
    name = "argosy",
    version,
    after_help = "Examples:\n  \
    argosy demo                          100 jobs on a simulated fleet, with an audit\n  \
    argosy up --simulate                 the fleet, and it stays\n  \
    argosy submit \"a lighthouse\" --wait  one picture, downloaded to the current folder\n  \
    argosy backends                      who works, and what waits\n\n\
    In the folder of a running `up` or `demo` every command finds it by itself; elsewhere use --nats and \
    --database.\n\nExit codes: 0 done, 1 it failed or does not hold, 2 usage, 69 no broker, 71 a port is \
    in use, 72 no database, 73 streams missing, 78 configuration."
)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    global: Global,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the fleet and stay: the backends that are configured, or simulated
    Up(up::Up),
    /// Run the main job on a simulated fleet and audit it
    Demo(demo::Demo),
    /// Kill everything at random while 20,000 jobs run, then audit
    Drill(drill::Drill),
    /// Measure the fleet beside the broker that it lives on
    Bench(bench::Bench),
    /// What routing costs over simulated arrivals, beside yardsticks and the bound of hindsight
    Simulate(Box<simulate::Simulate>),
    /// Publish a job: a prompt, a ComfyUI workflow, or many
    Submit(Box<submit::Submit>),
    /// Follow jobs live until they end
    Watch(watch::Watch),
    /// Download what finished jobs made
    Get(get::Get),
    /// List jobs from the ledger
    Jobs(jobs::Jobs),
    /// Where a job is, and what happened to it
    Status(status::Status),
    /// Why a job went where it went: every candidate, term by term
    Explain(explain::Explain),
    /// Cancel jobs
    Cancel(cancel::Cancel),
    /// The fleet: workers, slots, health, backlog
    Backends(backends::Backends),
    /// What keeps providers out: list, and close by hand
    Breakers(breakers::Breakers),
    /// What a job would cost and where it would run, without running it
    Estimate(Box<estimate::Estimate>),
    /// What was spent, and what was saved
    Costs(costs::Costs),
    /// What failed for good or could not be read: list, show, publish again
    #[command(visible_alias = "dead")]
    Parked(parked::ParkedCommand),
    /// Is the fleet well, and is what it accepts safe?
    Doctor(doctor::Doctor),
    /// Streams, consumers and buckets of the broker
    Topology(topology::TopologyCommand),
    /// The fleet's configuration documents
    Config(config::Config),
    /// Who may use paid backends, and for how much
    Tenants(tenants::Tenants),
    /// Check the promises: nothing lost, nothing paid twice, ledger equal to invoices
    Audit(audit::Audit),
    /// What a shell needs to complete this command's words
    Completions(completions::Completions),
    /// The man pages
    Man(man::ManPage),
}

/// The whole command line with its help, for tests and documents.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    let json = cli.global.json;
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from);
    match built.and_then(|runtime| runtime.block_on(run(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit::code_of(&error);
            say::error(json, &format!("{error:#}"), code);
            ExitCode::from(code)
        }
    }
}

/// Help and version are asked for; all else is a command line that makes no sense, and says so as the caller reads.
fn unparsed(error: &clap::Error) -> ExitCode {
    let words = error.render().to_string();
    let json = std::env::args_os().any(|word| word == "--json");
    if error.use_stderr() && (json || escape::lines(&words) != words.trim_end()) {
        let words = words.trim();
        say::error(json, words.strip_prefix("error: ").unwrap_or(words), exit::USAGE);
    } else {
        // Nothing to escape, in the colours of the help.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    runtime::tls::install();
    let session = match &cli.command {
        Command::Completions(command) => return command.run(definition()),
        Command::Man(command) => return command.run(definition()),
        _ => session::Session::new(&cli.global)?,
    };
    match cli.command {
        Command::Up(command) => Box::pin(command.run(&session)).await,
        Command::Demo(command) => command.run(&session).await,
        Command::Drill(command) => Box::pin(command.run(&session)).await,
        Command::Bench(command) => Box::pin(command.run(&session)).await,
        Command::Simulate(command) => command.run(&session),
        Command::Submit(command) => command.run(&session).await,
        Command::Watch(command) => command.run(&session).await,
        Command::Get(command) => command.run(&session).await,
        Command::Jobs(command) => command.run(&session).await,
        Command::Status(command) => command.run(&session).await,
        Command::Explain(command) => command.run(&session).await,
        Command::Cancel(command) => command.run(&session).await,
        Command::Backends(command) => command.run(&session).await,
        Command::Breakers(command) => command.run(&session).await,
        Command::Estimate(command) => command.run(&session).await,
        Command::Costs(command) => command.run(&session).await,
        Command::Parked(command) => command.run(&session).await,
        Command::Doctor(command) => Box::pin(command.run(&session)).await,
        Command::Topology(command) => command.run(&session).await,
        Command::Config(command) => command.run(&session).await,
        Command::Tenants(command) => command.run(&session).await,
        Command::Audit(command) => command.run(&session).await,
        // They have ended above, without a fleet.
        Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}
