//! Section `[gemini]` of the configuration.

use reqwest::Url;
use reqwest::header::HeaderValue;
use runtime::config::Secret;
use runtime::fetch::{AllowedHosts, NotAHost};
use schemas::Backend;
use serde::Deserialize;

/// The API, and the pace at which it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeminiConfig {
    /// The API's host.
    pub base_url: String,
    /// The project's key; set it in the environment.
    pub api_key: Secret,
    /// Pause between two looks at an interaction or a file, milliseconds.
    pub poll_ms: u64,
    /// Longest wait for one small answer, milliseconds.
    pub request_timeout_ms: u64,
    /// Longest wait for a picture, which comes in the answer itself, milliseconds.
    pub generate_timeout_ms: u64,
    /// How long the list of models is believed, milliseconds.
    pub models_fresh_ms: u64,
    /// Hosts (`files.internal`, `10.0.0.5:9000`) that made files may come from although their addresses are
    /// private, or speak plain http. The host of `base_url` is one.
    pub allowed_result_hosts: Vec<String>,
    /// The backend this worker serves.
    pub backend: Backend,
}

impl Default for GeminiConfig {
    fn default() -> Self {
        Self {
            base_url: "https://generativelanguage.googleapis.com".to_owned(),
            api_key: Secret::default(),
            poll_ms: 5_000,
            request_timeout_ms: 30_000,
            generate_timeout_ms: 300_000,
            models_fresh_ms: 5_000,
            allowed_result_hosts: Vec::new(),
            backend: Backend::new("gemini").expect("a valid name"),
        }
    }
}

impl GeminiConfig {
    /// Whether it can work.
    ///
    /// # Errors
    /// The first thing that is wrong, with the key to mend.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.base()?;
        self.key()?;
        self.allowed_hosts()?;
        let times = [
            ("poll_ms", self.poll_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("generate_timeout_ms", self.generate_timeout_ms),
        ];
        times.iter().find(|(_, value)| *value == 0).map_or(Ok(()), |(name, _)| Err(ConfigError::Zero(name)))
    }

    /// The API's address.
    pub(crate) fn base(&self) -> Result<Url, ConfigError> {
        let url: Option<Url> = self.base_url.parse().ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base());
        url.ok_or_else(|| ConfigError::BaseUrl(self.base_url.clone()))
    }

    /// Where made files may come from, whatever their addresses are.
    pub(crate) fn allowed_hosts(&self) -> Result<AllowedHosts, ConfigError> {
        Ok(AllowedHosts::new(&self.base()?, &self.allowed_result_hosts)?)
    }

    /// The header that carries the key, marked so that nothing prints it.
    pub(crate) fn key(&self) -> Result<HeaderValue, ConfigError> {
        let key = HeaderValue::from_str(self.api_key.expose()).ok().filter(|key| !key.is_empty());
        let mut key = key.ok_or(ConfigError::Key)?;
        key.set_sensitive(true);
        Ok(key)
    }
}

/// Why a configuration cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an http or https URL.
    #[error("`gemini.base_url` is `{0}`: it is written https://generativelanguage.googleapis.com")]
    BaseUrl(String),
    /// Empty, or with characters that no header can carry.
    #[error("`gemini.api_key` is empty or no key: set ARGOSY_GEMINI__API_KEY")]
    Key,
    /// A time that must be more than nothing.
    #[error("`gemini.{0}` is 0: it must be more")]
    Zero(&'static str),
    /// An entry that names no host.
    #[error("`gemini.allowed_result_hosts`: {0}")]
    ResultHost(#[from] NotAHost),
    /// TLS or resolver.
    #[error("the HTTP client cannot be built")]
    Http(#[from] reqwest::Error),
}
