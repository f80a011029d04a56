//! Bucket `BREAKERS`, written by revision: of several routers that heard the same one writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use schemas::breaker::BreakerRecord;
use schemas::codec;

/// The bucket, and which revision of each entry this router knows.
#[derive(Clone)]
pub struct BreakerStore {
    store: kv::Store,
    revisions: Arc<Mutex<HashMap<String, u64>>>,
}

impl BreakerStore {
    /// The breakers of a bucket.
    #[must_use]
    pub fn new(store: kv::Store) -> Self {
        Self { store, revisions: Arc::default() }
    }

    pub(crate) const fn store(&self) -> &kv::Store {
        &self.store
    }

    /// An entry has this revision.
    pub(crate) fn know(&self, key: &str, revision: u64) {
        let mut revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = revisions.entry(key.to_owned()).or_default();
        *known = (*known).max(revision);
    }

    fn known(&self, key: &str) -> Option<u64> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Writes what changed, on the revision that this router knows. Where another router was first it says the same, and
    /// the watch brings it.
    pub(crate) async fn write(&self, record: &BreakerRecord) -> Result<(), async_nats::Error> {
        let (key, value) = (record.key(), codec::encode(record));
        let written = match self.known(&key) {
            Some(revision) => match self.store.update(&key, value.into(), revision).await {
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => return Ok(()),
                written => written?,
            },
            None => match self.store.create(&key, value.into()).await {
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => return Ok(()),
                written => written?,
            },
        };
        self.know(&key, written);
        Ok(())
    }
}
