//! Files that jobs need and make.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a file lies: an object of an object-store bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactRef {
    /// The bucket, `ARTIFACTS` by default.
    pub bucket: String,
    /// The object's name in it.
    pub key: String,
}

/// A produced file. Announced only after it can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Where it lies.
    #[serde(flatten)]
    pub at: ArtifactRef,
    /// For example `image/png`.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
    /// Pixels, where it is a picture we can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels, where it is a picture we can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}
