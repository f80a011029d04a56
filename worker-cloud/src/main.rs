//! Runs Argosy's jobs on a RunPod serverless endpoint.

use std::process::ExitCode;

use runtime::exit::{Exit, Fault};
use runtime::process::{self, Context, Description, Threads};
use serde::Deserialize;
use worker_cloud::bill::Billing;
use worker_cloud::{ConfigError, RunPodBackend, RunPodConfig};
use worker_host::host::{self, WorkerConfig};

/// An attempt here is a job that runs elsewhere: a slot costs a few polls.
const SLOTS: u32 = 32;

/// The sections of the configuration that are this process's own, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    worker: WorkerConfig,
    runpod: RunPodConfig,
}

/// The same, checked: what is wrong or missing is told before anything connects.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
struct Sections(Written);

impl TryFrom<Written> for Sections {
    type Error = ConfigError;

    fn try_from(written: Written) -> Result<Self, ConfigError> {
        written.runpod.check()?;
        Ok(Self(written))
    }
}

runtime::allocator!();

fn main() -> ExitCode {
    let description = Description {
        name: "worker-cloud",
        about: "Runs Argosy's jobs on a RunPod serverless endpoint",
        sections: &["worker", "runpod"],
        threads: Threads::Many,
    };
    process::run(description, async |context: Context<Sections>| {
        let Sections(Written { worker, runpod }) = context.config.clone();
        let refused = |error: ConfigError| Fault::new(Exit::Config, error.to_string());
        let (backend, of_bill) = (runpod.backend.clone(), runpod.clone());
        let mut parts = None;
        let id = host::start(&context, &worker, backend, SLOTS, |fleet| {
            let backend = RunPodBackend::new(runpod, fleet.clone()).map_err(refused)?;
            parts = Some((backend.worker_time(), fleet));
            Ok(backend)
        })
        .await?;
        if let Some((time, fleet)) = parts {
            let billing = Billing::new(of_bill, time, fleet, id, worker.simulated).map_err(refused)?;
            let (jetstream, stop) = (context.broker.jetstream.clone(), context.lifecycle.soft.clone());
            context.tasks.spawn("bill", billing.run(jetstream, stop));
        }
        Ok(())
    })
}
