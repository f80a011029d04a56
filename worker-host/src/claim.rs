//! The durable claim on paid attempts (promise P2): the `ATTEMPTS` bucket.
//!
//! *Create* is granted by the broker once per attempt, and every later change names the revision it
//! builds on; so of two workers with the same assignment one goes on and the other waits.

use std::time::Duration;

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use schemas::{AttemptId, AttemptRecord, codec};

use runtime::telemetry;

/// How often a claim is written before the broker is taken for away.
const TRIES: u32 = 5;

/// How long to wait between the tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The claims' bucket.
#[derive(Clone)]
pub struct Claims {
    store: kv::Store,
}

/// A claim that we hold, with the revision to build on.
#[derive(Debug, Clone)]
pub struct Held {
    /// What is written.
    pub record: Box<AttemptRecord>,
    /// The bucket's revision of it.
    pub revision: u64,
}

/// What came of asking for a claim.
#[derive(Debug)]
pub enum Asked {
    /// It is ours.
    Granted(Held),
    /// Somebody was here before.
    Taken(Held),
}

/// Why a claim could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else wrote in between.
    #[error("attempt {0} was claimed by somebody else in between")]
    Lost(AttemptId),
    /// The broker did not do it, or what is there cannot be read.
    #[error("claim of attempt {attempt}: {reason}")]
    Broker {
        /// Which attempt.
        attempt: AttemptId,
        /// In the broker's words.
        reason: String,
    },
}

impl Claims {
    /// Claims in a bucket.
    #[must_use]
    pub const fn new(store: kv::Store) -> Self {
        Self { store }
    }

    /// Asks for the claim described by a record in state `intent`.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn ask(&self, record: AttemptRecord) -> Result<Asked, ClaimError> {
        let attempt = record.id();
        match self.store.create(attempt.to_string(), codec::encode(&record).into()).await {
            Ok(revision) => Ok(Asked::Granted(Held { record: Box::new(record), revision })),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let held = self.read(attempt).await?.ok_or(ClaimError::Lost(attempt))?;
                Ok(Asked::Taken(held))
            }
            Err(error) => Err(ClaimError::Broker { attempt, reason: telemetry::chain(&error) }),
        }
    }

    /// Reads a claim.
    ///
    /// # Errors
    /// The broker did not answer, or the claim cannot be read.
    pub async fn read(&self, attempt: AttemptId) -> Result<Option<Held>, ClaimError> {
        let broker = |reason: String| ClaimError::Broker { attempt, reason };
        let entry = self.store.entry(attempt.to_string()).await;
        let entry = entry.map_err(|error| broker(telemetry::chain(&error)))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        let record =
            codec::decode::<AttemptRecord>(None, &entry.value).map_err(|error| broker(error.to_string()))?;
        Ok(Some(Held { record: Box::new(record), revision: entry.revision }))
    }

    /// Writes the next state of a claim that we hold.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when somebody else wrote since.
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
            Err(error) => Err(ClaimError::Broker { attempt, reason: telemetry::chain(&error) }),
        }
    }

    /// The same for what must not be lost because the broker is away for a moment. A try whose answer was lost may
    /// have been the one that is stored: [`ClaimError::Lost`] can be our own doing.
    ///
    /// # Errors
    /// As [`Claims::write`], after some seconds.
    pub async fn write_patiently(&self, held: &mut Held, record: AttemptRecord) -> Result<(), ClaimError> {
        for _ in 1..TRIES {
            match self.write(held, record.clone()).await {
                Err(ClaimError::Broker { attempt, reason }) => {
                    tracing::warn!(job = %attempt.job, attempt = attempt.attempt, error = reason, "the claim was not written, trying again");
                }
                written => return written,
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        self.write(held, record).await
    }
}
