//! The backend that the worker host calls: start, follow to the end, tell how the endpoint is.
//!
//! Looking for work whose start was never confirmed is left to the trait's default ("nobody can tell"):
//! the provider takes no id of ours and lists nothing. But it calls a webhook, which names the attempt.

mod flight;
pub mod worker_time;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use runtime::clock::now_ms;
use runtime::fleet_config::FleetConfig;
use schemas::{Class, Failure, FailureCode, Health, Outcome, Phase, Service, Unit, Usage};
use tokio::sync::watch;
use worker_host::{Attempt, Backend, Discovery, Stop, python_json};

use crate::backend::flight::Flight;
use crate::backend::worker_time::WorkerTime;
use crate::config::{ConfigError, RunPodConfig};
use crate::runpod::client::Client;
use crate::runpod::errors::{self, CallError};
use crate::runpod::wire::{HealthReply, RunReply};
use crate::runpod::{poll, request};

/// The protocol family of the catalog's services that this crate speaks.
pub const FAMILY: &str = "serverless";
/// How long RunPod keeps the result of a job, milliseconds.
const KEPT_MS: u64 = 30 * 60 * 1000;
/// A look at the endpoint that takes longer says that it is down.
const DISCOVER_LIMIT: Duration = Duration::from_secs(4);

/// One RunPod serverless endpoint.
pub struct RunPodBackend {
    client: Client,
    config: RunPodConfig,
    fleet: watch::Receiver<FleetConfig>,
    time: Arc<WorkerTime>,
    /// Since when jobs wait at the endpoint without any worker.
    starved_since: Mutex<Option<Instant>>,
}

impl RunPodBackend {
    /// A backend for the configured endpoint; the fleet's catalog says which classes it makes, its prices how
    /// long a reservation lasts.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(config: RunPodConfig, fleet: watch::Receiver<FleetConfig>) -> Result<Self, ConfigError> {
        let client = Client::new(&config)?;
        let time = Arc::new(WorkerTime::new(config.scaling()));
        Ok(Self { client, config, fleet, time, starved_since: Mutex::new(None) })
    }

    /// What is seen of the provider's workers, for the estimate of what they cost beside their jobs.
    #[must_use]
    pub fn worker_time(&self) -> Arc<WorkerTime> {
        Arc::clone(&self.time)
    }

    /// Starts the attempt's job and makes its id durable; nothing may come between the two.
    async fn start(&self, attempt: &Attempt) -> Result<Flight<'_>, Outcome> {
        let failed = |failure| Outcome { failure: Some(failure), ..Outcome::default() };
        let limits = self.limits(attempt);
        request::check_limits(&attempt.assignment, limits).map_err(failed)?;
        let body = prepare(attempt, limits).await.map_err(failed)?;
        if let Err(stop) = attempt.may_start().await {
            return Err(stopped_before_start(attempt, stop));
        }
        // Not given up when a stop comes: the answer has the id by which the job can be stopped.
        let reply = self.client.run(body).await.map_err(|error| {
            tracing::warn!(job = %attempt.id().job, attempt = attempt.id().attempt, %error, "start failed");
            failed(errors::start_failure(&error, wait_ms(attempt)))
        })?;
        if let Err(failure) = attempt.started(&reply.id).await {
            return Err(Outcome { provider_id: Some(reply.id), ..failed(failure) });
        }
        Ok(Flight::started(&self.client, &self.config, &self.time, limits, reply.id, seed(attempt)))
    }

    /// The limits that the provider keeps for us, by the money that was reserved.
    fn limits(&self, attempt: &Attempt) -> request::Limits {
        let prices = Arc::clone(&self.fleet.borrow().prices);
        request::limits(&attempt.assignment, &attempt.service, &prices, now_ms())
    }

    fn classes(&self) -> Vec<Class> {
        let now = now_ms();
        let fleet = self.fleet.borrow();
        let services = fleet.catalog.services_of(&self.config.backend);
        let alive = services.filter(|service| service.family == FAMILY);
        let alive = alive.filter(|service| service.retires_at_ms.is_none_or(|retires| now < retires));
        alive.map(|service| service.class.clone()).collect()
    }

    /// Why the endpoint cannot work, if it cannot.
    fn ailment(&self, health: &HealthReply) -> Option<String> {
        let workers = &health.workers;
        let mut since = self.starved_since.lock().unwrap_or_else(PoisonError::into_inner);
        if workers.alive() > 0 || health.jobs.in_queue == 0 {
            *since = None;
        }
        if workers.alive() > 0 {
            return None;
        }
        if workers.unhealthy > 0 {
            return Some(format!("all {} workers of the endpoint are unhealthy", workers.unhealthy));
        }
        // No worker and no job is how an idle endpoint looks: it scales from zero.
        let waiting = (health.jobs.in_queue > 0).then(|| since.get_or_insert_with(Instant::now).elapsed())?;
        (waiting >= Duration::from_millis(self.config.starved_after_ms)).then(|| {
            format!(
                "{} jobs have waited {} s at an endpoint without any worker: check its max workers",
                health.jobs.in_queue,
                waiting.as_secs()
            )
        })
    }
}

