//! Requests that any NATS client can make, answered by the routers: `argosy.api.<tenant>.<endpoint>` for one tenant, to
//! which a job of another is an unknown one, and `argosy.api.<endpoint>` for all, which is the operator's.
//!
//! A refused request is answered with the service framework's error headers and an [`ApiError`] body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breaker::BreakerKind;
use crate::unknown::keeps_unknown_fields;
use crate::{
    Backend, Class, Decision, Event, Failure, Job, JobId, JobState, Lane, Offer, Tenant, UnknownFields,
    WorkerId,
};

keeps_unknown_fields!(EstimateRequest);

/// Names one job: for `status`, `explain` and `cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobRequest {
    /// Which job.
    pub job: JobId,
    /// Whose job: the tenant of the subject, or in the operator's form the one that the answer is to be confined to.
    /// Routers of release 0.1.0 answer for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

impl JobRequest {
    /// Asks for a job of whatever tenant the subject allows.
    #[must_use]
    pub const fn of(job: JobId) -> Self {
        Self { job, tenant: None }
    }
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
    /// What it waits for, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<JobWait>,
}

/// What a job waits for. The router that holds the job says so, whichever router was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobWait {
    /// What it waits for.
    pub waits_for: String,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// When it is looked at next, Unix milliseconds; none when that depends on others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_look_ms: Option<i64>,
    /// In which lane, while no router has placed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// How many jobs of its lane were accepted before it and lie there still, while no router holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// All of it in a sentence.
    pub sentence: String,
}

const fn yes() -> bool {
    true
}

/// Answer of `explain`: every decision made for a job, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainReply {
    /// Which job.
    pub job: JobId,
    /// Where it is.
    pub state: JobState,
    /// Whether anything is known of it; routers of release 0.1.0 do not say.
    #[serde(default = "yes")]
    pub known: bool,
    /// Why there, attempt by attempt.
    pub decisions: Vec<Decision>,
    /// How it ended, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its fields that are not known and had no effect, as in its events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it waits for, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<JobWait>,
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
    /// Whether anything was known of it; routers of release 0.1.0 do not say.
    #[serde(default = "yes")]
    pub known: bool,
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
    /// What lies in the lanes; empty from routers of release 0.1.0 and before the first look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneStatus>,
    /// Consumers that do not deliver again what nobody has in hand; empty from older routers, and as a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalled: Vec<StalledConsumer>,
    /// How far the answering router's clock is ahead of the broker's, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
}

/// A consumer of the broker that waits for acknowledgements of messages that are in nobody's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StalledConsumer {
    /// Its stream.
    pub stream: String,
    /// Its name.
    pub consumer: String,
    /// How many messages.
    pub messages: u64,
    /// Since when the first of them has been in nobody's hands, Unix milliseconds.
    pub since_ms: i64,
}

/// What lies in one lane: accepted jobs that no router has placed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneStatus {
    /// Which lane.
    pub lane: Lane,
    /// Jobs in it.
    pub jobs: u64,
    /// For how long the oldest of them has waited, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_age_ms: Option<u64>,
}

/// A worker as the answering router judges its presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Presence {
    /// Which worker.
    pub worker: WorkerId,
    /// How old its latest offer is by the broker's clock, milliseconds.
    pub age_ms: u64,
    /// The offer is young enough for the worker to get jobs.
    pub is_fresh: bool,
    /// How far its clock is ahead of the broker's, milliseconds.
    pub clock_skew_ms: i64,
}

/// An attempt that has run for far longer than its kind takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StuckAttempt {
    /// Which worker has it.
    pub worker: WorkerId,
    /// Whose attempt.
    pub job: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// In which class.
    pub class: Class,
    /// For how long it has run, milliseconds.
    pub running_ms: u64,
    /// How long an attempt of its class takes there, milliseconds.
    pub usual_ms: u64,
}

/// One router, as it answers for itself on [`crate::subjects::FLEET_PRESENCE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterPresence {
    /// What it calls itself: `router-` and its process id.
    pub router: String,
    /// When it started, Unix milliseconds.
    pub started_at_ms: i64,
    /// How far its clock is ahead of the broker's, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
}

/// A breaker of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerStatus {
    /// What keeps it out.
    pub kind: BreakerKind,
    /// Which of its models; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Failures since it last succeeded, each job counted once.
    pub consecutive_failures: u32,
    /// Until when it is out, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until_ms: Option<i64>,
    /// What opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
    /// The breakers of its provider that opened and were not closed since, one for each kind and model. One whose time is
    /// over is half open: the next job tries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<BreakerStatus>,
    /// How present each worker is, in their order; empty from routers of release 0.1.0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub presence: Vec<Presence>,
    /// Attempts that have run for far too long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<StuckAttempt>,
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
