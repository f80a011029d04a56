//! The buckets of keys and of requests to cancel.

use protocol::router::BucketEntry;
use schemas::Tenant;

use super::{Broker, ENTRIES_KEPT_MS};
use crate::simulation::ports::number;

impl Broker {
    /// Takes note of an entry in the bucket of keys or of cancel requests.
    pub(crate) fn put_entry(&mut self, bucket: &'static str, key: String, value: Vec<u8>, now_ms: i64) {
        self.entries.retain(|_, (of, entry)| *of != bucket || entry.key != key);
        self.revision += 1;
        let entry =
            BucketEntry { key, value, revision: self.revision, stored_at_ms: now_ms, is_removed: false };
        self.entries.insert(self.revision, (bucket, entry));
    }

    /// Removes an entry up to a revision of it.
    pub(crate) fn remove_entry(&mut self, entry: &BucketEntry) {
        if self.entries.remove(&entry.revision).is_some() {
            self.keys.remove(&entry.key);
            if let Ok(job) = entry.key.parse() {
                self.cancels.remove(&number(job));
            }
        }
    }

    /// How many keys a tenant has.
    pub(crate) fn keys_of(&self, tenant: &Tenant) -> usize {
        self.keys.values().filter(|record| record.tenant == *tenant).count()
    }

    /// Whether an entry is as old as routers keep every one.
    pub(crate) fn has_old_entries(&self, now_ms: i64) -> bool {
        self.entries.values().any(|(_, entry)| now_ms - entry.stored_at_ms >= ENTRIES_KEPT_MS)
    }
}
