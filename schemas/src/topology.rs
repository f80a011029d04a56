//! Streams, consumers and buckets as data. `argosy topology` applies and verifies them.
//!
//! Every limit has its number here; a full stream refuses publishes (`discard: new`), which is how
//! backpressure reaches the publisher. The broker sets these bytes aside, about 13 GiB in all where `storage.bytes` says no
//! more, and refuses a topology that its disk cannot hold.

pub mod bucket;
mod shares;

use serde::{Deserialize, Serialize};

use crate::subjects;
use crate::{Backend, Lane, Queue};

const MIB: i64 = 1024 * 1024;
const GIB: i64 = 1024 * MIB;
const MINUTE_MS: u64 = 60_000;
/// A day, milliseconds.
pub const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// Names of streams.
pub mod stream {
    /// Clients to routers.
    pub const JOBS: &str = "JOBS";
    /// Routers to workers.
    pub const WORK: &str = "WORK";
    /// Workers to routers: failed attempts.
    pub const DEAD: &str = "DEAD";
    /// Facts.
    pub const EVENTS: &str = "EVENTS";
    /// The operator's inbox.
    pub const PARKED: &str = "PARKED";
    /// The broker's word on messages delivered too often.
    pub const ADVISORIES: &str = "ADVISORIES";
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// Gone when acknowledged.
    WorkQueue,
    /// Gone when too old.
    Limits,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it takes.
    pub subjects: Vec<String>,
    /// What happens to a message.
    pub retention: Retention,
    /// Oldest message, milliseconds; 0 for no limit.
    pub max_age_ms: u64,
    /// Size in all, bytes.
    pub max_bytes: i64,
    /// Size of one message, bytes.
    pub max_message_bytes: i32,
    /// Messages of one subject; 0 for no limit.
    pub max_messages_per_subject: i64,
    /// How long message ids are remembered, milliseconds.
    pub duplicate_window_ms: u64,
}

/// A durable pull consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerSpec {
    /// Of which stream.
    pub stream: String,
    /// Its durable name.
    pub name: String,
    /// What it takes.
    pub filter: String,
    /// How long a delivery may stay unanswered, milliseconds.
    pub ack_wait_ms: u64,
    /// Deliveries before the broker gives up and says so; -1 for never.
    pub max_deliver: i64,
    /// Deliveries that may be unanswered at once.
    pub max_ack_pending: i64,
}

/// A key-value bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSpec {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Age at which a value is gone, milliseconds; 0 for no limit.
    pub max_age_ms: u64,
    /// Values kept of a key.
    pub history: i64,
    /// Size in all, bytes.
    pub max_bytes: i64,
}

/// An object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStoreSpec {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Age at which a file is gone, milliseconds.
    pub max_age_ms: u64,
    /// Size in all, bytes.
    pub max_bytes: i64,
}

/// Everything the fleet needs of the broker, but for the work consumers of each queue ([`work_consumer`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Copies of each stream: 1 on a single node, 3 on a cluster.
    pub replicas: usize,
    /// The streams.
    pub streams: Vec<StreamSpec>,
    /// The consumers of routers and ledger.
    pub consumers: Vec<ConsumerSpec>,
    /// The buckets.
    pub buckets: Vec<BucketSpec>,
    /// The object stores.
    pub object_stores: Vec<ObjectStoreSpec>,
}

/// How long a worker may be silent about a delivery, milliseconds; it speaks up at a third of it.
pub const WORK_ACK_WAIT_MS: u64 = 15_000;

/// Jobs of one tenant that may wait in one lane: a million waiting jobs of ten tenants are possible, and none of them alone
/// fills the stream with small jobs. The broker refuses the next one. It has no limit of bytes for a subject: a tenant whose
/// jobs are large meets the stream's limit first, and so do the others.
pub const JOBS_OF_TENANT_MAX: i64 = 250_000;

/// How long a router may be silent about a job in hand, milliseconds.
pub const INTAKE_ACK_WAIT_MS: u64 = 15_000;

/// A worker that died with the same assignment this often killed itself with it: `poison`.
pub const POISON_DELIVERIES: i64 = 3;

/// Age at which presence is gone from its bucket, milliseconds.
pub const OFFER_TTL_MS: u64 = 15_000;

