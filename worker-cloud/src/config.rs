//! Section `[runpod]` of the configuration: where jobs are run, and how often the worker asks about them.

use reqwest::Url;
use reqwest::header::HeaderValue;
use runtime::config::Secret;
use runtime::fetch::{AllowedHosts, NotAHost};
use schemas::Backend;
use serde::Deserialize;

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
