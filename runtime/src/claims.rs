//! The durable claim on paid attempts (promise P2): the `ATTEMPTS` bucket.
//!
//! *Create* is granted by the broker once per attempt, and every later change names the revision it
//! builds on; so of two workers with the same assignment one goes on and the other waits.

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use async_nats::jetstream::stream::Info;
pub use protocol::ClaimStore;
use protocol::errors::Source;
use protocol::{ClaimError, Claimed, Held, PortError};
use schemas::{AttemptId, AttemptRecord, codec};

use crate::clock;
use crate::require::is_full;

/// What errors name.
const BUCKET: &str = "bucket ATTEMPTS";

/// The claims' bucket.
#[derive(Clone)]
pub struct Claims {
    store: kv::Store,
}

impl Claims {
    /// Claims in a bucket.
    #[must_use]
    pub const fn new(store: kv::Store) -> Self {
        Self { store }
    }

    /// Creates the claim described by a record in state `intent`.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn create(&self, record: AttemptRecord) -> Result<Claimed, ClaimError> {
        let attempt = record.id();
        match self.store.create(attempt.to_string(), codec::encode(&record).into()).await {
            Ok(revision) => Ok(Claimed::Granted(Held { record: Box::new(record), revision })),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let held = self.read(attempt).await?.ok_or(ClaimError::Lost(attempt))?;
                Ok(Claimed::AlreadyClaimed(held))
            }
            Err(error) => Err(unwritten(attempt, error)),
        }
    }

    /// Reads a claim.
    ///
    /// # Errors
    /// The broker did not answer, or the claim cannot be read.
    pub async fn read(&self, attempt: AttemptId) -> Result<Option<Held>, ClaimError> {
        let entry = self.store.entry(attempt.to_string()).await.map_err(|error| away(attempt, error))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        let record = codec::decode::<AttemptRecord>(None, &entry.value).map_err(|error| {
            let source = PortError::Unreadable { what: BUCKET, source: Box::new(error) };
            ClaimError::Port { attempt, source }
        })?;
        Ok(Some(Held { record: Box::new(record), revision: entry.revision }))
    }

    /// Writes the next state of a claim that the process holds.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when it was written since.
    pub async fn write(&self, held: &mut Held, record: AttemptRecord) -> Result<(), ClaimError> {
        let attempt = record.id();
        let bytes = codec::encode(&record).into();
        match self.store.update(attempt.to_string(), bytes, held.revision).await {
            Ok(revision) => {
                *held = Held { record: Box::new(record), revision };
                Ok(())
            }
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                Err(ClaimError::Lost(attempt))
            }
            Err(error) => Err(unwritten(attempt, error)),
        }
    }

    /// The bucket as the broker has it now, and how full it is: one question.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn look(&self) -> Result<(ClaimStore, ClaimsRoom), PortError> {
        let info = self.info().await?;
        Ok((store_of(&info), room_of(&info)))
    }

    /// The bucket as the broker has it now.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn store(&self) -> Result<ClaimStore, PortError> {
        Ok(store_of(&self.info().await?))
    }

    /// How full the bucket is.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn room(&self) -> Result<ClaimsRoom, PortError> {
        Ok(room_of(&self.info().await?))
    }

    async fn info(&self) -> Result<Info, PortError> {
        let info = self.store.stream.get_info().await;
        info.map_err(|error| PortError::Away { what: BUCKET, source: error.into() })
    }
}

fn store_of(info: &Info) -> ClaimStore {
    let created_at_ms = clock::ms_of_ns(info.created.unix_timestamp_nanos());
    let kept_ms = i64::try_from(info.config.max_age.as_millis()).unwrap_or(i64::MAX);
    ClaimStore { created_at_ms, kept_ms: (kept_ms > 0).then_some(kept_ms) }
}

fn room_of(info: &Info) -> ClaimsRoom {
    let limit_bytes = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0);
    ClaimsRoom { bytes: info.state.bytes, limit_bytes }
}

/// A part of the bucket is left to the claims of work that runs: nothing new is started from here on.
const RUNNING_PART: u64 = 16;

/// How full the bucket of claims is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimsRoom {
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold; none where it has no limit of its own.
    pub limit_bytes: Option<u64>,
}

impl ClaimsRoom {
    /// Why no paid work is started, if so, and the cure.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let limit_bytes = self.limit_bytes?;
        let kept_bytes = limit_bytes / RUNNING_PART;
        (self.bytes.saturating_add(kept_bytes) > limit_bytes).then(|| {
            format!(
                "bucket ATTEMPTS has {} of {limit_bytes} bytes, of which {kept_bytes} are for the claims of what runs: {}",
                self.bytes,
                self.cure()
            )
        })
    }

    /// What makes the bucket larger.
    #[must_use]
    pub fn cure(&self) -> String {
        let limit_bytes = self.limit_bytes.unwrap_or(self.bytes);
        format!(
            "make it larger with `nats stream edit KV_ATTEMPTS --max-bytes {}`",
            limit_bytes.saturating_mul(2)
        )
    }

    /// Bytes that are left; none where there is no limit.
    #[must_use]
    pub const fn left_bytes(&self) -> Option<u64> {
        match self.limit_bytes {
            Some(limit_bytes) => Some(limit_bytes.saturating_sub(self.bytes)),
            None => None,
        }
    }
}

fn unwritten(attempt: AttemptId, error: impl std::error::Error + Send + Sync + 'static) -> ClaimError {
    if is_full(&error) { ClaimError::Full { attempt, source: error.into() } } else { away(attempt, error) }
}

fn away(attempt: AttemptId, source: impl Into<Source>) -> ClaimError {
    ClaimError::Port { attempt, source: PortError::Away { what: BUCKET, source: source.into() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_to_what_runs() {
        let of = |bytes, limit_bytes| ClaimsRoom { bytes, limit_bytes };
        assert_eq!(of(u64::MAX, None).refusal(), None);
        assert_eq!(of(1_500, Some(1_600)).refusal(), None);
        let refusal = of(1_501, Some(1_600)).refusal().expect("nearly full");
        assert!(refusal.contains("1501 of 1600 bytes") && refusal.contains("--max-bytes 3200"), "{refusal}");
        assert!(of(9_999, Some(1_600)).refusal().is_some(), "made smaller than what it holds");
        assert_eq!((of(9_999, Some(1_600)).left_bytes(), of(1, None).left_bytes()), (Some(0), None));
    }
}
