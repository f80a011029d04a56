//! What an operator decides: the document `policy` of the `CONFIG` bucket, hot reloaded.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, MicroUsd, Profile, Terms};

/// How the fleet decides: the key `policy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// How a backend is chosen among those that may run a job.
    #[serde(default)]
    pub scoring: Scoring,
    /// Every backend that may be used.
    pub backends: Vec<BackendConfig>,
    /// The weights of each profile, for `weighted`.
    pub profiles: BTreeMap<Profile, Terms>,
    /// How long a job of lane `interactive` bears to wait for its end where it does not say, milliseconds; of lane
    /// `standard` five times as long, of lane `batch` sixty times. For `weighted`, in every lane, the completion that scores 0 for
    /// speed where a job has no deadline.
    pub patience_ms: u64,
    /// What scores 0 for cost where a job has no ceiling, for `weighted`.
    pub cost_reference_micro_usd: MicroUsd,
    /// Attempts of a job in all that count.
    pub max_attempts: u32,
    /// `transient` failures in a row on one backend before failing over.
    pub max_attempts_per_backend: u32,
    /// Attempts of a job in all, whether they count or not.
    pub max_attempts_ever: u32,
    /// Shortest wait before a retry, milliseconds.
    pub backoff_min_ms: u64,
    /// Longest wait before a retry, milliseconds.
    pub backoff_max_ms: u64,
    /// Failures of a backend in a row that open its breaker.
    pub breaker_failures: u32,
    /// How long it stays open, milliseconds.
    pub breaker_open_ms: u64,
    /// An offer older than this is no worker, milliseconds.
    pub offer_max_age_ms: u64,
    /// Assignments that wait on a backend without workers longer than this are taken back, milliseconds.
    pub stranded_after_ms: u64,
    /// Assignments that wait longer than this for a worker of a backend are taken back if they would be placed
    /// elsewhere now, milliseconds.
    #[serde(default = "overdue_after_ms")]
    pub overdue_after_ms: u64,
    /// Nobody is passed over on our own slots for longer than this many times his patience (and four minutes), for
    /// `schedule`.
    #[serde(default = "max_passed_over")]
    pub max_passed_over: u32,
    /// A job that found no backend is looked at again after this, milliseconds.
    pub defer_ms: u64,
    /// Limits of what a job may ask for.
    pub limits: Limits,
}

/// How a backend is chosen among those that may run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// Each job by itself, as soon as a backend has room for it: the best weighted score of `profiles`. Documents that do
    /// not say mean this.
    #[default]
    Weighted,
    /// All that wait at once: least money plus the price of lateness. Jobs wait where they can still go anywhere.
    Schedule,
}

/// Five minutes: longer than a queue at its bound takes, unless its workers stall.
const fn overdue_after_ms() -> u64 {
    300_000
}

const fn max_passed_over() -> u32 {
    4
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendConfig {
    /// Its name.
    pub backend: Backend,
    /// 1 is first choice.
    pub rank: u32,
    /// It bills: consent, reservation and claim are required. `false` does not make a backend free that bills by its
    /// name, by its protocol or by the word of its workers.
    pub paid: bool,
    /// Jobs that may wait or run there for each slot, in one class and in all; more stay in their lane. For `weighted`: a
    /// schedule binds what can start, and one more for each slot.
    pub backlog_per_slot: u32,
}

/// Limits of what a job may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Pixels, smallest side.
    pub side_min_px: u32,
    /// Pixels, largest side.
    pub side_max_px: u32,
    /// Sides must be multiples of this many pixels.
    pub side_multiple_px: u32,
    /// Sampling steps.
    pub steps_max: u32,
    /// Length of a video, milliseconds.
    pub duration_max_ms: u32,
    /// Length of a prompt, bytes.
    pub prompt_max_bytes: usize,
    /// Nodes of a workflow.
    pub workflow_max_nodes: usize,
    /// Files a job brings.
    pub inputs_max: usize,
    /// Labels of a job.
    pub labels_max: usize,
    /// Size of a published job, bytes.
    pub job_max_bytes: usize,
    /// The largest ceiling that is taken seriously.
    pub max_cost_max_micro_usd: MicroUsd,
}
