//! Makes the broker hold what [`schemas::topology`] says, and tells where it does not.
//!
//! A limit that an operator raised stays as it is: only a limit that the operator names is lowered ([`Limit`]).

mod consumers;
mod limits;

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, object_store};
use protocol::errors::Source;
use schemas::topology::{BucketSpec, ConsumerSpec, ObjectStoreSpec, Retention, StreamSpec, Topology};

use consumers::merged_consumer;
use limits::Merge;

pub use consumers::consumer_config;
pub use limits::Limit;

use crate::exit::Fault;
use crate::require::{is_missing, require};
use crate::telemetry;

/// Why the topology could not be applied or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", telemetry::chain(&**.source))]
pub struct TopologyError {
    /// Which stream, consumer or bucket.
    pub what: String,
    /// What the broker or the connection said.
    pub source: Source,
}

fn failed<E: Into<Source>>(what: impl Into<String>) -> impl FnOnce(E) -> TopologyError {
    let what = what.into();
    move |error| TopologyError { what, source: error.into() }
}

/// The client library's form of a stream.
#[must_use]
pub fn stream_config(spec: &StreamSpec, replicas: usize) -> Config {
    Config {
        name: spec.name.clone(),
        description: Some(spec.description.clone()),
        subjects: spec.subjects.clone(),
        retention: match spec.retention {
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
            Retention::Limits => RetentionPolicy::Limits,
        },
        max_age: Duration::from_millis(spec.max_age_ms),
        max_bytes: spec.max_bytes,
        max_message_size: spec.max_message_bytes,
        max_messages_per_subject: if spec.max_messages_per_subject > 0 {
            spec.max_messages_per_subject
        } else {
            -1
        },
        discard: DiscardPolicy::New,
        discard_new_per_subject: spec.max_messages_per_subject > 0,
        duplicate_window: Duration::from_millis(spec.duplicate_window_ms),
        storage: StorageType::File,
        num_replicas: replicas,
        allow_direct: true,
        // For publishers with `nats.group_writes`.
        allow_atomic_publish: true,
        ..Config::default()
    }
}

pub(crate) fn bucket_config(spec: &BucketSpec, replicas: usize) -> kv::Config {
    kv::Config {
        bucket: spec.name.clone(),
        description: spec.description.clone(),
        history: spec.history,
        max_age: Duration::from_millis(spec.max_age_ms),
        max_bytes: spec.max_bytes,
        num_replicas: replicas,
        ..kv::Config::default()
    }
}

fn object_store_config(spec: &ObjectStoreSpec, replicas: usize) -> object_store::Config {
    object_store::Config {
        bucket: spec.name.clone(),
        description: Some(spec.description.clone()),
        max_age: Duration::from_millis(spec.max_age_ms),
        max_bytes: spec.max_bytes,
        num_replicas: replicas,
        ..object_store::Config::default()
    }
}

