//! Section `[runpod]` of the configuration: where jobs are run, and how often the worker asks about them.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use runtime::config::Secret;
use runtime::fetch::{AllowedHosts, NotAHost};
use schemas::Backend;
use serde::Deserialize;
use worker_host::overhead::Scaling;

/// The host that runs jobs, and its look-alike that manages and bills.
const JOBS_HOST: &str = "api.runpod.ai";
const MANAGEMENT_HOST: &str = "api.runpod.io";
/// The bill is asked for once in so many of the longest pauses between two looks at a job.
const POLLS_PER_BILL: u64 = 12;

/// One endpoint, and the pace at which it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunPodConfig {
    /// The data plane; note the `.ai`: the look-alike `.io` host only manages.
    pub base_url: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// The account's key; set it in the environment.
    pub api_key: Secret,
    /// First and shortest pause between two looks at a job, milliseconds.
    pub poll_min_ms: u64,
    /// Longest pause between two looks at a job, milliseconds.
    pub poll_max_ms: u64,
    /// Longest wait for one answer, milliseconds.
    pub request_timeout_ms: u64,
    /// Jobs waiting this long at an endpoint that has no worker at all make it `down`, milliseconds.
    pub starved_after_ms: u64,
    /// The management API's billing call; by default that of the account which `base_url` belongs to: the same address
    /// on the `.io` host, and `/billing/serverless`.
    pub billing_url: Option<String>,
    /// How often the bill is asked for, milliseconds; by default twelve times `poll_max_ms`. The API takes 60 calls a
    /// minute from an account.
    pub bill_every_ms: Option<u64>,
    /// Start of the endpoint's workers as estimated until the bill is known, milliseconds.
    pub worker_start_ms: u64,
    /// The endpoint's idle timeout, milliseconds; for the same estimate.
    pub idle_timeout_ms: u64,
    /// The endpoint's max workers; for the same estimate.
    pub workers_max: u32,
    /// Hosts (`minio.internal`, `10.0.0.5:9000`) that results may come from although their addresses are
    /// private, or speak plain http. The host of `base_url` is one.
    pub allowed_result_hosts: Vec<String>,
    /// The backend this worker serves.
    pub backend: Backend,
}

impl Default for RunPodConfig {
    fn default() -> Self {
        Self {
            base_url: "https://api.runpod.ai/v2".to_owned(),
            endpoint: String::new(),
            api_key: Secret::default(),
            poll_min_ms: 1_000,
            poll_max_ms: 5_000,
            request_timeout_ms: 30_000,
            starved_after_ms: 120_000,
            billing_url: None,
            bill_every_ms: None,
            worker_start_ms: 30_000,
            idle_timeout_ms: 5_000,
            workers_max: 3,
            allowed_result_hosts: Vec::new(),
            backend: Backend::new("cloud").expect("a valid name"),
        }
    }
}

impl RunPodConfig {
    /// Whether it can work.
    ///
    /// # Errors
    /// The first thing that is wrong, with the key to mend.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.endpoint_url()?;
        self.bearer()?;
        self.allowed_hosts()?;
        if self.poll_min_ms == 0 || self.poll_min_ms > self.poll_max_ms {
            return Err(ConfigError::Polls { min: self.poll_min_ms, max: self.poll_max_ms });
        }
        if self.request_timeout_ms == 0 {
            return Err(ConfigError::Timeout);
        }
        if self.bill_every_ms == Some(0) {
            return Err(ConfigError::BillEvery);
        }
        self.billing_url()?;
        Ok(())
    }

    /// The endpoint's address.
    pub(crate) fn endpoint_url(&self) -> Result<Url, ConfigError> {
        let bad = || ConfigError::BaseUrl(self.base_url.clone());
        let mut url: Url = self.base_url.parse().map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        if self.endpoint.is_empty() {
            return Err(ConfigError::Endpoint);
        }
        url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().push(&self.endpoint);
        Ok(url)
    }

    /// The address of the billing call.
    ///
    /// # Errors
    /// [`ConfigError::BillingUrl`].
    pub fn billing_url(&self) -> Result<Url, ConfigError> {
        let given = self.billing_url.as_deref();
        let bad = || ConfigError::BillingUrl(given.unwrap_or(&self.base_url).to_owned());
        let mut url: Url = given.unwrap_or(&self.base_url).parse().map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        if given.is_none() {
            if url.host_str() == Some(JOBS_HOST) {
                url.set_host(Some(MANAGEMENT_HOST)).map_err(|_| bad())?;
            }
            url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend(["billing", "serverless"]);
        }
        Ok(url)
    }

    /// How often the bill is asked for.
    pub(crate) fn bill_every(&self) -> Duration {
        Duration::from_millis(self.bill_every_ms.unwrap_or(self.poll_max_ms.saturating_mul(POLLS_PER_BILL)))
    }

    /// How the endpoint's workers come and go.
    pub(crate) const fn scaling(&self) -> Scaling {
        Scaling {
            start_ms: self.worker_start_ms,
            idle_timeout_ms: self.idle_timeout_ms,
            workers_max: self.workers_max,
        }
    }

    /// Where results may come from, whatever their addresses are.
    pub(crate) fn allowed_hosts(&self) -> Result<AllowedHosts, ConfigError> {
        Ok(AllowedHosts::new(&self.endpoint_url()?, &self.allowed_result_hosts)?)
    }

    /// The header that carries the key, marked so that nothing prints it.
    pub(crate) fn bearer(&self) -> Result<HeaderValue, ConfigError> {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.api_key.expose()));
        let mut value = value.ok().filter(|_| !self.api_key.is_empty()).ok_or(ConfigError::Key)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Why a configuration cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an http or https URL.
    #[error("`runpod.base_url` is `{0}`: it is written https://api.runpod.ai/v2")]
    BaseUrl(String),
    /// Empty, or with characters that no header can carry.
    #[error("`runpod.api_key` is empty or no key: set ARGOSY_RUNPOD__API_KEY")]
    Key,
    /// The endpoint's id is empty.
    #[error("`runpod.endpoint` is empty: set it to the id of a serverless endpoint")]
    Endpoint,
    /// Pauses that are none.
    #[error("`runpod.poll_min_ms` is {min} and `runpod.poll_max_ms` {max}: 0 < min <= max must hold")]
    Polls {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// Not an http or https URL.
    #[error("`runpod.billing_url` is `{0}`: it is written https://api.runpod.io/v2/billing/serverless")]
    BillingUrl(String),
    /// The bill cannot be asked for without a pause.
    #[error("`runpod.bill_every_ms` is 0: it must be more")]
    BillEvery,
    /// No time for any answer.
    #[error("`runpod.request_timeout_ms` is 0: it must be more")]
    Timeout,
    /// An entry that names no host.
    #[error("`runpod.allowed_result_hosts`: {0}")]
    ResultHost(#[from] NotAHost),
    /// TLS or resolver.
    #[error("the HTTP client cannot be built")]
    Http(#[from] reqwest::Error),
}
