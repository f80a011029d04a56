//! One try of one job on one backend: what it did, what it cost, and the durable claim that guards
//! paid work (promise P2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Artifact, AttemptId, Backend, CarriedDecision, Class, Failure, JobId, MicroUsd, Usage, WorkerId,
};

/// Money of an attempt: opened `pending` when reserved, ended `posted` or `voided`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChargeState {
    /// Reserved, not yet known.
    Pending,
    /// Spent.
    Posted,
    /// Not spent.
    Voided,
    /// A state of a newer version.
    #[serde(other)]
    Unknown,
}

impl ChargeState {
    /// Its token in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Posted => "posted",
            Self::Voided => "voided",
            Self::Unknown => "unknown",
        }
    }
}

/// What an attempt costs at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Charge {
    /// Where it is in its life.
    pub state: ChargeState,
    /// Reserved while pending, spent when posted, 0 when voided.
    pub amount_micro_usd: MicroUsd,
    /// The provider could not tell whether it billed: booked, and shown as an overhead of its own.
    #[serde(default)]
    pub possibly_paid: bool,
}

impl Charge {
    /// Nothing was spent.
    pub const VOIDED: Self =
        Self { state: ChargeState::Voided, amount_micro_usd: MicroUsd::ZERO, possibly_paid: false };

    /// So much was spent.
    #[must_use]
    pub const fn posted(amount_micro_usd: MicroUsd) -> Self {
        Self { state: ChargeState::Posted, amount_micro_usd, possibly_paid: false }
    }

    /// So much may have been spent.
    #[must_use]
    pub const fn possibly_paid(amount_micro_usd: MicroUsd) -> Self {
        Self { state: ChargeState::Posted, amount_micro_usd, possibly_paid: true }
    }
}

/// An ended attempt, as it travels with the job and ends in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptFacts {
    /// Its number, from 1.
    pub attempt: u32,
    /// Where it ran.
    pub backend: Backend,
    /// In which class.
    pub class: Class,
    /// The catalog's model or the provider's.
    pub model: String,
    /// The process that ran it; none when it was taken back before it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The provider is a simulator.
    #[serde(default)]
    pub simulated: bool,
    /// When it was assigned, Unix milliseconds.
    pub assigned_at_ms: i64,
    /// When a worker began with it, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<i64>,
    /// When it ended, Unix milliseconds.
    pub finished_at_ms: i64,
    /// The provider's id of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// What the provider counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
    /// What it cost.
    pub charge: Charge,
    /// Energy measured on our own GPU, millijoules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<u64>,
    /// Why it failed; none when it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it was placed there; only where no `assigned` event told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<CarriedDecision>,
}

impl AttemptFacts {
    /// What of it goes on with the next attempts: no decision, which was published with it, and few words.
    #[must_use]
    pub fn as_history(&self) -> Self {
        let failure = self.failure.as_ref().map(Failure::brief);
        Self { decision: None, failure, ..self.clone() }
    }
}

/// A list of files that is too long for a message, as a file of its own: JSON, a list of [`Artifact`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The file that holds the list.
    pub file: Artifact,
    /// How many files it lists.
    pub count: u64,
    /// How many bytes they have in all.
    pub bytes: u64,
}

impl Manifest {
    /// So many files are named in messages; the list of more is a file.
    pub const INLINE_MAX: usize = 1_000;
}

/// What a backend says about an attempt that succeeded, or that failed after it cost something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// What was made; empty on failure. The first of them only, where there is a manifest.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// All that was made, where that is more than a message can name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// What the provider counted; the price list turns it into money.
    #[serde(default)]
    pub usage: Vec<Usage>,
    /// The provider's id of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// Energy measured on our own GPU, millijoules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<u64>,
    /// When the provider ran it, where the provider says so: not when it was handed over, nor when a worker looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<Box<RunSpan>>,
    /// Why it failed; none when it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// It ended before anything was asked of the provider: published again, it costs nothing either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unbegun: bool,
}

/// From when to when a provider ran an attempt: without the time in its queue, and without the time that its files took to
/// be fetched and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSpan {
    /// When it began, Unix milliseconds.
    pub started_at_ms: i64,
    /// When it ended, Unix milliseconds.
    pub ended_at_ms: i64,
}

/// Where a paid attempt is. Written before each step that cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// A worker is about to call the provider, and nobody else may.
    Intent,
    /// The provider answered with an id; from here on the attempt can be resumed.
    Started,
    /// It ended; the outcome is here, so that telling it again costs nothing.
    Settled,
    /// A state of a newer version.
    #[serde(other)]
    Unknown,
}

/// The claim on a paid attempt: key `<job>.<attempt>` of the `ATTEMPTS` bucket, made by *create*,
/// which the broker grants once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptRecord {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// The job.
    pub job: JobId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Where it runs.
    pub backend: Backend,
    /// Who claimed it last.
    pub worker: WorkerId,
    /// Where it is.
    pub state: AttemptState,
    /// When it was claimed, Unix milliseconds.
    pub claimed_at_ms: i64,
    /// When the provider answered, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<i64>,
    /// What was reserved for it.
    pub reserved_micro_usd: MicroUsd,
    /// The provider's id of the work, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// How it ended, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What the provider delivered, as soon as it is known and before it is stored. Whatever goes wrong from
    /// then on never starts new paid work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<DeliveredResult>,
    /// Of the delivery that wrote the claim last, so that it knows its own record where the broker's answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The provider did the work, and the result is on its way into the artifact store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveredResult {
    /// When it was delivered, Unix milliseconds.
    pub at_ms: i64,
    /// Until when the result is kept where it is now, Unix milliseconds. After that it is given up as
    /// delivered and not stored.
    pub kept_until_ms: i64,
    /// The worker whose spool has the result; none where the provider keeps it under its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spooled_by: Option<WorkerId>,
    /// What the provider counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
    /// The provider's id of the work, where it cannot be resumed by it; told with the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
}

impl AttemptRecord {
    /// Which attempt it is about.
    #[must_use]
    pub const fn id(&self) -> AttemptId {
        AttemptId { job: self.job, attempt: self.attempt }
    }
}
