//! Runs attempts on one ComfyUI server. More servers, more processes.

use std::process::ExitCode;
use std::sync::Arc;

use runtime::exit::{Exit, Fault};
use runtime::process::{self, Context, Description, Threads};
use serde::{Deserialize, Deserializer};
use worker_host::host::{self, WorkerConfig};
use worker_local::{ComfyBackend, ComfyConfig};

/// A ComfyUI works on one job at a time.
const SLOTS: u32 = 1;

/// The sections of the configuration that are this process's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sections {
    worker: WorkerConfig,
    #[serde(deserialize_with = "checked")]
    comfyui: ComfyConfig,
}

/// Refuses a wrong section before anything connects.
fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ComfyConfig, D::Error> {
    let config = ComfyConfig::deserialize(deserializer)?;
    config.check().map_err(serde::de::Error::custom)?;
    Ok(config)
}

runtime::allocator!();

fn main() -> ExitCode {
    let description = Description {
        name: "worker-local",
        about: "Runs Argosy's jobs on a ComfyUI server",
        sections: &["worker", "comfyui"],
        threads: Threads::Many,
    };
    process::run(description, async |context: Context<Sections>| {
        let comfyui = context.config.comfyui.clone();
        let backend = comfyui.backend.clone();
        host::start(&context, &context.config.worker, backend, SLOTS, |fleet| {
            let catalog = move || Arc::clone(&fleet.borrow().catalog);
            ComfyBackend::new(comfyui, catalog).map_err(|error| Fault::new(Exit::Config, error))
        })
        .await
        .map(drop)
    })
}
