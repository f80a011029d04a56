//! A worker whose backend does nothing, for benchmarks: what is left is what the fleet itself costs.

use async_trait::async_trait;
use bytes::Bytes;
use runtime::exit::{Exit, Fault};
use runtime::process::{self, Context, Description, Threads};
use schemas::{Artifact, Class, Failure, FailureCode, Outcome};
use serde::Deserialize;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::OnceCell;
use trials::bench::started::Started;
use worker_host::host::{self, WorkerConfig};
use worker_host::{Attempt, Backend, Discovery};

/// Attempts at once where nothing else is said.
const SLOTS: u32 = 512;

/// The sections of the configuration that are this process's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    #[serde(default)]
    worker: WorkerConfig,
    null: NullConfig,
}

/// Section `[null]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NullConfig {
    /// Whose work it does nothing about.
    backend: schemas::Backend,
    /// How long doing nothing takes, milliseconds.
    #[serde(default)]
    run_ms: u64,
    /// Tells the start of each attempt, outside of any stream.
    #[serde(default)]
    tell: bool,
    /// Makes only this class; all of the backend's when absent.
    class: Option<Class>,
    /// Workers in this process, each with its own name, offer and pulls; the connection is one.
    #[serde(default = "one")]
    workers: u32,
}

const fn one() -> u32 {
    1
}

/// The most workers of one process.
const WORKERS_MAX: u32 = 1_000;

/// What it makes: one file for all.
const MADE: &[u8] = b"nothing";

struct Null {
    made: OnceCell<Artifact>,
    classes: Vec<Class>,
    run: Duration,
    tell: Option<Started>,
}

#[async_trait]
impl Backend for Null {
    fn is_paid(&self) -> bool {
        false
    }

    async fn discover(&self) -> Discovery {
        Discovery::healthy(self.classes.clone())
    }

    async fn run(&self, attempt: &Attempt) -> Outcome {
        if let Some(tell) = &self.tell {
            tell.tell(attempt.assignment.job.id).await;
        }
        if !self.run.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(self.run) => {}
                stop = attempt.stopped() => {
                    let failure = Failure::new(stop.code(), "stopped while it did nothing");
                    return Outcome { failure: Some(failure), ..Outcome::default() };
                }
            }
        }
        if attempt.assignment.is_paid() {
            let failure = Failure::new(FailureCode::Transient, "this worker makes nothing that costs money");
            return Outcome { failure: Some(failure), ..Outcome::default() };
        }
        let made =
            self.made.get_or_try_init(|| attempt.save(0, "text/plain", Bytes::from_static(MADE))).await;
        match made {
            Ok(made) => Outcome { artifacts: vec![made.clone()], ..Outcome::default() },
            Err(failure) => Outcome { failure: Some(failure), ..Outcome::default() },
        }
    }
}

runtime::allocator!();

fn main() -> ExitCode {
    let description = Description {
        name: "worker-null",
        about: "Does nothing about Argosy's jobs, for benchmarks",
        sections: &["worker", "null"],
        threads: Threads::One,
    };
    process::run(description, async |context: Context<Sections>| {
        let Sections { worker, null } = context.config.clone();
        if !(1..=WORKERS_MAX).contains(&null.workers) {
            let message = format!(
                "configuration key `null.workers`: {} is not within 1 to {WORKERS_MAX}",
                null.workers
            );
            return Err(Fault::new(Exit::Config, message));
        }
        for nth in 1..=null.workers {
            let mut worker = worker.clone();
            if null.workers > 1 {
                worker.name = worker.name.map(|name| format!("{name}-{nth}"));
            }
            host::start(&context, &worker, null.backend.clone(), SLOTS, |fleet| {
                let made = fleet.borrow().catalog.clone();
                let made = made.services_of(&null.backend).map(|service| service.class.clone());
                let classes =
                    made.filter(|class| null.class.as_ref().is_none_or(|only| only == class)).collect();
                let tell = null.tell.then(|| Started::new(context.broker.client.clone()));
                Ok(Null { made: OnceCell::new(), classes, run: Duration::from_millis(null.run_ms), tell })
            })
            .await?;
        }
        Ok(())
    })
}
