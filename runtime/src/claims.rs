//! The durable claim on paid attempts (promise P2): the `ATTEMPTS` bucket.
//!
//! *Create* is granted by the broker once per attempt, and every later change names the revision it
//! builds on; so of two workers with the same assignment one goes on and the other waits.

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use protocol::errors::Source;
use protocol::{ClaimError, Claimed, Held, PortError};
use schemas::{AttemptId, AttemptRecord, codec};

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
            Err(error) => Err(away(attempt, error)),
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
            Err(error) => Err(away(attempt, error)),
        }
    }
}

fn away(attempt: AttemptId, source: impl Into<Source>) -> ClaimError {
    ClaimError::Port { attempt, source: PortError::Away { what: BUCKET, source: source.into() } }
}
