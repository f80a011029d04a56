//! A simulated Gemini API: models, `generateContent`, interactions, files with a download on another host.
//!
//! Interactions live at the provider: with a state directory they, their files and the bill survive a killed
//! simulator. A synchronous answer does not, but its work goes on, and is billed, when the client hangs up. The
//! retired `predict` routes answer 404, as they do today. Not simulated: file uploads, streaming, the signatures of webhooks, safety
//! settings, Vertex.

mod errors;
mod files;
mod generate;
mod interactions;
mod models;
mod odd;
mod request;
mod routes;
mod server;
mod store;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Admin;
use crate::clock::{self, Scale};
use crate::journal::StateDir;
pub use server::Server;
use store::Store;

/// Fault names; see the crate's header for what they do.
pub const FAULTS: &[&str] = &[
    "prompt_blocked",
    "image_safety",
    "no_image",
    "http_429_minute",
    "http_429_day",
    "http_429_limit_zero",
    "http_503",
    "api_key_invalid",
    "error_in_array",
    "interaction_error_string_code",
    "interaction_failed",
    "completed_without_content",
    "lost_answer",
    "usage_missing",
    "file_expired",
    "three_images",
    "words_only",
    "finish_other",
    "draft_only",
    "null_fields",
    "totals_disagree",
    "details_missing",
    "interaction_incomplete",
    "odd_answer",
    "file_huge",
];

const LABEL: &str = "SIMULATED GEMINI";

/// Settings of a simulated Gemini API.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Seeds latencies, token counts and ids.
    pub seed: u64,
    /// Wall time per provider time.
    pub time_scale: f64,
    /// Keeps interactions and the invoice here across restarts.
    pub state_dir: Option<PathBuf>,
    /// The key that requests must carry in `x-goog-api-key` (or `?key=`).
    pub api_key: String,
    /// How many of a hundred answers have an odd shape, chosen by seed and answer. Unlike the armed ones they keep to the
    /// cap of the request.
    pub odd_answers_percent: u8,
    /// Requests per minute (of provider time) and model; above it, 429 with `RetryInfo`.
    pub rpm: Option<u32>,
    /// Median duration of a picture, provider milliseconds.
    pub image_median_ms: u64,
    /// Median duration of a film, provider milliseconds.
    pub video_median_ms: u64,
    /// How long a made file says `PROCESSING`, provider milliseconds.
    pub file_processing_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            time_scale: 1.0,
            state_dir: None,
            api_key: "sim-gemini-key".to_owned(),
            odd_answers_percent: 0,
            rpm: None,
            image_median_ms: 8_000,
            video_median_ms: 40_000,
            file_processing_ms: 2_000,
        }
    }
}

/// All of one simulated API.
struct Gemini {
    config: Config,
    scale: Scale,
    admin: Admin,
    store: Store,
    public_url: String,
    download_url: String,
    /// Grows when any interaction ends.
    changed: watch::Sender<u64>,
    /// Times of recent requests by model, wall milliseconds.
    recent: Mutex<HashMap<String, VecDeque<u64>>>,
    /// Work that goes on without its client.
    work: Mutex<JoinSet<()>>,
    _state_dir: StateDir,
}

impl Gemini {
    /// Runs work to its end, whoever is listening.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// How long to wait, if this request is above the limit; counts it otherwise.
    fn above_rpm(&self, model: &str) -> Option<u64> {
        let limit = self.config.rpm? as usize;
        let now_ms = clock::now_ms();
        let window_ms = self.scale.wall(60_000).as_millis() as u64;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let times = recent.entry(model.to_owned()).or_default();
        while times.front().is_some_and(|at| at + window_ms <= now_ms) {
            times.pop_front();
        }
        if times.len() >= limit {
            return times.front().map(|at| at + window_ms - now_ms);
        }
        times.push_back(now_ms);
        None
    }
}
