//! A simulated endpoint, a backend that talks to it, and attempts to give it.

use std::sync::Arc;
use std::time::Duration;

use runtime::config::Secret;
use runtime::fleet_config::FleetConfig;
use schemas::{Assignment, Body, JobId, Kind, Outcome, Usage, samples};
use simulators::runpod::{Config, Server};
use simulators::{Admin, Fault};
use tokio::sync::watch;
use worker_cloud::{RunPodBackend, RunPodConfig};
use worker_host::conformance::MemoryIo;
use worker_host::{Attempt, Backend as _, Stopper};

/// Longest wait for a condition; far above what anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) config: RunPodConfig,
}

/// A simulator a hundred times faster than life.
pub(crate) fn simulated() -> Config {
    Config { time_scale: 0.01, cold_start_ms: 2_000, ..Config::default() }
}

impl World {
    pub(crate) async fn start(config: Config) -> Self {
        runtime::tls::install();
        let key = config.api_key.clone();
        let endpoint = config.endpoint_id.clone();
        let server = Server::start(config).await.expect("a free loopback port");
        let config = RunPodConfig {
            base_url: format!("{}/v2", server.url()),
            endpoint,
            api_key: Secret::new(key),
            poll_min_ms: 5,
            poll_max_ms: 20,
            request_timeout_ms: 10_000,
            starved_after_ms: 0,
            ..RunPodConfig::default()
        };
        Self { server, config }
    }

    pub(crate) fn admin(&self) -> Admin {
        self.server.admin()
    }

    pub(crate) fn arm(&self, faults: Vec<Fault>) {
        self.admin().set_faults(faults).expect("known faults");
    }

    pub(crate) fn backend(&self) -> RunPodBackend {
        RunPodBackend::new(self.config.clone(), fleet()).expect("a good configuration")
    }

    /// What the price list makes of usages, in micro-dollars.
    pub(crate) fn cost(&self, usages: &[Vec<Usage>]) -> i64 {
        let prices = policy::defaults::prices();
        let assignment = assignment();
        let cost = |usage: &Vec<Usage>| {
            let backend = &assignment.backend;
            policy::cost::price_of(usage, backend, &assignment.model, &prices, assignment.time_ms)
        };
        usages.iter().map(|usage| cost(usage).expect("priced").0).sum()
    }

    pub(crate) fn invoice(&self) -> i64 {
        i64::try_from(self.admin().invoice().total_micro_usd).expect("small")
    }
}

/// The shipped configuration of the fleet.
pub(crate) fn fleet() -> watch::Receiver<FleetConfig> {
    watch::channel(FleetConfig {
        policy: Arc::new(policy::defaults::policy()),
        catalog: Arc::new(policy::defaults::catalog()),
        prices: Arc::new(policy::defaults::prices()),
        tenants: Arc::new(policy::defaults::tenants()),
        unreadable: Vec::new(),
    })
    .1
}

/// A paid first attempt of a fresh job: one small picture.
pub(crate) fn assignment() -> Assignment {
    let mut assignment = samples::assignment();
    assignment.attempt = 1;
    assignment.counted_attempts = 0;
    assignment.history.clear();
    assignment.backend = "cloud".parse().expect("a name");
    assignment.class = "image-small".parse().expect("a name");
    let catalog = policy::defaults::catalog();
    let service = catalog.service(&assignment.backend, &assignment.class).expect("shipped");
    assignment.model.clone_from(&service.model);
    assignment.timeout_ms = service.timeout_ms;
    assignment.reserved_micro_usd = schemas::MicroUsd(1_000_000);
    assignment.job.id = JobId::new();
    assignment.job.body = Body {
        kind: Kind::Image,
        prompt: Some("a lighthouse at dusk".to_owned()),
        model: Some("sd15".to_owned()),
        width: Some(128),
        height: Some(64),
        ..Body::default()
    };
    assignment
}

/// An attempt, with what it does to the outside and the means to stop it.
pub(crate) fn attempt(assignment: &Assignment, resume: Option<String>) -> (Attempt, Arc<MemoryIo>, Stopper) {
    let io = Arc::new(MemoryIo::default());
    let catalog = Arc::new(policy::defaults::catalog());
    let service = catalog.service(&assignment.backend, &assignment.class).expect("shipped").clone();
    let stopper = Stopper::default();
    let outside: Arc<MemoryIo> = Arc::clone(&io);
    let attempt = Attempt::new(assignment.clone(), catalog, service, resume, outside, stopper.clone());
    (attempt, io, stopper)
}

/// Runs an attempt undisturbed.
pub(crate) async fn run(backend: &RunPodBackend, assignment: &Assignment, resume: Option<String>) -> Outcome {
    let (attempt, _io, _stopper) = attempt(assignment, resume);
    tokio::time::timeout(LIMIT, backend.run(&attempt)).await.expect("an end in time")
}
