//! Section `[gemini]` of the configuration.

use runtime::config::Secret;
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
            models_fresh_ms: 60_000,
            backend: Backend::new("gemini").expect("a valid name"),
        }
    }
}
