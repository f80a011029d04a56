//! What the steps need of the world. The processes implement these ports over NATS (`router`, `worker-host`), the
//! simulation over a simulated broker; the steps are the same code.
//!
//! A port does one thing and decides nothing. Calls are generic, so they stay static.

use std::sync::Arc;
use std::time::Duration;

use schemas::{
    Assignment, AttemptId, AttemptRecord, Catalog, DeadLetter, Event, JobId, Parked, PolicyConfig, PriceList,
    Tenant, TenantsConfig,
};

use crate::claim_store::{self, Absence, ClaimStore};
use crate::errors::{ClaimError, PortError, PublishError};
use crate::note::Note;

/// How often a publish that the broker did not answer is tried again.
pub const PUBLISH_AGAIN_MAX: u32 = 6;

/// How long the first rest before such a try is.
pub const PUBLISH_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// The longest rest before such a try.
pub const PUBLISH_AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Stored.
    New,
    /// Stored before, under the same message id.
    Repeat,
}

/// The four configuration documents, as one process reads them now.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// How to decide.
    pub policy: Arc<PolicyConfig>,
    /// What can be made.
    pub catalog: Arc<Catalog>,
    /// What it costs.
    pub prices: Arc<PriceList>,
    /// What each tenant may do.
    pub tenants: Arc<TenantsConfig>,
    /// The names of those whose newest revision this process cannot read, in order: their last good one is in force,
    /// and nothing new is paid.
    pub unreadable: Vec<&'static str>,
}

impl FleetConfig {
    /// The first document whose newest revision cannot be read here.
    #[must_use]
    pub fn unreadable(&self) -> Option<&'static str> {
        self.unreadable.first().copied()
    }

    /// Takes note of whether the newest revision of a document can be read here; whether that is news.
    pub fn mark(&mut self, document: &'static str, is_readable: bool) -> bool {
        match (self.unreadable.binary_search(&document), is_readable) {
            (Ok(at), true) => {
                self.unreadable.remove(at);
                true
            }
            (Err(at), false) => {
                self.unreadable.insert(at, document);
                true
            }
            _ => false,
        }
    }
}

/// What is published, with what makes a repeat of it harmless.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// An event. A job's `ended` and its first `assigned` are stored only onto an empty subject.
    Event(&'a Event),
    /// An `assigned` event of a later attempt, stored only right after the `assigned` event with this sequence. With 0
    /// the subject must be empty, so that it is refused.
    EventAfter(&'a Event, u64),
    /// An assignment. Its subject holds one message.
    Work(&'a Assignment),
    /// A failed attempt, under one id, whichever process publishes it.
    Failed(&'a DeadLetter),
    /// A message that is put aside for an operator.
    Parked {
        /// Its message id.
        id: &'a str,
        /// Whose job, where that is known.
        tenant: Option<&'a Tenant>,
        /// Which job, where that is known.
        job: Option<JobId>,
        /// What is stored.
        parked: &'a Parked,
    },
    /// A message as it lies in its stream, once more.
    Copy {
        /// Its new message id.
        id: &'a str,
        /// The message.
        message: &'a StoredMessage,
    },
}

/// A message as it lies in its stream.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Where it was published.
    pub subject: String,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Its place in the stream.
    pub sequence: u64,
}

/// A claim that a process holds, with the revision to build on.
#[derive(Debug, Clone)]
pub struct Held {
    /// What is written.
    pub record: Box<AttemptRecord>,
    /// The bucket's revision of it.
    pub revision: u64,
}

/// What came of creating a claim.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours.
    Granted(Held),
    /// Another delivery, or another process, was here before.
    AlreadyClaimed(Held),
}

/// The answer to the broker about a message that it delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is settled and leaves its queue.
    Acknowledge,
    /// It is delivered again, at once or after a while.
    HandBack(Option<Duration>),
    /// It is still in hand.
    Extend,
}

/// What routers and workers need.
pub trait Ports {
    /// A message as it is ready to be published.
    type Message;

    /// The time, Unix milliseconds.
    fn now_ms(&self) -> i64;
    /// Returns after that time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
    /// Whether the process is asked to stop.
    fn is_stopping(&self) -> bool;
    /// Returns when the process is asked to stop.
    fn stopping(&self) -> impl Future<Output = ()>;
    /// Whether a request to cancel the tenant's job is known here.
    fn is_cancelled(&self, tenant: &Tenant, job: JobId) -> bool;
    /// The configuration as it stands.
    fn config(&self) -> FleetConfig;
    /// Puts a message together, so that what it was made of need not stay in memory until it is stored.
    fn message(&self, record: Record<'_>) -> Self::Message;
    /// Stores a message. A broker that is away is tried again for some seconds.
    fn publish(&self, message: &Self::Message) -> impl Future<Output = Result<Published, PublishError>>;
    /// Creates the claim of an attempt; the broker grants that once.
    fn create_claim(&self, record: AttemptRecord) -> impl Future<Output = Result<Claimed, ClaimError>>;
    /// Reads the claim of an attempt. A replica that lags may show an older one, or none.
    fn read_claim(&self, attempt: AttemptId) -> impl Future<Output = Result<Option<Held>, ClaimError>>;
    /// Writes the next state of a claim; [`ClaimError::Lost`] when it was written since.
    fn write_claim(
        &self,
        held: &mut Held,
        record: AttemptRecord,
    ) -> impl Future<Output = Result<(), ClaimError>>;
    /// The claims' bucket as the broker has it now: an operator may have changed it.
    fn claim_store(&self) -> impl Future<Output = Result<ClaimStore, PortError>>;
    /// Takes note of what happened, for metrics.
    fn note(&self, note: Note<'_>);

    /// What it means if an attempt has no claim. The bucket is asked about only for paid work that is not young.
    fn absence_of_claim(
        &self,
        assigned_at_ms: i64,
        is_paid: bool,
    ) -> impl Future<Output = Result<Absence, PortError>> {
        async move {
            if !claim_store::is_to_be_compared(assigned_at_ms, is_paid, self.now_ms()) {
                return Ok(Absence::NotStarted);
            }
            Ok(self.claim_store().await?.absence(assigned_at_ms, self.now_ms()))
        }
    }

    /// Sleeps, but not past the stop.
    fn rest(&self, time: Duration) -> impl Future<Output = ()> {
        async move {
            crate::race::race(self.sleep(time), self.stopping()).await;
        }
    }

    /// Puts a record together and stores it.
    fn store(&self, record: Record<'_>) -> impl Future<Output = Result<Published, PublishError>> {
        let message = self.message(record);
        async move { self.publish(&message).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_counts_as_unreadable_until_it_can_be_read_again() {
        let mut config = FleetConfig {
            policy: Arc::new(policy::defaults::policy()),
            catalog: Arc::new(policy::defaults::catalog()),
            prices: Arc::new(policy::defaults::prices()),
            tenants: Arc::new(policy::defaults::tenants()),
            unreadable: Vec::new(),
        };
        assert!(!config.mark("tenants", true) && config.unreadable().is_none());
        assert!(config.mark("tenants", false) && config.mark("prices", false));
        assert!(!config.mark("prices", false), "it is no news");
        assert_eq!(config.unreadable(), Some("prices"));
        assert!(config.mark("prices", true));
        assert_eq!(config.unreadable(), Some("tenants"));
        assert!(config.mark("tenants", true) && config.unreadable().is_none());
    }
}
