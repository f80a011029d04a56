//! The backend that the worker host calls. A service's family decides the way: `generate_content` answers
//! with the picture itself and can neither be resumed nor stopped; `interactions` gives an id at once.
//!
//! Looking for work whose start was never confirmed is left to the trait's default ("nobody can tell"):
//! the API takes no id of ours and lists nothing. But an interaction's webhook names the attempt.

mod background;
mod pictures;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use runtime::clock::now_ms;
use runtime::fleet_config::FleetConfig;
use schemas::{Class, Failure, FailureCode, Health, Outcome, Phase, Service};
use tokio::sync::watch;
use worker_host::inputs::InputLimit;
use worker_host::{Attempt, Backend, Discovery, Stop};

use crate::config::{ConfigError, GeminiConfig};
use crate::gemini::client::Client;
use crate::gemini::errors::{self, CallError};
use crate::gemini::generate::InputFile;
use crate::gemini::{generate, interactions, usage};

/// The catalog's family for pictures in the answer.
pub const GENERATE_CONTENT: &str = "generate_content";
/// The catalog's family for background work.
pub const INTERACTIONS: &str = "interactions";
/// A look at the API that takes longer says that it is down.
const DISCOVER_LIMIT: Duration = Duration::from_secs(4);
/// What of a request the inputs may take, as base64.
const INPUT_LIMIT: InputLimit =
    InputLimit { max_bytes: generate::REQUEST_MAX_BYTES as u64, is_base64: true, of: "Gemini's request" };
/// How long Gemini keeps what an interaction made; and how long we keep a picture that it does not, milliseconds.
const KEPT_MS: u64 = 48 * 60 * 60 * 1000;
/// Pages of the list of models that are read; at a thousand each there is one.
const MODEL_PAGES_MAX: usize = 20;

/// The models that a project may use, and when we learned of them.
type Known = Option<(Instant, BTreeSet<String>)>;

/// One project of the Gemini API.
pub struct GeminiBackend {
    client: Client,
    config: GeminiConfig,
    fleet: watch::Receiver<FleetConfig>,
    known: Mutex<Known>,
}

impl GeminiBackend {
    /// A backend for the configured project; the catalog says which classes it makes with which model.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(config: GeminiConfig, fleet: watch::Receiver<FleetConfig>) -> Result<Self, ConfigError> {
        Ok(Self { client: Client::new(&config)?, config, fleet, known: Mutex::new(None) })
    }

    /// Models that were listed a moment ago. The list changes by the month, but a key that is revoked shows in it.
    fn fresh_models(&self) -> Option<BTreeSet<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Duration::from_millis(self.config.models_fresh_ms);
        known.as_ref().filter(|(at, _)| at.elapsed() < fresh).map(|(_, models)| models.clone())
    }

    async fn models(&self) -> Result<BTreeSet<String>, CallError> {
        if let Some(models) = self.fresh_models() {
            return Ok(models);
        }
        let mut models = BTreeSet::new();
        let mut token: Option<String> = None;
        for _ in 0..MODEL_PAGES_MAX {
            let page = self.client.models(token.as_deref()).await?;
            let names = page.models.into_iter();
            models.extend(names.map(|name| name.strip_prefix("models/").unwrap_or(&name).to_owned()));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), models.clone()));
        Ok(models)
    }

    /// Classes whose model is listed and not past its date.
    fn classes(&self, models: &BTreeSet<String>) -> Vec<Class> {
        let now = now_ms();
        let fleet = self.fleet.borrow();
        let services = fleet.catalog.services_of(&self.config.backend);
        let ours =
            services.filter(|service| [GENERATE_CONTENT, INTERACTIONS].contains(&service.family.as_str()));
        let alive = ours.filter(|service| service.retires_at_ms.is_none_or(|retires| now < retires));
        alive.filter(|service| models.contains(&service.model)).map(|service| service.class.clone()).collect()
    }
}

#[async_trait]
impl Backend for GeminiBackend {
    async fn discover(&self) -> Discovery {
        let models = match tokio::time::timeout(DISCOVER_LIMIT, self.models()).await {
            Ok(models) => models,
            Err(_) => Err(CallError::Lost(format!("no answer in {} s", DISCOVER_LIMIT.as_secs()))),
        };
        let error = match models {
            Ok(models) => return Discovery::healthy(self.classes(&models)),
            Err(error) => error,
        };
        if let CallError::Refused { status, body, .. } = &error
            && errors::is_stopped(*status, &errors::said(body))
        {
            let failure = errors::refused(*status, body, None, "", now_ms());
            return Discovery::unwell(Health::Stopped, failure.message);
        }
        Discovery::unwell(Health::Down, error.to_string())
    }

    fn reports(&self, service: &Service) -> bool {
        service.family == INTERACTIONS
    }

    fn kept_ms(&self, _service: &Service) -> u64 {
        KEPT_MS
    }

    fn reported_id(&self, report: &[u8]) -> Option<String> {
        interactions::reported_id(report)
    }

    async fn run(&self, attempt: &Attempt) -> Outcome {
        match (attempt.service.family.as_str(), &attempt.resume_id) {
            (GENERATE_CONTENT, None) => self.picture(attempt).await,
            (GENERATE_CONTENT, Some(_)) => {
                failed(errors::lost("a picture's request cannot be taken up again after its worker was lost"))
            }
            (INTERACTIONS, resume_id) => self.background(attempt, resume_id.as_deref()).await,
            (family, _) => {
                let message = format!("the catalog's family `{family}` is not one that Gemini speaks");
                failed(Failure::new(FailureCode::CapabilityMissing, message))
            }
        }
    }
}

/// The job's files.
async fn inputs(attempt: &Attempt) -> Result<Vec<InputFile>, Failure> {
    attempt.progress(Phase::Uploading, 0, 0, None);
    let files = attempt.load_inputs(&INPUT_LIMIT).await?;
    Ok(files.into_iter().map(|(input, bytes)| (input.media_type.clone(), bytes)).collect())
}

fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

/// Nothing was asked of the provider: the usage is known, and zero.
fn stopped_before_start(attempt: &Attempt, stop: Stop) -> Outcome {
    Outcome { usage: usage::nothing(), ..attempt.stopped_outcome(stop) }
}
