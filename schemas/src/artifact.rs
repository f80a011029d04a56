//! Files that jobs need and make.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::cut_owned;
use crate::topology::bucket;
use crate::unknown::keeps_unknown_fields;
use crate::{AttemptId, JobId, Tenant, UnknownFields};

/// Where a file lies: an object of an object-store bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct ArtifactRef {
    /// The bucket, `ARTIFACTS` by default.
    pub bucket: String,
    /// The object's name in it.
    pub key: String,
    /// What this version does not know of it, kept and written again.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

keeps_unknown_fields!(ArtifactRef);

/// Where the files that a tenant's jobs need are put.
#[must_use]
pub fn input_key(tenant: &Tenant, sha256: &str) -> String {
    format!("in/{tenant}/{sha256}")
}

/// Where a file is put that an attempt of a tenant's job made. What release 0.1.0 left to be stored does not say whose it
/// is, and is put where that release puts it.
#[must_use]
pub fn result_key(tenant: Option<&Tenant>, attempt: AttemptId, name: &str) -> String {
    let AttemptId { job, attempt } = attempt;
    match tenant {
        Some(tenant) => format!("out/{tenant}/{job}/{attempt}/{name}"),
        None => format!("out/{job}/{attempt}/{name}"),
    }
}

/// What a job may name as its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file that was put there to be an input.
    Uploaded,
    /// A result of this job, which must be the same tenant's.
    ResultOf(JobId),
}

/// Why a reference cannot be a job's input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Another bucket than the artifacts'.
    #[error("bucket is `{0}`: a job's files come from the bucket {artifacts}; put the file there", artifacts = bucket::ARTIFACTS)]
    Bucket(String),
    /// Another tenant's folder.
    #[error("key `{key}` is another tenant's: put the file under in/{tenant}/ and name that key")]
    OtherTenant {
        /// The key.
        key: String,
        /// Whose job it is.
        tenant: Tenant,
    },
    /// Neither an input nor a result.
    #[error(
        "key `{key}` is neither an input nor a result: put the file under in/{tenant}/ and name that key"
    )]
    Neither {
        /// The key.
        key: String,
        /// Whose job it is.
        tenant: Tenant,
    },
}

impl ArtifactRef {
    /// The object `key` of a bucket.
    #[must_use]
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), unknown: UnknownFields::default() }
    }

    /// What the reference is to a job of this tenant: by its bucket and key, whether or not it exists.
    ///
    /// An input is `in/<tenant>/<name>`. `in/<name>`, without a tenant, is how inputs were stored before tenants had
    /// folders of their own; such names are hashes of the content, which only holders of the file know. A result is
    /// `out/<tenant>/<job>/<attempt>/<name>`, or `out/<job>/<attempt>/<name>`, as results were stored then.
    ///
    /// # Errors
    /// It can be no input of such a job.
    pub fn origin(&self, tenant: &Tenant) -> Result<Origin, OriginError> {
        if self.bucket != bucket::ARTIFACTS {
            return Err(OriginError::Bucket(self.bucket.clone()));
        }
        let key = || self.key.clone();
        let neither = || OriginError::Neither { key: key(), tenant: tenant.clone() };
        let other = || OriginError::OtherTenant { key: key(), tenant: tenant.clone() };
        let parts: Vec<&str> = self.key.split('/').collect();
        match parts[..] {
            ["in", name] if !name.is_empty() => Ok(Origin::Uploaded),
            ["in", folder, _, ..] if folder == tenant.as_str() => Ok(Origin::Uploaded),
            ["in", _, _, ..] => Err(other()),
            ["out", job, _, _] => job.parse().map(Origin::ResultOf).map_err(|_| neither()),
            ["out", folder, job, _, _] => match job.parse() {
                Err(_) => Err(neither()),
                Ok(job) if folder == tenant.as_str() => Ok(Origin::ResultOf(job)),
                Ok(_) => Err(other()),
            },
            _ => Err(neither()),
        }
    }
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
    /// What its workflow calls it, where a server said which node saved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Box<SavedAs>>,
}

/// The longest of the words in [`SavedAs`], bytes.
pub const SAVED_AS_MAX_BYTES: usize = 255;

impl SavedAs {
    /// The same, each word cut with a mark where it is longer than [`SAVED_AS_MAX_BYTES`].
    #[must_use]
    pub fn bounded(self) -> Self {
        let bounded = |text| cut_owned(text, SAVED_AS_MAX_BYTES);
        Self {
            node: self.node.map(bounded),
            file_name: bounded(self.file_name),
            subfolder: bounded(self.subfolder),
            prefix: self.prefix.map(bounded),
            preview: self.preview,
        }
    }
}

/// What a workflow calls a file that it saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedAs {
    /// The id of the node that saved it, where the server says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its name at the server, without folders.
    pub file_name: String,
    /// The folder that the workflow asked for, below the one of the attempt; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subfolder: String,
    /// The node's `filename_prefix` as the job has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The workflow shows it and does not save it: a preview, from the server's folder for temporary files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
}
