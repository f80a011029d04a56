//! Runs attempts on RunPod serverless endpoints that serve `worker-comfyui`.
//!
//! [`runpod`] speaks the provider's protocol and translates its answers; [`backend`] is what the worker
//! host calls. Pods (rented machines) are another protocol and are not here. `/runsync` was rejected: its
//! id comes back only with the result, so a lost answer would lose paid work; `/run` answers at once.

pub mod backend;
pub mod bill;
pub mod config;
pub mod runpod;

pub use backend::RunPodBackend;
pub use config::{ConfigError, RunPodConfig};
