//! Simulated providers over real sockets: ComfyUI, RunPod serverless (with worker-comfyui) and Gemini.
//!
//! Everything a client can see follows the providers' protocols; what no client may rely on (prices, timing, faults)
//! is the simulator's own and told only to its operator, under `/_admin`. The invoice uses its own copy of the price
//! data and its own arithmetic, so that a ledger that agrees with it agrees with somebody else. Mocking the clients'
//! HTTP layer was rejected: lost connections, redirects and restarts are the point.
//!
//! # Admin routes
//! - `GET /_admin/invoice`: what would be billed, in whole micro-dollars ([`Invoice`]).
//! - `GET|PUT /_admin/faults`: armed faults, a list of [`Fault`]. `times`, `probability` and `for_ms` limit them.
//! - `POST /_admin/offline {"for_ms": n}`: cuts all connections, turns new ones away for so long. A ComfyUI also
//!   forgets queue and history.
//! - `GET /_admin/stats`: [`Stats`].
//!
//! # Faults
//! `comfyui` (the first four hit samplers, or the node whose id or class is `node`):
//! - `oom`: execution error `torch.OutOfMemoryError`
//! - `hang`: the worker thread dies; HTTP goes on, the job stays in the queue until a restart
//! - `restart`: sockets drop, queue, history and counter are gone, files stay
//! - `drop_ws`: the owner's websocket ends without a close frame; the job goes on
//! - `slow_interrupt`: an interrupt is noticed `delay_ms` later (3000)
//! - `late_history`: history is written `delay_ms` (1500) after `execution_success`
//! - `lacks`: the node class `node` is not installed
//! - `node_errors_on_200`: a job is accepted although an output was refused
//!
//! `runpod` (HTTP faults only on paths that contain `node`, if given; fates are drawn when a job is submitted):
//! - `lost_run_answer`: the job is queued, the connection closed without an answer
//! - `completed_without_output`, `failed_json_error`, `failed_oom`, `timed_out_after_retries`: how the job ends (billed)
//! - `shape_*`: how the output of a completed job looks (billed): the shapes of other versions and handlers with the
//!   files in them, and shapes without any; `shape_any_readable` and `shape_any_unusable` choose by seed and job
//! - `result_elsewhere`: the result's address is that of a cloud's metadata service
//! - `queue_forever`: no worker ever takes it
//! - `http_429`, `http_401`, `http_502`: instead of any answer
//! - `status_404`: of `/status`
//! - `billing_503`: instead of the bill
//!
//! `gemini` (HTTP faults hit the calls that cost money, or paths that contain `node`):
//! - `prompt_blocked`, `image_safety`: `generateContent` refuses the content (only the prompt is billed)
//! - `words_only`, `no_image`, `finish_other`: no picture (what was counted is billed); the first also of interactions
//! - `three_images`: three of them, cap or not, all billed; `draft_only`: the picture is among the thoughts
//! - `null_fields`, `totals_disagree`, `details_missing`: a picture or film, and an odd bill
//! - `odd_answer`: one of these, or of the odd ends below, drawn by seed (`--odd-answers` gives a share of all answers
//!   one that keeps to the cap, without a fault)
//! - `http_429_minute` (with `RetryInfo` of `delay_ms`), `http_429_day`, `http_429_limit_zero`, `http_503`,
//!   `api_key_invalid`, `error_in_array`: instead of any answer
//! - `interaction_error_string_code`: a 400 whose code is a string
//! - `interaction_failed`, `completed_without_content`, `interaction_incomplete`: how an interaction ends (the first
//!   is not billed, the others for what was counted)
//! - `lost_answer`: the work is done and billed, the connection closed without an answer
//! - `usage_missing`: billed, but the answer does not say how much
//! - `file_expired`: 403 for a file
//! - `file_huge`: a download of 257 MiB

mod admin;
mod chance;
mod clock;
pub mod comfyui;
pub mod gemini;
mod host;
mod journal;
mod picture;
pub mod runpod;
mod webhook;

pub use admin::{Admin, Fault, Invoice, Line, Stats};

/// Why a simulator did not start or would not do as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The wanted address.
        addr: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The state directory or a file in it cannot be used.
    #[error("cannot use {}", path.display())]
    State {
        /// Which file or directory.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A journal holds something that is not ours.
    #[error("{} is not a journal of this simulator", path.display())]
    Journal {
        /// Which file.
        path: std::path::PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A fault that this simulator does not have.
    #[error("unknown fault `{name}`; known: {known}")]
    UnknownFault {
        /// The name asked for.
        name: String,
        /// All names, comma separated.
        known: String,
    },
}
