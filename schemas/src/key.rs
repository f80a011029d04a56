//! Idempotency keys: the same key and the same job within a day is one job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Job, JobId, Tenant, codec};

/// The longest idempotency key, bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 256;

/// The first job that came with a key; in bucket `KEYS` for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRecord {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// Whose key.
    pub tenant: Tenant,
    /// The job.
    pub job: JobId,
    /// Hash of what was asked for ([`content`]), as hex.
    pub content_sha256: String,
    /// When it was first seen, Unix milliseconds.
    pub time_ms: i64,
}

/// The bytes by which two jobs with the same key are compared: everything but id and time, which differ
/// when a client builds its request anew.
#[must_use]
pub fn content(job: &Job) -> Vec<u8> {
    codec::encode(&Job { id: JobId::from_parts(0, [0; 10]), time_ms: 0, ..job.clone() })
}
