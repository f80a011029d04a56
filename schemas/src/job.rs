//! What a client asks for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unknown::keeps_unknown_fields;
use crate::{ArtifactRef, Backend, JobId, MicroUsd, SCHEMA_VERSION, Tenant, UnknownFields};

/// The longest that a job may be as MessagePack, bytes: with its earlier attempts it travels in an assignment, which
/// must fit into a message.
pub const JOB_WIRE_MAX_BYTES: usize = 640 * 1024;

keeps_unknown_fields!(Job, Body, Input, Constraints, Preferences);

/// What a client wants made. Published to `argosy.jobs.<lane>.<tenant>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct Job {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// Chosen by the client; publish with it as `Nats-Msg-Id` and a repeat is a no-op.
    pub id: JobId,
    /// The client's own name for the request, unique to its tenant. Within a day the same key with the same
    /// content is the same job, whatever its id; with another content it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// When the client made it, Unix milliseconds.
    pub time_ms: i64,
    /// Who it is for and who pays.
    pub tenant: Tenant,
    /// How urgent it is.
    #[serde(default)]
    pub lane: Lane,
    /// What to make.
    pub body: Body,
    /// What must hold.
    #[serde(default)]
    pub constraints: Constraints,
    /// What would be nice.
    #[serde(default)]
    pub preferences: Preferences,
    /// The client's own words for its reports; carried into the ledger.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What this version does not know of it, kept and written again.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

impl Job {
    /// A plain job: nothing must hold, nothing would be nice.
    #[must_use]
    pub fn new(id: JobId, tenant: Tenant, body: Body, time_ms: i64) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            id,
            idempotency_key: None,
            time_ms,
            tenant,
            lane: Lane::default(),
            body,
            constraints: Constraints::default(),
            preferences: Preferences::default(),
            labels: BTreeMap::new(),
            unknown: UnknownFields::default(),
        }
    }
}

/// How urgent a job is. Each lane has its own queue, so an urgent job never waits behind a batch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// A person is looking at the screen.
    Interactive,
    /// Soon.
    #[default]
    Standard,
    /// Whenever there is room.
    Batch,
    /// Not one of ours; refused.
    #[serde(other)]
    Unknown,
}

impl Lane {
    /// The lanes that exist, most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Standard, Self::Batch];

    /// Its token in subjects, SQL and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Unknown => "unknown",
        }
    }
}

/// What is produced.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A still picture.
    #[default]
    Image,
    /// A moving one.
    Video,
    /// Not one of ours; refused.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Its token in SQL and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Unknown => "unknown",
        }
    }
}

/// What to make: a prompt, or a whole ComfyUI workflow in API format.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct Body {
    /// Image or video.
    pub kind: Kind,
    /// What it should show. Required unless there is a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What it should not show; backends without the notion ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// A ComfyUI graph in API format: a map from node id to `{class_type, inputs}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<serde_json::Value>,
    /// What goes beside the workflow to a ComfyUI server, and from there into the files that it saves: an object as a page
    /// sends it, with `extra_pnginfo`. Without keys of partners, which would be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_data: Option<serde_json::Value>,
    /// Whether what the workflow shows and does not save is kept as well, where the backend gives it: a ComfyUI of our own
    /// does. Otherwise previews are kept only where nothing is saved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_previews: bool,
    /// A model of the catalog; the catalog's default for the kind when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Pixels; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Sampling steps; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Same seed, same backend, same picture; derived from the job id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Length of a video, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u32>,
    /// Files that the workflow or the prompt refers to by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// What this version does not know of it, kept and written again.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// A file the job needs: put it into the artifact store, and name it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct Input {
    /// The name by which the workflow refers to it, e.g. `photo.png` in a `LoadImage` node.
    pub name: String,
    /// Where its bytes are: in bucket `ARTIFACTS` under `in/<tenant>/`, or a result of the same tenant.
    pub artifact: ArtifactRef,
    /// For example `image/png`.
    pub media_type: String,
    /// What this version does not know of it, kept and written again.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// What must hold for the job; never traded against anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(deny_unknown_fields)]
pub struct Constraints {
    /// The most that may be spent on the job, all attempts together. 0 means free backends only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micro_usd: Option<MicroUsd>,
    /// When it is of no more use, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
    /// Only these backends; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
    /// Never these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_backends: Vec<Backend>,
    /// Whether paid backends may be used, as far as the tenant's word leaves that to the job: `true` counts unless it is
    /// `never`, `false` always holds, and when absent only `always` allows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_paid: Option<bool>,
    /// After an attempt that may have been paid and whose outcome nobody can tell: may another be paid?
    /// When absent only if the job has a ceiling and it covers both; `true` also without a ceiling;
    /// `false` never. Free backends may always try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_unknown: Option<bool>,
    /// After a content refusal, try another backend (default: the job fails).
    #[serde(default)]
    pub failover_on_refusal: bool,
    /// Attempts in all; the fleet's bound when absent or larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// What this version does not know of it, kept and written again.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// What would be nice; weighs in the score and overrides no constraint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(deny_unknown_fields)]
pub struct Preferences {
    /// Which weights to score with.
    #[serde(default)]
    pub profile: Profile,
    /// Take this one if it is eligible at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// How long is long for this job, milliseconds; replaces the configured patience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
    /// What this version does not know of it, kept and written again.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// A named set of weights.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The default weights.
    #[default]
    Balanced,
    /// Cost before all.
    Cheapest,
    /// Speed before all.
    Fastest,
    /// Not one of ours; refused.
    #[serde(other)]
    Unknown,
}

impl Profile {
    /// Its token in configuration and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Unknown => "unknown",
        }
    }
}
