//! What a worker needs to know about its endpoint. The key comes from the environment and is never shown.

use std::fmt;

use schemas::Backend;

/// Where jobs are run and how often the worker asks about them.
#[derive(Clone)]
pub struct RunPodConfig {
    /// The data plane; note the `.ai`, the look-alike `.io` host only manages.
    pub base_url: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// The account's key.
    pub api_key: String,
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

impl RunPodConfig {
    /// The documented data plane.
    pub const BASE_URL: &str = "https://api.runpod.ai/v2";

    /// The usual pauses and limits for an endpoint.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, api_key: impl Into<String>, backend: Backend) -> Self {
        Self {
            base_url: Self::BASE_URL.to_owned(),
            endpoint: endpoint.into(),
            api_key: api_key.into(),
            poll_min_ms: 1_000,
            poll_max_ms: 5_000,
            request_timeout_ms: 30_000,
            starved_after_ms: 120_000,
            backend,
        }
    }
}

impl fmt::Debug for RunPodConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunPodConfig")
            .field("base_url", &self.base_url)
            .field("endpoint", &self.endpoint)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