/// How long message ids are remembered, milliseconds.
pub const DUPLICATE_WINDOW_MS: u64 = 2 * MINUTE_MS;

/// How long a failed attempt, an advisory or an event may stay unanswered, milliseconds.
pub const FACTS_ACK_WAIT_MS: u64 = 30_000;

/// How often the broker delivers an assignment before it gives up. Far above [`POISON_DELIVERIES`]: workers count
/// themselves, this is the net below.
pub const WORK_DELIVERIES_MAX: i64 = 20;

/// How long the claim of a paid attempt is kept, milliseconds.
pub const CLAIMS_KEPT_MS: u64 = 14 * DAY_MS;

/// The largest published message, bytes.
pub const MESSAGE_MAX_BYTES: i32 = 1024 * 1024;

impl Topology {
    /// The same in fixed shares of so many bytes; what is larger without them stays as it is.
    #[must_use]
    pub fn with_storage_bytes(mut self, storage_bytes: i64) -> Self {
        for stream in &mut self.streams {
            stream.max_bytes = shares::bytes(&stream.name, stream.max_bytes, storage_bytes);
        }
        for bucket in &mut self.buckets {
            bucket.max_bytes = shares::bytes(&bucket.name, bucket.max_bytes, storage_bytes);
        }
        for store in &mut self.object_stores {
            store.max_bytes = shares::bytes(&store.name, store.max_bytes, storage_bytes);
        }
        self
    }

    /// The same with room for so many bytes of files.
    #[must_use]
    pub fn with_artifacts_bytes(mut self, max_bytes: i64) -> Self {
        for store in &mut self.object_stores {
            store.max_bytes = max_bytes;
        }
        self
    }

    /// The same with claims on paid attempts that are kept for so many days.
    #[must_use]
    pub fn with_claims_days(mut self, days: u64) -> Self {
        for bucket in self.buckets.iter_mut().filter(|bucket| bucket.name == bucket::ATTEMPTS) {
            bucket.max_age_ms = days.saturating_mul(DAY_MS);
        }
        self
    }

    /// The same with files that are kept for so many days.
    #[must_use]
    pub fn with_artifacts_days(mut self, days: u64) -> Self {
        for store in &mut self.object_stores {
            store.max_age_ms = days.saturating_mul(DAY_MS);
        }
        self
    }

    /// The topology of this version.
    #[must_use]
    pub fn new(replicas: usize) -> Self {
        Self {
            replicas,
            streams: streams(),
            consumers: consumers(),
            buckets: buckets(),
            object_stores: vec![ObjectStoreSpec {
                name: bucket::ARTIFACTS.to_owned(),
                description: "Files that jobs need and make".to_owned(),
                max_age_ms: 7 * DAY_MS,
                max_bytes: 4 * GIB,
            }],
        }
    }
}

fn queue(name: &str, description: &str, subject: &str, max_bytes: i64) -> StreamSpec {
    StreamSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        subjects: vec![subject.to_owned()],
        retention: Retention::WorkQueue,
        max_age_ms: 0,
        max_bytes,
        max_message_bytes: MESSAGE_MAX_BYTES,
        max_messages_per_subject: 0,
        duplicate_window_ms: DUPLICATE_WINDOW_MS,
    }
}

fn log(name: &str, description: &str, subject: &str, max_age_ms: u64, max_bytes: i64) -> StreamSpec {
    StreamSpec { retention: Retention::Limits, max_age_ms, ..queue(name, description, subject, max_bytes) }
}

fn streams() -> Vec<StreamSpec> {
    vec![
        StreamSpec {
            // Exactly what intake reads: the broker refuses a publish to any other lane, instead of storing what no
            // consumer delivers.
            subjects: Lane::ALL.into_iter().map(subjects::jobs_filter).collect(),
            max_messages_per_subject: JOBS_OF_TENANT_MAX,
            ..queue(stream::JOBS, "Clients to routers", "", 2 * GIB)
        },
        StreamSpec {
            // One waiting assignment per job: a second is refused by the broker.
            max_messages_per_subject: 1,
            ..queue(stream::WORK, "Routers to workers", subjects::WORK_FILTER, GIB)
        },
        queue(stream::DEAD, "Failed attempts, to routers", "argosy.dead.*.*", GIB),
        // The ledger makes room (`ledger/src/room.rs`): what it has not booked stays, however long it is away.
        log(stream::EVENTS, "Facts about jobs", subjects::EVENTS_FILTER, 0, 3 * GIB),
        StreamSpec {
            // A parked message holds its original's bytes as base64, and the history.
            max_message_bytes: 2 * MESSAGE_MAX_BYTES,
            ..log(stream::PARKED, "The operator's inbox", "argosy.parked.*.*.*", 30 * DAY_MS, GIB)
        },
        log(
            stream::ADVISORIES,
            "Messages delivered too often",
            subjects::MAX_DELIVERIES_FILTER,
            DAY_MS,
            64 * MIB,
        ),
    ]
}

