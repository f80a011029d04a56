//! Runs Argosy's jobs on the Gemini API.

use std::process::ExitCode;

use runtime::exit::{Exit, Fault};
use runtime::process::{self, Context, Description, Threads};
use serde::Deserialize;
use worker_gemini::{ConfigError, GeminiBackend, GeminiConfig};
use worker_host::host::{self, WorkerConfig};

/// An attempt here is a request in flight: a slot costs a connection and an answer in memory.
const SLOTS: u32 = 8;

/// The sections of the configuration that are this process's own, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    worker: WorkerConfig,
    gemini: GeminiConfig,
}

/// The same, checked: what is wrong or missing is told before anything connects.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
struct Sections(Written);

impl TryFrom<Written> for Sections {
    type Error = ConfigError;

    fn try_from(written: Written) -> Result<Self, ConfigError> {
        written.gemini.check()?;
        Ok(Self(written))
    }
}

runtime::allocator!();

fn main() -> ExitCode {
    let description = Description {
        name: "worker-gemini",
        about: "Runs Argosy's jobs on the Gemini API",
        sections: &["worker", "gemini"],
        threads: Threads::Many,
    };
    process::run(description, async |context: Context<Sections>| {
        let Sections(Written { worker, gemini }) = context.config.clone();
        let backend = gemini.backend.clone();
        host::start(&context, &worker, backend, SLOTS, |fleet| {
            GeminiBackend::new(gemini, fleet).map_err(|error| Fault::new(Exit::Config, error.to_string()))
        })
        .await
        .map(drop)
    })
}
