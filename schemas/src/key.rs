//! Idempotency keys: the same key and the same job within a day, or while the first job is open, is one job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Job, JobId, Tenant, codec};

/// The longest idempotency key, bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 256;

/// The first job that came with a key; in bucket `KEYS` for a day and until the job has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRecord {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// Whose key.
    pub tenant: Tenant,
    /// The job.
    pub job: JobId,
    /// Hash of everything but id and time ([`content`]), as hex: the rule of the first version.
    pub content_sha256: String,
    /// Hash of what was asked for ([`asked`]), as hex; none in a record of the first version, which is compared by its
    /// own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_sha256: Option<String>,
    /// When it was first seen, Unix milliseconds.
    pub time_ms: i64,
    /// The deadline that was asked for; none where the job has none, or the record is of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<AskedDeadline>,
}

/// A deadline as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedDeadline {
    /// The moment, Unix milliseconds.
    pub at_ms: i64,
    /// How long after the job was made by its client that is, milliseconds.
    pub in_ms: i64,
}

/// By how much two deadlines may differ that ask for the same time, milliseconds: a client may take as long from reading its
/// clock to making the job.
const SAME_WITHIN_MS: u64 = 5_000;

impl AskedDeadline {
    /// The deadline of a job.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let at_ms = job.constraints.deadline_ms?;
        Some(Self { at_ms, in_ms: at_ms.saturating_sub(job.time_ms) })
    }

    /// Whether two ask for the same: the same moment, or the same time from when the job was made.
    #[must_use]
    pub const fn is_same(self, other: Self) -> bool {
        self.at_ms == other.at_ms || self.in_ms.abs_diff(other.in_ms) <= SAME_WITHIN_MS
    }
}

/// The bytes by which two jobs with the same key are compared: everything but what differs when a client builds the
/// same request anew. That is its id, its time, and the moment of its deadline, which a client counts from its own
/// clock; whether it has a deadline is part of what was asked for, and how much time it leaves is compared beside these
/// bytes ([`AskedDeadline`]).
#[must_use]
pub fn asked(job: &Job) -> Vec<u8> {
    let mut asked = job.clone();
    asked.constraints.deadline_ms = asked.constraints.deadline_ms.map(|_| 0);
    content(&asked)
}

/// The same by the rule of the first version: everything but id and time.
#[must_use]
pub fn content(job: &Job) -> Vec<u8> {
    codec::encode(&Job { id: JobId::from_parts(0, [0; 10]), time_ms: 0, ..job.clone() })
}