/// The durable name of a lane's intake consumer.
#[must_use]
pub fn intake_consumer_name(lane: Lane) -> String {
    format!("router-{}", lane.as_str())
}

/// The durable name of the routers' consumer of failed attempts.
pub const DEAD_CONSUMER: &str = "router-dead";
/// The durable name of the routers' advisory consumer.
pub const ADVISORY_CONSUMER: &str = "router-advisories";
/// The durable name of the ledger's event consumer.
pub const LEDGER_CONSUMER: &str = "ledger";

fn consumers() -> Vec<ConsumerSpec> {
    let consumer = |stream: &str, name: String, filter: String, max_ack_pending: i64| ConsumerSpec {
        stream: stream.to_owned(),
        name,
        filter,
        ack_wait_ms: FACTS_ACK_WAIT_MS,
        max_deliver: -1,
        max_ack_pending,
    };
    // Jobs that wait for room count as pending: a lane may put so many aside before it stalls.
    let intake = Lane::ALL.into_iter().map(|lane| ConsumerSpec {
        ack_wait_ms: INTAKE_ACK_WAIT_MS,
        ..consumer(stream::JOBS, intake_consumer_name(lane), subjects::jobs_filter(lane), 20_000)
    });
    intake
        .chain([
            consumer(stream::DEAD, DEAD_CONSUMER.to_owned(), subjects::DEAD_FILTER.to_owned(), 20_000),
            consumer(
                stream::ADVISORIES,
                ADVISORY_CONSUMER.to_owned(),
                subjects::MAX_DELIVERIES_FILTER.to_owned(),
                1_000,
            ),
            consumer(stream::EVENTS, LEDGER_CONSUMER.to_owned(), subjects::EVENTS_FILTER.to_owned(), 20_000),
        ])
        .collect()
}

/// The consumer that the workers of a backend share for one queue. Workers create it when they join.
#[must_use]
pub fn work_consumer(backend: &Backend, queue: &Queue) -> ConsumerSpec {
    ConsumerSpec {
        stream: stream::WORK.to_owned(),
        name: format!("{backend}-{queue}"),
        filter: subjects::work_filter(backend, queue),
        ack_wait_ms: WORK_ACK_WAIT_MS,
        max_deliver: WORK_DELIVERIES_MAX,
        max_ack_pending: 10_000,
    }
}

/// How long the bill of a day is kept, milliseconds: the ledger reads all of them when it starts.
const BILLS_AGE_MS: u64 = 40 * DAY_MS;

fn buckets() -> Vec<BucketSpec> {
    let bucket = |name: &str, description: &str, max_age_ms: u64, history: i64, max_bytes: i64| BucketSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        max_age_ms,
        history,
        max_bytes,
    };
    vec![
        bucket(bucket::WORKERS, "Worker id to offer", OFFER_TTL_MS, 1, 64 * MIB),
        bucket(bucket::ATTEMPTS, "Paid attempts: claim, provider id, outcome", CLAIMS_KEPT_MS, 5, 512 * MIB),
        // No age: routers remove what is old and whose job is over.
        bucket(bucket::KEYS, "Idempotency keys: the first job of each", 0, 1, 256 * MIB),
        bucket(bucket::CANCELS, "Jobs to be cancelled", 0, 1, 64 * MIB),
        bucket(bucket::BILLS, "What providers bill for an endpoint and day", BILLS_AGE_MS, 1, 16 * MIB),
        bucket(bucket::BREAKERS, "What keeps providers out", 0, 5, 8 * MIB),
        bucket(bucket::CONFIG, "Policy, catalog, prices, tenants", 0, 20, 64 * MIB),
    ]
}