/// Creates what is missing and updates what differs; says what it did, a line each. Lowers no limit.
///
/// # Errors
/// The first thing that the broker refused.
pub async fn apply(
    jetstream: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<String>, TopologyError> {
    apply_lowering(jetstream, topology, &[]).await
}

/// The same, where these limits may be lowered as well.
///
/// # Errors
/// As [`apply`].
pub async fn apply_lowering(
    jetstream: &jetstream::Context,
    topology: &Topology,
    lower: &[Limit],
) -> Result<Vec<String>, TopologyError> {
    let mut done = Vec::new();
    for spec in &topology.streams {
        let what = format!("stream {}", spec.name);
        let want = stream_config(spec, topology.replicas);
        let changes = match existing(jetstream, &spec.name).await.map_err(failed(&what))? {
            None => {
                jetstream.create_stream(want).await.map_err(failed(&what))?;
                vec!["made".to_owned()]
            }
            Some(have) => {
                let mut merge = Merge::new(lower);
                update(jetstream, &what, merged(&mut merge, want, have), merge).await?
            }
        };
        done.push(line(&what, &changes));
    }
    for spec in &topology.consumers {
        let changes = bring_consumer(jetstream, spec, lower).await?.1;
        done.push(line(&format!("consumer {} of {}", spec.name, spec.stream), &changes));
    }
    for spec in &topology.buckets {
        let what = format!("bucket {}", spec.name);
        let changes = match existing(jetstream, &format!("KV_{}", spec.name)).await.map_err(failed(&what))? {
            None => {
                let config = bucket_config(spec, topology.replicas);
                jetstream.create_key_value(config).await.map_err(failed(&what))?;
                vec!["made".to_owned()]
            }
            Some(have) => {
                let mut merge = Merge::new(lower);
                let config = merged_bucket(&mut merge, spec, topology.replicas, have);
                update(jetstream, &what, config, merge).await?
            }
        };
        done.push(line(&what, &changes));
    }
    for spec in &topology.object_stores {
        let what = format!("object store {}", spec.name);
        let changes = match existing(jetstream, &format!("OBJ_{}", spec.name)).await.map_err(failed(&what))? {
            None => {
                let config = object_store_config(spec, topology.replicas);
                jetstream.create_object_store(config).await.map_err(failed(&what))?;
                vec!["made".to_owned()]
            }
            Some(have) => {
                let mut merge = Merge::new(lower);
                let config = merged_object_store(&mut merge, spec, topology.replicas, have);
                update(jetstream, &what, config, merge).await?
            }
        };
        done.push(line(&what, &changes));
    }
    Ok(done)
}

fn line(what: &str, changes: &[String]) -> String {
    if changes.is_empty() { what.to_owned() } else { format!("{what}: {}", changes.join(", ")) }
}

/// The configuration of a stream as it is there.
async fn existing(
    jetstream: &jetstream::Context,
    name: &str,
) -> Result<Option<Config>, jetstream::context::GetStreamError> {
    match jetstream.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn update(
    jetstream: &jetstream::Context,
    what: &str,
    config: Config,
    merge: Merge<'_>,
) -> Result<Vec<String>, TopologyError> {
    if !merge.changes.is_empty() {
        jetstream.update_stream(config).await.map_err(failed(what))?;
    }
    Ok(merge.changes)
}

/// Nothing was applied to this broker yet: stream `JOBS` is not there.
///
/// # Errors
/// The broker does not answer.
pub async fn is_new(jetstream: &jetstream::Context) -> Result<bool, TopologyError> {
    let name = schemas::topology::stream::JOBS;
    Ok(existing(jetstream, name).await.map_err(failed(format!("stream {name}")))?.is_none())
}

/// The most copies that a stream of the topology has; 1 where none is there.
///
/// # Errors
/// The broker does not answer.
pub async fn replicas(jetstream: &jetstream::Context) -> Result<usize, TopologyError> {
    let mut most = 1;
    for spec in Topology::new(1).streams {
        let have = existing(jetstream, &spec.name).await.map_err(failed(format!("stream {}", spec.name)))?;
        most = most.max(have.map_or(1, |have| have.num_replicas));
    }
    Ok(most)
}

/// A stream as it should be, with everything of it that is not ours as it is.
fn merged(merge: &mut Merge<'_>, want: Config, mut have: Config) -> Config {
    merge.exact("subjects", want.subjects, &mut have.subjects);
    merge.exact("retention", want.retention, &mut have.retention);
    merge.exact("discard", want.discard, &mut have.discard);
    merge.exact("storage", want.storage, &mut have.storage);
    // One message is an arbiter, and any other number a limit.
    if want.max_messages_per_subject == 1 {
        merge.exact(
            "max_messages_per_subject",
            want.max_messages_per_subject,
            &mut have.max_messages_per_subject,
        );
    } else {
        have.max_messages_per_subject = merge.limit(
            Limit::MessagesPerSubject,
            want.max_messages_per_subject,
            have.max_messages_per_subject,
        );
    }
    let is_limited = have.max_messages_per_subject > 0;
    merge.exact("discard_new_per_subject", is_limited, &mut have.discard_new_per_subject);
    merge.exact("allow_direct", want.allow_direct, &mut have.allow_direct);
    merge.exact("allow_atomic", want.allow_atomic_publish, &mut have.allow_atomic_publish);
    have.max_age = merge.time(Limit::MaxAge, want.max_age, have.max_age);
    have.max_bytes = merge.limit(Limit::MaxBytes, want.max_bytes, have.max_bytes);
    let size = merge.limit(Limit::MaxMessageSize, want.max_message_size.into(), have.max_message_size.into());
    have.max_message_size = i32::try_from(size).unwrap_or(i32::MAX);
    have.duplicate_window = merge.time(Limit::DuplicateWindow, want.duplicate_window, have.duplicate_window);
    have.num_replicas = merged_replicas(merge, want.num_replicas, have.num_replicas);
    have
}

fn merged_bucket(merge: &mut Merge<'_>, spec: &BucketSpec, replicas: usize, mut have: Config) -> Config {
    have.max_age = merge.time(Limit::MaxAge, Duration::from_millis(spec.max_age_ms), have.max_age);
    have.max_bytes = merge.limit(Limit::MaxBytes, spec.max_bytes, have.max_bytes);
    have.max_messages_per_subject = merge.limit(Limit::History, spec.history, have.max_messages_per_subject);
    have.num_replicas = merged_replicas(merge, replicas, have.num_replicas);
    have
}

fn merged_object_store(
    merge: &mut Merge<'_>,
    spec: &ObjectStoreSpec,
    replicas: usize,
    mut have: Config,
) -> Config {
    have.max_age = merge.time(Limit::MaxAge, Duration::from_millis(spec.max_age_ms), have.max_age);
    // Made smaller, the broker would throw away the oldest chunks, and files with them.
    if have.max_bytes > 0 && have.max_bytes < spec.max_bytes {
        have.max_bytes = merge.limit(Limit::MaxBytes, spec.max_bytes, have.max_bytes);
    }
    have.num_replicas = merged_replicas(merge, replicas, have.num_replicas);
    have
}

fn merged_replicas(merge: &mut Merge<'_>, want: usize, have: usize) -> usize {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    usize::try_from(merge.limit(Limit::Replicas, number(want), number(have))).unwrap_or(have)
}

/// Creates or updates one consumer and returns it. A limit of it that was raised stays.
///
/// # Errors
/// The broker refused.
pub async fn ensure_consumer(
    jetstream: &jetstream::Context,
    spec: &ConsumerSpec,
) -> Result<PullConsumer, TopologyError> {
    bring_consumer(jetstream, spec, &[]).await.map(|(consumer, _)| consumer)
}

async fn bring_consumer(
    jetstream: &jetstream::Context,
    spec: &ConsumerSpec,
    lower: &[Limit],
) -> Result<(PullConsumer, Vec<String>), TopologyError> {
    let what = || format!("consumer {} of {}", spec.name, spec.stream);
    let (config, changes) = match jetstream.get_consumer_from_stream(&spec.name, &spec.stream).await {
        Ok(consumer) => {
            let consumer: PullConsumer = consumer;
            let mut merge = Merge::new(lower);
            let config = merged_consumer(&mut merge, spec, &consumer.cached_info().config);
            if merge.changes.is_empty() {
                return Ok((consumer, merge.changes));
            }
            (config, merge.changes)
        }
        Err(error) if is_missing(&error) => (consumer_config(spec), vec!["made".to_owned()]),
        Err(error) => return Err(failed(what())(error)),
    };
    let stream = jetstream.get_stream(&spec.stream).await.map_err(failed(what()))?;
    let consumer = stream.create_consumer(config).await.map_err(failed(what()))?;
    Ok((consumer, changes))
}

/// A consumer as it is there, or made anew where it was deleted.
///
/// # Errors
/// The broker refused, or does not answer.
pub async fn find_or_make_consumer(
    jetstream: &jetstream::Context,
    spec: &ConsumerSpec,
) -> Result<PullConsumer, TopologyError> {
    match jetstream.get_consumer_from_stream(&spec.name, &spec.stream).await {
        Ok(consumer) => Ok(consumer),
        Err(error) if is_missing(&error) => {
            let made = ensure_consumer(jetstream, spec).await;
            if made.is_ok() {
                tracing::warn!(
                    stream = spec.stream,
                    consumer = spec.name,
                    "a consumer was deleted: made anew"
                );
            }
            made
        }
        Err(error) => Err(failed(format!("consumer {} of {}", spec.name, spec.stream))(error)),
    }
}

/// A consumer that `topology apply` made.
///
/// # Errors
/// `TopologyMissing` when it is not there, `BrokerAbsent` when the broker does not say.
pub async fn consumer(
    jetstream: &jetstream::Context,
    stream: &str,
    name: &str,
) -> Result<PullConsumer, Fault> {
    let what = format!("consumer {name} of {stream}");
    require(&what, || jetstream.get_consumer_from_stream(name, stream)).await
}

/// A bucket that `topology apply` made.
///
/// # Errors
/// `TopologyMissing` when it is not there, `BrokerAbsent` when the broker does not say.
pub async fn open_bucket(jetstream: &jetstream::Context, name: &str) -> Result<kv::Store, Fault> {
    require(&format!("bucket {name}"), || jetstream.get_key_value(name)).await
}

/// Compares the broker with the topology; a line for each thing that [`apply`] would change, none when they agree.
///
/// # Errors
/// The broker could not be asked.
pub async fn verify(
    jetstream: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<String>, TopologyError> {
    let replicas = topology.replicas;
    let mut differences = Vec::new();
    for spec in &topology.streams {
        let merge = |merge: &mut Merge<'_>, have| {
            merged(merge, stream_config(spec, replicas), have);
        };
        compare(jetstream, &format!("stream {}", spec.name), &spec.name, merge, &mut differences).await;
    }
    for spec in &topology.consumers {
        let what = format!("consumer {} of {}", spec.name, spec.stream);
        let found = jetstream.get_consumer_from_stream::<pull::Config, _, _>(&spec.name, &spec.stream).await;
        match found {
            Err(error) => differences.push(format!("{what}: {}", telemetry::chain(&error))),
            Ok(consumer) => {
                let mut merge = Merge::new(&[]);
                merged_consumer(&mut merge, spec, &consumer.cached_info().config);
                differences.extend(merge.differences.into_iter().map(|found| format!("{what}: {found}")));
            }
        }
    }
    for spec in &topology.buckets {
        let (what, stream) = (format!("bucket {}", spec.name), format!("KV_{}", spec.name));
        let merge = |merge: &mut Merge<'_>, have| {
            merged_bucket(merge, spec, replicas, have);
        };
        compare(jetstream, &what, &stream, merge, &mut differences).await;
    }
    for spec in &topology.object_stores {
        let (what, stream) = (format!("object store {}", spec.name), format!("OBJ_{}", spec.name));
        let merge = |merge: &mut Merge<'_>, have| {
            merged_object_store(merge, spec, replicas, have);
        };
        compare(jetstream, &what, &stream, merge, &mut differences).await;
    }
    Ok(differences)
}

async fn compare(
    jetstream: &jetstream::Context,
    what: &str,
    stream: &str,
    merged: impl FnOnce(&mut Merge<'_>, Config),
    differences: &mut Vec<String>,
) {
    match jetstream.get_stream(stream).await {
        Err(error) => differences.push(format!("{what}: {}", telemetry::chain(&error))),
        Ok(stream) => {
            let mut merge = Merge::new(&[]);
            merged(&mut merge, stream.cached_info().config.clone());
            differences.extend(merge.differences.into_iter().map(|found| format!("{what}: {found}")));
        }
    }
}
