//! A simulated RunPod serverless endpoint that runs the worker-comfyui image.
//!
//! The data plane (`/v2/{endpoint}/run` and what goes with it) and, of the management API, the billing call; pods are not
//! here. Workers are billed from start to stop, each second that was begun ([`sessions`]). Jobs live at
//! the provider: with a state directory they, and the bill, survive a killed simulator, as they survive a killed
//! client. Execution times are provider time (scaled when slept); `ttl`, retention and the pauses between calls of a
//! webhook are wall time, so that a fast simulation does not lose results a slow person still wants.

mod billing;
mod handler;
mod jobs;
mod pool;
mod routes;
mod server;
mod sessions;
mod shapes;
mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::Admin;
use crate::clock::Scale;
use crate::comfyui::{Catalog, Models, default_models};
use crate::journal::StateDir;
use jobs::Store;
pub use server::Server;
use sessions::Sessions;

/// Fault names; see the crate's header for what they do.
pub const FAULTS: &[&str] = &[
    "lost_run_answer",
    "completed_without_output",
    "failed_json_error",
    "failed_oom",
    "timed_out_after_retries",
    "shape_message_url",
    "shape_message_data_uri",
    "shape_message_base64",
    "shape_list",
    "shape_string",
    "shape_string_url",
    "shape_image_strings",
    "shape_videos",
    "shape_gifs",
    "shape_files",
    "shape_nested",
    "shape_image",
    "shape_image_url",
    "shape_result",
    "shape_partial",
    "shape_error",
    "shape_status_error",
    "shape_errors_only",
    "shape_raised",
    "shape_words",
    "shape_empty",
    "shape_unknown",
    "shape_any_readable",
    "shape_any_unusable",
    "result_elsewhere",
    "queue_forever",
    "http_429",
    "http_401",
    "http_502",
    "status_404",
    "billing_503",
];

/// How results are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputMode {
    /// Inside the job object, base64.
    #[default]
    Base64,
    /// A URL of the simulator's own storage.
    S3Url,
}

/// Settings of a simulated endpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Seeds latencies and ids.
    pub seed: u64,
    /// Wall time per provider time.
    pub time_scale: f64,
    /// Keeps jobs and the invoice here across restarts.
    pub state_dir: Option<PathBuf>,
    /// The key that requests must carry as a bearer token.
    pub api_key: String,
    /// The endpoint's id; any other is 404.
    pub endpoint_id: String,
    /// Most workers at a time.
    pub workers: usize,
    /// Start-up of a cold worker, provider milliseconds.
    pub cold_start_ms: u64,
    /// How long a worker stays warm without work, provider milliseconds.
    pub idle_timeout_ms: u64,
    /// Jobs take whole seconds, so that who bills milliseconds and who bills begun seconds charge the same: for drills
    /// with processes of release 0.1.0, which charged milliseconds.
    pub whole_seconds: bool,
    /// Price of a worker's time, micro-dollars per second.
    pub rate_micro_usd_per_s: u64,
    /// How results are handed over.
    pub output: OutputMode,
    /// How many of a hundred jobs answer in the shape of another version or handler, chosen by seed and job.
    pub odd_outputs_percent: u8,
    /// How many of a hundred jobs complete without a file.
    pub unusable_outputs_percent: u8,
    /// Model files of the image.
    pub models: Models,
    /// Median execution of a picture, provider milliseconds.
    pub image_median_ms: u64,
    /// Median execution of a film, provider milliseconds.
    pub video_median_ms: u64,
    /// Enforces the documented limits per ten seconds.
    pub rate_limits: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            time_scale: 1.0,
            state_dir: None,
            api_key: "sim-runpod-key".to_owned(),
            endpoint_id: "sim-endpoint".to_owned(),
            workers: 3,
            cold_start_ms: 8_000,
            idle_timeout_ms: 5_000,
            whole_seconds: false,
            rate_micro_usd_per_s: 190,
            output: OutputMode::default(),
            odd_outputs_percent: 0,
            unusable_outputs_percent: 0,
            models: default_models(),
            image_median_ms: 33_000,
            video_median_ms: 120_000,
            rate_limits: true,
        }
    }
}

/// All of one endpoint.
struct Endpoint {
    config: Config,
    scale: Scale,
    admin: Admin,
    catalog: Arc<Catalog>,
    store: Store,
    sessions: Sessions,
    wake: Notify,
    /// Grows with every change of any job.
    changed: watch::Sender<u64>,
    public_url: String,
    _state_dir: StateDir,
}
