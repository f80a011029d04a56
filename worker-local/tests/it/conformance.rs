//! The suite that every backend passes, against the simulated ComfyUI in each of its versions.

use std::sync::Arc;

use async_trait::async_trait;
use schemas::{Assignment, Catalog, FailureCode};
use simulators::Fault;
use simulators::comfyui::{Config, Mode, Server};
use worker_host::Backend;
use worker_host::conformance::{Fixture, exercise};
use worker_local::{ComfyBackend, ComfyConfig};

use crate::jobs::{assignment, catalog, config, prompt};

struct Local {
    server: Server,
    config: ComfyConfig,
}

impl Local {
    async fn start(mode: Mode) -> Self {
        let server = Server::start(simulator(mode)).await.expect("a simulator");
        let config = config(&server.url());
        Self { server, config }
    }
}

/// Fast, and slow enough to be seen working.
pub(crate) fn simulator(mode: Mode) -> Config {
    Config { mode, time_scale: 0.1, ..Config::default() }
}

#[async_trait]
impl Fixture for Local {
    async fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(ComfyBackend::new(self.config.clone(), catalog).expect("a good configuration"))
    }

    fn catalog(&self) -> Arc<Catalog> {
        catalog()
    }

    fn assignment(&self) -> Assignment {
        assignment(prompt())
    }

    async fn fault(&self, name: Option<&str>) {
        let faults = name.map(|name| Fault::times(name, 1)).into_iter().collect();
        self.server.admin().set_faults(faults).expect("a known fault");
    }

    async fn work_started(&self) -> u64 {
        self.server.admin().stats().posts
    }

    async fn is_working(&self) -> bool {
        self.server.admin().stats().running_now > 0
    }

    fn failures(&self) -> Vec<(&'static str, FailureCode)> {
        vec![
            ("oom", FailureCode::OutOfMemory),
            ("restart", FailureCode::BackendDown),
            ("node_errors_on_200", FailureCode::Transient),
        ]
    }

    fn is_paid(&self) -> bool {
        false
    }

    fn can_resume(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn passes_with_a_new_server() {
    exercise(&Local::start(Mode::New).await).await;
}

#[tokio::test]
async fn passes_with_the_recorded_server() {
    exercise(&Local::start(Mode::Recorded).await).await;
}

#[tokio::test]
async fn passes_with_an_old_server() {
    exercise(&Local::start(Mode::Old).await).await;
}
