//! Section `[runpod]` of the configuration: where jobs are run, and how often the worker asks about them.

use runtime::config::Secret;
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
            backend: Backend::new("cloud").expect("a valid name"),
        }
    }
}
