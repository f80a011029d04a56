//! The claims as this crate's callers know them; see [`runtime::claims`].

use std::time::Duration;

use async_nats::jetstream::kv;
use schemas::{AttemptId, AttemptRecord};

pub use protocol::{ClaimError, Held};

/// How often a claim is written before the broker is taken for away.
const TRIES: u32 = 5;

/// How long to wait between the tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The claims' bucket.
#[derive(Clone)]
pub struct Claims(runtime::claims::Claims);

/// What came of asking for a claim.
#[derive(Debug)]
pub enum Asked {
    /// It is ours.
    Granted(Held),
    /// Somebody was here before.
    Taken(Held),
}

impl Claims {
    /// Claims in a bucket.
    #[must_use]
    pub const fn new(store: kv::Store) -> Self {
        Self(runtime::claims::Claims::new(store))
    }

    /// Asks for the claim described by a record in state `intent`.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn ask(&self, record: AttemptRecord) -> Result<Asked, ClaimError> {
        Ok(match self.0.create(record).await? {
            protocol::Claimed::Granted(held) => Asked::Granted(held),
            protocol::Claimed::AlreadyClaimed(held) => Asked::Taken(held),
        })
    }

    /// See [`runtime::claims::Claims::read`].
    ///
    /// # Errors
    /// The same.
    pub async fn read(&self, attempt: AttemptId) -> Result<Option<Held>, ClaimError> {
        self.0.read(attempt).await
    }

    /// See [`runtime::claims::Claims::write`].
    ///
    /// # Errors
    /// The same.
    pub async fn write(&self, held: &mut Held, record: AttemptRecord) -> Result<(), ClaimError> {
        self.0.write(held, record).await
    }

    /// The same for what must not be lost because the broker is away for a moment. A try whose answer was lost may
    /// have been the one that is stored: [`ClaimError::Lost`] can be our own doing.
    ///
    /// # Errors
    /// As [`Claims::write`], after some seconds.
    pub async fn write_patiently(&self, held: &mut Held, record: AttemptRecord) -> Result<(), ClaimError> {
        for _ in 1..TRIES {
            match self.write(held, record.clone()).await {
                Err(ClaimError::Port { attempt, source }) => {
                    tracing::warn!(%attempt, error = %source, "the claim was not written, trying again");
                }
                written => return written,
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        self.write(held, record).await
    }
}
