//! A simulated API, a backend that talks to it, and attempts to give it.

use std::sync::Arc;
use std::time::Duration;

use runtime::config::Secret;
use runtime::fleet_config::FleetConfig;
use schemas::{Assignment, Body, Catalog, JobId, Kind, Outcome, Usage, samples};
use simulators::gemini::{Config, Server};
use simulators::{Admin, Fault};
use tokio::sync::watch;
use worker_gemini::{GeminiBackend, GeminiConfig};
use worker_host::conformance::MemoryIo;
use worker_host::{Attempt, Backend as _, Stopper};

/// Longest wait for a condition; far above what anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) config: GeminiConfig,
}

impl World {
    /// A simulator a hundred times faster than life.
    pub(crate) async fn start() -> Self {
        runtime::tls::install();
        let config = Config { time_scale: 0.01, image_median_ms: 20_000, ..Config::default() };
        let key = config.api_key.clone();
        let server = Server::start(config).await.expect("a free loopback port");
        let config = GeminiConfig {
            base_url: server.url(),
            api_key: Secret::new(key),
            poll_ms: 10,
            request_timeout_ms: 10_000,
            generate_timeout_ms: 20_000,
            models_fresh_ms: 0,
            // The simulated files come from a host of their own.
            allowed_result_hosts: vec!["127.0.0.1".to_owned()],
            ..GeminiConfig::default()
        };
        Self { server, config }
    }

    pub(crate) fn admin(&self) -> Admin {
        self.server.admin()
    }

    pub(crate) fn arm(&self, faults: Vec<Fault>) {
        self.admin().set_faults(faults).expect("known faults");
    }

    pub(crate) fn backend(&self) -> GeminiBackend {
        GeminiBackend::new(self.config.clone(), fleet(policy::defaults::catalog()))
            .expect("a good configuration")
    }

    pub(crate) fn invoice(&self) -> i64 {
        i64::try_from(self.admin().invoice().total_micro_usd).expect("small")
    }
}

/// What the price list makes of an attempt's usage, in micro-dollars.
pub(crate) fn cost(assignment: &Assignment, usage: &[Usage]) -> i64 {
    let prices = policy::defaults::prices();
    let backend = &assignment.backend;
    let cost = policy::cost::price_of(usage, backend, &assignment.model, &prices, assignment.time_ms);
    cost.expect("priced").0
}

/// The shipped configuration of the fleet, with a catalog.
pub(crate) fn fleet(catalog: Catalog) -> watch::Receiver<FleetConfig> {
    watch::channel(FleetConfig {
        policy: Arc::new(policy::defaults::policy()),
        catalog: Arc::new(catalog),
        prices: Arc::new(policy::defaults::prices()),
        tenants: Arc::new(policy::defaults::tenants()),
        unreadable: Vec::new(),
    })
    .1
}

/// A paid first attempt of a fresh picture.
pub(crate) fn picture() -> Assignment {
    of_class("image-small", Body { kind: Kind::Image, width: Some(64), height: Some(64), ..body() })
}

/// A paid first attempt of a fresh short video.
pub(crate) fn video() -> Assignment {
    let body = Body { kind: Kind::Video, width: Some(640), height: Some(360), ..body() };
    of_class("video", Body { duration_ms: Some(3_000), ..body })
}

fn body() -> Body {
    Body { prompt: Some("a lighthouse at dusk".to_owned()), ..Body::default() }
}

fn of_class(class: &str, body: Body) -> Assignment {
    let mut assignment = samples::assignment();
    assignment.attempt = 1;
    assignment.counted_attempts = 0;
    assignment.history.clear();
    assignment.backend = "gemini".parse().expect("a name");
    assignment.class = class.parse().expect("a name");
    let catalog = policy::defaults::catalog();
    let service = catalog.service(&assignment.backend, &assignment.class).expect("shipped");
    assignment.model.clone_from(&service.model);
    assignment.timeout_ms = service.timeout_ms;
    assignment.reserved_micro_usd = schemas::MicroUsd(2_000_000);
    assignment.job.id = JobId::new();
    assignment.job.body = body;
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
pub(crate) async fn run(backend: &GeminiBackend, assignment: &Assignment, resume: Option<String>) -> Outcome {
    let (attempt, _io, _stopper) = attempt(assignment, resume);
    tokio::time::timeout(LIMIT, backend.run(&attempt)).await.expect("an end in time")
}
