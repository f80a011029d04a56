//! Requests that any NATS client can make: `argosy.api.<endpoint>`, answered by the routers.
//!
//! A refused request is answered with the service framework's error headers and an [`ApiError`] body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unknown::keeps_unknown_fields;
use crate::{Backend, Class, Decision, Event, Failure, Job, JobId, JobState, Offer, UnknownFields};

keeps_unknown_fields!(EstimateRequest);

/// Names one job: for `status`, `explain` and `cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobRequest {
    /// Which job.
    pub job: JobId,
}

/// Answer of `status`: where a job is, and what happened to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReply {
    /// Which job.
    pub job: JobId,
    /// Where it is. `submitted` also when nothing is known of it yet.
    pub state: JobState,
    /// Whether anything is known of it.
    pub known: bool,
    /// All its events, oldest first.
    pub events: Vec<Event>,
}

/// Answer of `explain`: every decision made for a job, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainReply {
    /// Which job.
    pub job: JobId,
    /// Where it is.
    pub state: JobState,
    /// Why there, attempt by attempt.
    pub decisions: Vec<Decision>,
    /// How it ended, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its fields that are not known and had no effect, as in its events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Request of `estimate`: a job that is not to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct EstimateRequest {
    /// The job.
    pub job: Job,
    /// What this version does not know of the request: what guards money belongs into the job.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// Answer of `estimate`: what would be decided now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EstimateReply {
    /// The decision; its choice is empty when the job would wait or be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Why the job would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its fields that are not known and would have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Answer of `cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelReply {
    /// Which job.
    pub job: JobId,
    /// The state it was in when asked.
    pub state: JobState,
    /// What was done about it, in a sentence.
    pub effect: String,
}

/// Answer of `backends`: the fleet as the answering router sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendsReply {
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// One for each configured backend, by rank.
    pub backends: Vec<BackendStatus>,
    /// Whether the ledger grants reservations at present.
    pub ledger_available: bool,
}

/// One backend as a router sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendStatus {
    /// Which.
    pub backend: Backend,
    /// It bills.
    pub paid: bool,
    /// Its workers, by name.
    pub workers: Vec<Offer>,
    /// Jobs waiting or running, by class.
    pub backlog: Vec<ClassBacklog>,
    /// Until when its breaker is open, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_open_until_ms: Option<i64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_reason: Option<String>,
}

/// How much waits at a backend in one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassBacklog {
    /// Which class.
    pub class: Class,
    /// Waiting and running.
    pub jobs: u64,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApiError {
    /// What is wrong and the cure.
    pub error: String,
    /// The field to mend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
