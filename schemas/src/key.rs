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
}

/// The bytes by which two jobs with the same key are compared: everything but what differs when a client builds the
/// same request anew. That is its id, its time, and the moment of its deadline, which a client counts from its own
/// clock; whether it has a deadline is part of what was asked for.
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