#[async_trait]
impl Backend for RunPodBackend {
    async fn discover(&self) -> Discovery {
        let health = match tokio::time::timeout(DISCOVER_LIMIT, self.client.health()).await {
            Ok(health) => health,
            Err(_) => Err(CallError::Lost(format!("no answer in {} s", DISCOVER_LIMIT.as_secs()))),
        };
        match health {
            Ok(health) => match self.ailment(&health) {
                Some(reason) => Discovery::unwell(Health::Down, reason),
                None => Discovery::healthy(self.classes()),
            },
            // It is there, and busy with questions, not with work.
            Err(error) if error.status() == Some(429) => Discovery::healthy(self.classes()),
            Err(error) => match error.status().and_then(errors::stopped) {
                Some(failure) => Discovery::unwell(Health::Stopped, failure.message),
                None => Discovery::unwell(Health::Down, error.to_string()),
            },
        }
    }

    fn reports(&self, service: &Service) -> bool {
        service.family == FAMILY
    }

    fn kept_ms(&self, _service: &Service) -> u64 {
        KEPT_MS
    }

    /// The report is the job as its status shows it.
    fn reported_id(&self, report: &[u8]) -> Option<String> {
        python_json::from_slice::<RunReply>(report).ok().map(|job| job.id).filter(|id| !id.is_empty())
    }

    async fn run(&self, attempt: &Attempt) -> Outcome {
        let flight = match &attempt.resume_id {
            Some(id) => {
                let age_ms = u64::try_from(now_ms() - attempt.assignment.time_ms).unwrap_or_default();
                let limits = self.limits(attempt);
                let flight = Flight::started(
                    &self.client,
                    &self.config,
                    &self.time,
                    limits,
                    id.clone(),
                    seed(attempt),
                );
                Ok(flight.resumed(age_ms))
            }
            None => self.start(attempt).await,
        };
        match flight {
            Ok(mut flight) => flight.follow(attempt).await,
            Err(outcome) => outcome,
        }
    }
}

/// Everything that can be done and can go wrong before money is at stake.
async fn prepare(attempt: &Attempt, limits: request::Limits) -> Result<Vec<u8>, Failure> {
    attempt.progress(Phase::Uploading, 0, 0, None);
    let mut graph = request::graph(&attempt.assignment, &attempt.catalog)?;
    request::place_inputs(&mut graph, &attempt.assignment, &attempt.catalog)?;
    let names = request::input_names(&attempt.assignment);
    let inputs = attempt.load_inputs(&request::INPUT_LIMIT).await?;
    let inputs: Vec<(&str, Bytes)> =
        names.iter().zip(inputs).map(|(name, (_, bytes))| (name.as_str(), bytes)).collect();
    request::body(&graph, &inputs, limits, attempt.report_url.as_deref())
}

/// Nothing was asked of the provider: the usage is known, and zero.
fn stopped_before_start(attempt: &Attempt, stop: Stop) -> Outcome {
    let nothing = Usage { unit: Unit::ExecutionMs, quantity: 0 };
    Outcome { usage: vec![nothing], ..attempt.stopped_outcome(stop) }
}

/// The wait to propose when the endpoint is busy, longer each time it was so for this job.
fn wait_ms(attempt: &Attempt) -> u64 {
    let failures = attempt.assignment.history.iter().filter_map(|facts| facts.failure.as_ref());
    let times = failures.filter(|failure| failure.code == FailureCode::RateLimited).count();
    poll::rate_limit_wait_ms(u32::try_from(times).unwrap_or(u32::MAX), seed(attempt))
}

fn seed(attempt: &Attempt) -> u64 {
    attempt.id().derived_uuid().as_u64_pair().0
}
