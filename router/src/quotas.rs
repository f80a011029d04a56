//! How much of the shared buckets and of the inbox each tenant uses, counted by the broker and remembered for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use policy::inbox::{Inbox, InboxShare, UseOf};
use protocol::router::KeysLeft;
use runtime::count;
use schemas::topology::{bucket, stream};
use schemas::{Tenant, subjects};

/// How long a count is believed; what this router adds meanwhile is added to it.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Counts that are remembered.
const COUNTS_MAX: usize = 10_000;

/// What each tenant may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Messages of a tenant in the operator's inbox.
    pub parked_per_tenant: u64,
    /// Idempotency keys of a tenant.
    pub keys_per_tenant: u64,
    /// Requests to cancel of a tenant.
    pub cancels_per_tenant: u64,
}

/// What each tenant uses, as it was counted last.
#[derive(Debug, Clone)]
pub struct Quotas {
    limits: Limits,
    counts: Arc<Mutex<HashMap<String, Count>>>,
    inbox: Arc<Mutex<Option<InboxBytes>>>,
}

/// Bytes of the inbox, as they were asked for last.
#[derive(Debug, Clone, Copy)]
struct InboxBytes {
    at: Instant,
    bytes: u64,
    limit_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    at: Instant,
    messages: u64,
}

impl Quotas {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, counts: Arc::default(), inbox: Arc::default() }
    }

    /// What the inbox takes of one more message, which is then counted.
    pub(crate) async fn inbox_share(
        &self,
        jetstream: &jetstream::Context,
        tenant: Option<&Tenant>,
        use_of: UseOf,
    ) -> InboxShare {
        let filter = subjects::parked_of_tenant(tenant);
        let tenant_messages = self.take(jetstream, stream::PARKED, &filter).await;
        let (bytes, limit_bytes) = self.inbox_bytes(jetstream).await;
        let tenant_messages_max = self.limits.parked_per_tenant;
        let share = Inbox { tenant_messages, tenant_messages_max, bytes, limit_bytes }.share(use_of);
        if share == InboxShare::Nothing {
            self.give_back(&filter);
        }
        share
    }

    /// Whether the tenant may have one more key, which is then counted.
    pub(crate) async fn keys_left(&self, jetstream: &jetstream::Context, tenant: &Tenant) -> KeysLeft {
        let limit = self.limits.keys_per_tenant;
        if self.takes(jetstream, bucket::KEYS, tenant, limit).await {
            KeysLeft::Some
        } else {
            KeysLeft::None { limit }
        }
    }

    /// Whether the tenant may have one more request to cancel, which is then counted; how many it may have where not. Those
    /// that name no tenant have a share of their own, as if they were one tenant's.
    pub(crate) async fn take_cancel(
        &self,
        jetstream: &jetstream::Context,
        tenant: Option<&Tenant>,
    ) -> Result<(), u64> {
        let limit = self.limits.cancels_per_tenant;
        let is_taken = match tenant {
            Some(tenant) => self.takes(jetstream, bucket::CANCELS, tenant, limit).await,
            None => self.takes_nameless(jetstream, limit).await,
        };
        if is_taken { Ok(()) } else { Err(limit) }
    }

    /// A request that names a tenant is two entries, `<tenant>.<job>` and `<job>`, and one that names none the latter alone.
    async fn takes_nameless(&self, jetstream: &jetstream::Context, limit: u64) -> bool {
        let (stream, all) = (format!("KV_{}", bucket::CANCELS), format!("$KV.{}.*", bucket::CANCELS));
        let named = format!("{all}.*");
        let of_tenants = self.take(jetstream, &stream, &named).await;
        self.give_back(&named);
        let is_taken = self.take(jetstream, &stream, &all).await.saturating_sub(of_tenants) < limit;
        if !is_taken {
            self.give_back(&all);
        }
        is_taken
    }

    async fn takes(&self, jetstream: &jetstream::Context, bucket: &str, tenant: &Tenant, limit: u64) -> bool {
        let filter = format!("$KV.{bucket}.{tenant}.>");
        let is_taken = self.take(jetstream, &format!("KV_{bucket}"), &filter).await < limit;
        if !is_taken {
            self.give_back(&filter);
        }
        is_taken
    }

    /// Messages of a stream that a filter lets through, before one more, which is counted with them. A broker that does
    /// not answer is no reason to refuse anything.
    async fn take(&self, jetstream: &jetstream::Context, stream: &str, filter: &str) -> u64 {
        if let Some(before) = self.take_known(filter) {
            return before;
        }
        match count::messages(jetstream, stream, filter).await {
            Ok(messages) => {
                self.remember(filter, messages);
                self.take_known(filter).unwrap_or(messages)
            }
            Err(error) => {
                tracing::debug!(%error, stream, "counting what a tenant uses");
                0
            }
        }
    }

    fn take_known(&self, filter: &str) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get_mut(filter).filter(|count| count.at.elapsed() < COUNT_EVERY)?;
        count.messages += 1;
        Some(count.messages - 1)
    }

    /// Remembers what the broker counted, unless another has just remembered it: what was taken since is in that count.
    fn remember(&self, filter: &str, messages: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.get(filter).is_some_and(|count| count.at.elapsed() < COUNT_EVERY) {
            return;
        }
        if counts.len() >= COUNTS_MAX {
            counts.retain(|_, count| count.at.elapsed() < COUNT_EVERY);
        }
        if counts.len() < COUNTS_MAX {
            counts.insert(filter.to_owned(), Count { at: Instant::now(), messages });
        }
    }

    /// What was taken is not used.
    fn give_back(&self, filter: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(filter) {
            count.messages = count.messages.saturating_sub(1);
        }
    }

    async fn inbox_bytes(&self, jetstream: &jetstream::Context) -> (u64, Option<u64>) {
        let known = *self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.filter(|known| known.at.elapsed() < COUNT_EVERY) {
            return (known.bytes, known.limit_bytes);
        }
        let Ok(parked) = jetstream.get_stream(stream::PARKED).await else { return (0, None) };
        let info = parked.cached_info();
        let limit_bytes = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0);
        let (at, bytes) = (Instant::now(), info.state.bytes);
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(InboxBytes { at, bytes, limit_bytes });
        (bytes, limit_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_counts_until_the_broker_is_asked_again() {
        let quotas =
            Quotas::new(Limits { parked_per_tenant: 10, keys_per_tenant: 10, cancels_per_tenant: 10 });
        assert_eq!(quotas.take_known("argosy.parked.a.>"), None, "nothing is known before it is counted");
        quotas.remember("argosy.parked.a.>", 7);
        assert_eq!(quotas.take_known("argosy.parked.a.>"), Some(7));
        quotas.remember("argosy.parked.a.>", 7);
        assert_eq!(
            quotas.take_known("argosy.parked.a.>"),
            Some(8),
            "a count made at the same time changes nothing"
        );
        quotas.give_back("argosy.parked.a.>");
        assert_eq!(quotas.take_known("argosy.parked.a.>"), Some(8));
        assert_eq!(quotas.take_known("argosy.parked.b.>"), None);
    }
}
