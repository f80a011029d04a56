//! The operator's inbox: what ended `failed`, or could not be read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptFacts, Failure};

/// Something put aside with its reason. Published to `argosy.parked.<tenant>.<code>.<job>`; what cannot
/// be read has `unknown` for the names it does not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Why.
    pub failure: Failure,
    /// Where the message was first published, for redriving it.
    pub subject: String,
    /// Its `Content-Type` header, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its original bytes as base64, so that they survive both encodings.
    pub payload_base64: String,
    /// The attempts that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptFacts>,
}
