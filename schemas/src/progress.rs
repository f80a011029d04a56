//! Live progress: `argosy.progress.<tenant>.<job>`, core NATS, not stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, JobId, WorkerId};

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// Where.
    pub backend: Backend,
    /// By whom.
    pub worker: WorkerId,
    /// What it is doing.
    pub phase: Phase,
    /// Steps done, of `steps`.
    #[serde(default)]
    pub step: u32,
    /// Steps in all; 0 when unknown.
    #[serde(default)]
    pub steps: u32,
    /// The node or stage in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What an attempt is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Inputs are on their way to the provider.
    Uploading,
    /// The provider has it and has not begun.
    Queued,
    /// The provider is at it.
    Running,
    /// Outputs are on their way back.
    Downloading,
    /// A phase of a newer version.
    #[serde(other)]
    Unknown,
}
