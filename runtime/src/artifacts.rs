//! The artifact store: files that jobs need and make, as objects of a JetStream bucket.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context;
use async_nats::jetstream::object_store::{InfoErrorKind, ObjectInfo, ObjectStore};
use async_nats::jetstream::stream::Stream;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
pub use protocol::digest::sha256_hex;
use protocol::errors::Source;
use schemas::artifact::result_key;
use schemas::text::cut;
use schemas::{Artifact, ArtifactRef, AttemptId, Tenant};
use sha2::{Digest, Sha256};

use crate::media_type;

/// The largest file that is kept, bytes. Large video belongs to an S3 store.
pub const ARTIFACT_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A file is kept in pieces of this size.
const CHUNK_BYTES: usize = 128 * 1024;

/// A provider names the type; this much of the name is kept.
const MEDIA_TYPE_MAX_BYTES: usize = 100;

/// How often a file is read that is stored anew meanwhile.
const TRIES: u32 = 4;
/// How soon it is read again.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Why a file could not be stored or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not there.
    #[error("{bucket}/{key} is not in the artifact store")]
    Missing {
        /// The bucket.
        bucket: String,
        /// The object's name.
        key: String,
    },
    /// It is larger than the store takes.
    #[error("the file has {0} bytes; the store takes {ARTIFACT_MAX_BYTES}")]
    TooLarge(u64),
    /// The store did not answer, or did not do it.
    #[error("the artifact store failed: {what}: {source}")]
    Away {
        /// What was called for.
        what: String,
        /// The cause.
        source: Source,
    },
    /// What is there is not the file that was stored.
    #[error("the artifact store failed: {read_bytes} bytes of {bytes} do not have its hash")]
    Unreadable {
        /// How much was read.
        read_bytes: usize,
        /// How much it should be.
        bytes: usize,
    },
}

/// The store did not answer a call.
fn away<E: Into<Source>>(what: impl Into<String>) -> impl FnOnce(E) -> ArtifactError {
    let what = what.into();
    move |error| ArtifactError::Away { what, source: error.into() }
}

/// The artifact store.
#[derive(Clone)]
pub struct Artifacts {
    jetstream: jetstream::Context,
}

impl Artifacts {
    /// The store behind a broker.
    #[must_use]
    pub const fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// Stores bytes; the same key again replaces them.
    ///
    /// The client library's own way leaves the chunks of a file that did not fit where they are: each try at a
    /// full store would then fill what little room there is. Here they are taken away again.
    ///
    /// # Errors
    /// Too large, or the store failed.
    pub async fn put(&self, at: &ArtifactRef, bytes: &[u8]) -> Result<(), ArtifactError> {
        if bytes.len() as u64 > ARTIFACT_MAX_BYTES {
            return Err(ArtifactError::TooLarge(bytes.len() as u64));
        }
        let bucket = || format!("bucket {}", at.bucket);
        let stream = self.jetstream.get_stream_no_info(format!("OBJ_{}", at.bucket)).await;
        let stream = stream.map_err(away(bucket()))?;
        let before = self.store(&at.bucket).await?.info(&at.key).await.ok();
        let version = uuid::Uuid::now_v7().as_simple().to_string();
        let chunks = format!("$O.{}.C.{version}", at.bucket);
        if let Err(source) = self.write(at, &version, &chunks, bytes).await {
            if let Err(error) = stream.purge().filter(&chunks).await {
                tracing::warn!(key = at.key, %error, "chunks of a file that was not stored stay behind");
            }
            return Err(ArtifactError::Away { what: bucket(), source: source.into() });
        }
        if let Some(before) = before {
            let purged = stream.purge().filter(format!("$O.{}.C.{}", at.bucket, before.nuid)).await;
            if let Err(error) = purged {
                tracing::warn!(key = at.key, %error, "the chunks of the file before stay behind");
            }
        }
        Ok(())
    }

    /// Chunks first, then the entry that makes them a file.
    async fn write(
        &self,
        at: &ArtifactRef,
        version: &str,
        chunks: &str,
        bytes: &[u8],
    ) -> Result<(), context::PublishError> {
        let mut count = 0;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let published = self.jetstream.publish(chunks.to_owned(), Bytes::copy_from_slice(chunk)).await;
            published?.await?;
            count += 1;
        }
        let entry = serde_json::json!({
            "name": at.key,
            "bucket": at.bucket,
            "nuid": version,
            "size": bytes.len(),
            "chunks": count,
            "digest": format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(bytes))),
            "options": { "max_chunk_size": CHUNK_BYTES },
        });
        let subject = entry_subject(at);
        let mut headers = async_nats::HeaderMap::new();
        // The entry replaces the one before.
        headers.insert("Nats-Rollup", "sub");
        let published = self.jetstream.publish_with_headers(subject, headers, entry.to_string().into()).await;
        published?.await?;
        Ok(())
    }

    /// Fetches bytes.
    ///
    /// They are read chunk by chunk by subject. The client library's own way opens a consumer for each file and
    /// leaves it to its age, and the broker takes a thousand of them: who reads many small files is then refused.
    ///
    /// # Errors
    /// Missing, too large, or the store failed.
    pub async fn get(&self, at: &ArtifactRef) -> Result<Bytes, ArtifactError> {
        let store = self.store(&at.bucket).await?;
        let stream = self.jetstream.get_stream_no_info(format!("OBJ_{}", at.bucket)).await;
        let stream = stream.map_err(away(format!("bucket {}", at.bucket)))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let info = self.info(&store, at).await?;
            match chunks(&stream, &info).await {
                // Stored anew between the two reads, or read from a replica that lags.
                Err(error @ (ArtifactError::Away { .. } | ArtifactError::Unreadable { .. }))
                    if tries < TRIES =>
                {
                    tracing::debug!(key = at.key, %error, "reading again");
                    tokio::time::sleep(READ_AGAIN_AFTER).await;
                }
                read => return read,
            }
        }
    }

    /// The size of a file, bytes.
    ///
    /// # Errors
    /// Missing, too large, or the store failed.
    pub async fn size(&self, at: &ArtifactRef) -> Result<u64, ArtifactError> {
        let store = self.store(&at.bucket).await?;
        Ok(self.info(&store, at).await?.size as u64)
    }

    async fn info(&self, store: &ObjectStore, at: &ArtifactRef) -> Result<ObjectInfo, ArtifactError> {
        let missing = || ArtifactError::Missing { bucket: at.bucket.clone(), key: at.key.clone() };
        let info = store.info(&at.key).await.map_err(|error| match error.kind() {
            InfoErrorKind::NotFound => missing(),
            _ => away(at.key.as_str())(error),
        })?;
        match info.size as u64 {
            _ if info.deleted => Err(missing()),
            size if size > ARTIFACT_MAX_BYTES => Err(ArtifactError::TooLarge(size)),
            _ => Ok(info),
        }
    }

    async fn store(&self, bucket: &str) -> Result<ObjectStore, ArtifactError> {
        let store = self.jetstream.get_object_store(bucket).await;
        store.map_err(away(format!("bucket {bucket}")))
    }
}

