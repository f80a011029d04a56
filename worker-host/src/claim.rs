//! The claims as this crate's callers know them; see [`runtime::claims`].

use async_nats::jetstream::kv;
use schemas::AttemptRecord;

pub use protocol::{ClaimError, Held};

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
}
