//! What a worker says about itself: the value of its key in the `WORKERS` bucket.
//!
//! The truth about presence is the offer's age, not the bucket's expiry.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, Capability, Class, JobId, Queue, WorkerId};

/// A worker's presence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// Who.
    pub worker: WorkerId,
    /// Which backend it serves.
    pub backend: Backend,
    /// When it said so, Unix milliseconds by its own clock. Nobody judges its age by this: the broker's time of the
    /// message counts.
    pub time_ms: i64,
    /// When the process started, Unix milliseconds.
    pub started_at_ms: i64,
    /// What it makes.
    pub classes: Vec<ClassOffer>,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// How many more it would take now.
    pub free_slots: u32,
    /// How it is.
    pub health: Health,
    /// Why, when not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_reason: Option<String>,
    /// Until when it will not work (quota), Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_until_ms: Option<i64>,
    /// Model files it has; none when it cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<BTreeSet<String>>,
    /// Node classes it has; none when it cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<BTreeSet<String>>,
    /// Inputs that are choices of model files, by node class, beyond those that everybody knows; none when it
    /// cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_choices: Option<BTreeMap<String, BTreeSet<String>>>,
    /// What sets its server apart from others of the backend that have other nodes, models or memory: it takes work from the
    /// queues of this capability, beside those of its classes. Absent where its server is not known, and from older workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// Its GPUs, where a driver or the server tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// Its provider is a simulator.
    #[serde(default)]
    pub simulated: bool,
    /// Its provider bills, so it refuses work for which nothing is reserved; absent from older workers. Where it is
    /// true no document makes the backend free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<bool>,
    /// How far its machine's clock is ahead of the broker's, milliseconds, as it measured; absent from older workers
    /// and before the first measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// Where its server is its own and no other worker's: what the worker remembers of that server's failures. While it
    /// is open the worker takes no work. Absent where many workers call one provider, and from older workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<ServerBreaker>,
    /// What it runs, the longest first, at most [`RUNNING_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<RunningAttempt>,
}

impl Offer {
    /// From which queue it takes what only servers like its own can do.
    #[must_use]
    pub fn queue(&self, class: &Class) -> Queue {
        Queue { class: class.clone(), capability: self.capability }
    }

    /// Whether it takes work from a queue: one of its own, or one that all workers of the class read.
    #[must_use]
    pub fn reads(&self, queue: &Queue) -> bool {
        (queue.capability.is_none() || queue.capability == self.capability)
            && self.classes.iter().any(|offered| offered.class == queue.class)
    }
}

/// What a worker remembers of its own server's failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerBreaker {
    /// Failures of the server since it last succeeded, each job counted once.
    pub consecutive_failures: u32,
    /// Until when it is out, Unix milliseconds. In the past: half open, one more failure opens it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until_ms: Option<i64>,
    /// What opened it: the failure's code and words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Attempts that an offer lists.
pub const RUNNING_MAX: usize = 32;

/// An attempt in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningAttempt {
    /// Whose attempt.
    pub job: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// In which class.
    pub class: Class,
    /// For how long it has been in the worker's hands, milliseconds.
    pub running_ms: u64,
}

/// One class that a worker makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassOffer {
    /// Which.
    pub class: Class,
    /// How long an attempt takes here as learned from those that succeeded, milliseconds; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_ms: Option<u64>,
}

/// How a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Takes work.
    Healthy,
    /// Its provider does not answer; tries again by itself.
    Down,
    /// Key or billing: out until a person acts.
    Stopped,
    /// Finishes what it has and leaves.
    Draining,
    /// A health of a newer version.
    #[serde(other)]
    Unknown,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// The driver's name for it.
    pub name: String,
    /// Its memory, bytes.
    pub vram_total_bytes: u64,
    /// Its free memory, bytes.
    pub vram_free_bytes: u64,
    /// How busy it is, per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation_percent: Option<u32>,
    /// How hot it is, degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<u32>,
    /// What it draws, milliwatts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u32>,
    /// What it has used since the driver was loaded, millijoules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<u64>,
}