/// Where the entry of a file lies that makes its chunks a file.
#[must_use]
pub fn entry_subject(at: &ArtifactRef) -> String {
    format!("$O.{}.M.{}", at.bucket, URL_SAFE.encode(&at.key))
}

/// All chunks of one version of a file, held against its size and its hash.
async fn chunks(stream: &Stream<()>, info: &ObjectInfo) -> Result<Bytes, ArtifactError> {
    let subject = format!("$O.{}.C.{}", info.bucket, info.nuid);
    // The size is a claim: no more than one chunk's worth is set aside before bytes are there.
    let mut bytes = Vec::with_capacity(info.size.min(CHUNK_BYTES));
    let mut next = 1;
    for chunk in 1..=info.chunks {
        let message = stream.direct_get_next_for_subject(subject.as_str(), Some(next)).await;
        let message = message.map_err(away(format!("chunk {chunk} of {}", info.chunks)))?;
        next = message.sequence + 1;
        bytes.extend_from_slice(&message.payload);
        if bytes.len() > info.size {
            break;
        }
    }
    let digest = format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(&bytes)));
    if bytes.len() != info.size || info.digest.as_ref().is_some_and(|announced| *announced != digest) {
        return Err(ArtifactError::Unreadable { read_bytes: bytes.len(), bytes: info.size });
    }
    Ok(Bytes::from(bytes))
}

/// What is announced about a produced file: its key, size, hash, and dimensions where it is a picture.
#[must_use]
pub fn describe(
    bucket: &str,
    tenant: Option<&Tenant>,
    attempt: AttemptId,
    index: usize,
    media_type: &str,
    bytes: &[u8],
) -> Artifact {
    let name = format!("{index}.{}", media_type::ending(media_type));
    let dimensions = dimensions(bytes);
    Artifact {
        at: ArtifactRef::new(bucket, result_key(tenant, attempt, &name)),
        media_type: cut(media_type, MEDIA_TYPE_MAX_BYTES).into_owned(),
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
        width: dimensions.map(|(width, _)| width),
        height: dimensions.map(|(_, height)| height),
        saved: None,
    }
}

/// Width and height of a PNG, a JPEG or a WebP, read from its header. None for anything else: a wrong
/// size is worse than no size.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    png(bytes).or_else(|| jpeg(bytes)).or_else(|| webp(bytes))
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return None;
    }
    let be = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    Some((be(16)?, be(20)?))
}

fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return None;
    }
    let mut at = 2;
    loop {
        let segment = bytes.get(at..at + 9)?;
        let length = usize::from(u16::from_be_bytes([segment[2], segment[3]]));
        // Start-of-frame markers hold the size; C4, C8 and CC are other things in the same range.
        if segment[0] == 0xff
            && matches!(segment[1], 0xc0..=0xcf)
            && !matches!(segment[1], 0xc4 | 0xc8 | 0xcc)
        {
            let height = u16::from_be_bytes([segment[5], segment[6]]);
            let width = u16::from_be_bytes([segment[7], segment[8]]);
            return Some((u32::from(width), u32::from(height)));
        }
        if segment[0] != 0xff || length < 2 {
            return None;
        }
        at += 2 + length;
    }
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    if bytes.get(0..4)? != b"RIFF" || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let le24 = |at: usize| {
        let part = bytes.get(at..at + 3)?;
        Some(u32::from_le_bytes([part[0], part[1], part[2], 0]))
    };
    match bytes.get(12..16)? {
        b"VP8X" => Some((le24(24)? + 1, le24(27)? + 1)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(bytes.get(21..25)?.try_into().ok()?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8 " => Some((le24(26)? & 0x3fff, le24(28)? & 0x3fff)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_or_not_told() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 2, 0, 0, 0, 1, 0]);
        assert_eq!(dimensions(&png), Some((512, 256)));
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0, 0, 17, 8, 0, 64, 0, 32, 3];
        assert_eq!(dimensions(&jpeg), Some((32, 64)));
        for junk in [&b""[..], b"RIFF", b"\x89PNG\r\n\x1a\n", &[0xff, 0xd8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(dimensions(junk), None);
        }
    }
}
