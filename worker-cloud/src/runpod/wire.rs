//! The provider's answers, read leniently: bodies are undocumented in places and have changed before, so
//! an odd field is ignored, and a state we do not know means "still running".

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Where a job is at the provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waits for a worker.
    InQueue,
    /// A worker has it.
    #[serde(alias = "RUNNING")]
    InProgress,
    /// It ended well, as far as the handler knows.
    Completed,
    /// It ended badly; see `error`.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It was stopped by a limit, or never picked up.
    TimedOut,
    /// A state we do not know: still running.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Whether it has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut)
    }
}

/// The answer to `/run`.
#[derive(Debug, Clone, Deserialize)]
pub struct RunReply {
    /// The job's id, opaque.
    pub id: String,
}

/// The job object of `/status` and `/cancel`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct JobReply {
    /// Where it is.
    #[serde(default)]
    pub status: Status,
    /// Milliseconds in the handler; absent before the end, and when it never ran.
    #[serde(default, rename = "executionTime", deserialize_with = "millis")]
    pub execution_ms: Option<u64>,
    /// Milliseconds from its submission until a worker took it.
    #[serde(default, rename = "delayTime", deserialize_with = "millis")]
    pub delay_ms: Option<u64>,
    /// The worker that took it.
    #[serde(default, rename = "workerId")]
    pub worker_id: Option<Value>,
    /// What the handler returned.
    #[serde(default)]
    pub output: Option<Value>,
    /// What went wrong: plain text, or a JSON document in a string.
    #[serde(default)]
    pub error: Option<Value>,
}

/// The answer to `/health`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct HealthReply {
    /// Jobs by state.
    #[serde(default)]
    pub jobs: JobCounts,
    /// Workers by state.
    #[serde(default)]
    pub workers: WorkerCounts,
}

/// Jobs of the endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobCounts {
    /// Waiting.
    pub in_queue: u64,
    /// At work.
    pub in_progress: u64,
}

/// Workers of the endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerCounts {
    /// Up, without work.
    pub idle: u64,
    /// Starting.
    pub initializing: u64,
    /// Up.
    pub ready: u64,
    /// At work.
    pub running: u64,
    /// Waiting for a GPU of the wanted type.
    pub throttled: u64,
    /// Crashing.
    pub unhealthy: u64,
}

impl WorkerCounts {
    /// Workers that do or may come to do something.
    #[must_use]
    pub const fn alive(&self) -> u64 {
        let up = self.idle.saturating_add(self.ready).saturating_add(self.running);
        up.saturating_add(self.initializing).saturating_add(self.throttled)
    }
}

/// Milliseconds as integer, float or text; anything else counts as absent.
fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(whole)),
        _ => None,
    })
}

/// Rounded up: a started millisecond is billed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
fn whole(value: f64) -> Option<u64> {
    (0.0..1e15).contains(&value).then(|| value.ceil() as u64)
}
