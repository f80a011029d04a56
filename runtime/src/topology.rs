//! Makes the broker hold what [`schemas::topology`] says, and tells where it does not.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, object_store};
use schemas::topology::{BucketSpec, ConsumerSpec, ObjectStoreSpec, Retention, StreamSpec, Topology};

use crate::exit::Fault;
use crate::telemetry;
use crate::there::{is_missing, there};

/// Why the topology could not be applied or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct TopologyError {
    /// Which stream, consumer or bucket.
    pub what: String,
    /// In the broker's words.
    pub reason: String,
}

fn failed<E: std::error::Error + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> TopologyError {
    let what = what.into();
    move |error| TopologyError { what, reason: telemetry::chain(&error) }
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

/// The client library's form of a consumer.
#[must_use]
pub fn consumer_config(spec: &ConsumerSpec) -> pull::Config {
    pull::Config {
        durable_name: Some(spec.name.clone()),
        filter_subject: spec.filter.clone(),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: Duration::from_millis(spec.ack_wait_ms),
        max_deliver: spec.max_deliver,
        max_ack_pending: spec.max_ack_pending,
        ..pull::Config::default()
    }
}

fn bucket_config(spec: &BucketSpec, replicas: usize) -> kv::Config {
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

/// Creates what is missing and updates what differs; says what it did, a line each.
///
/// # Errors
/// The first thing that the broker refused.
pub async fn apply(
    jetstream: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<String>, TopologyError> {
    let mut done = Vec::new();
    for spec in &topology.streams {
        let config = stream_config(spec, topology.replicas);
        jetstream.create_or_update_stream(config).await.map_err(failed(format!("stream {}", spec.name)))?;
        done.push(format!("stream {}", spec.name));
    }
    for spec in &topology.consumers {
        ensure_consumer(jetstream, spec).await?;
        done.push(format!("consumer {} of {}", spec.name, spec.stream));
    }
    for spec in &topology.buckets {
        let config = bucket_config(spec, topology.replicas);
        jetstream
            .create_or_update_key_value(config)
            .await
            .map_err(failed(format!("bucket {}", spec.name)))?;
        done.push(format!("bucket {}", spec.name));
    }
    for spec in &topology.object_stores {
        ensure_object_store(jetstream, spec, topology.replicas).await?;
        done.push(format!("object store {}", spec.name));
    }
    Ok(done)
}

/// Creates an object store, or makes it larger. It is never made smaller: the broker would throw away the oldest
/// chunks, and files with them.
async fn ensure_object_store(
    jetstream: &jetstream::Context,
    spec: &ObjectStoreSpec,
    replicas: usize,
) -> Result<(), TopologyError> {
    let what = || format!("object store {}", spec.name);
    let Ok(stream) = jetstream.get_stream(format!("OBJ_{}", spec.name)).await else {
        let made = jetstream.create_object_store(object_store_config(spec, replicas)).await;
        return made.map(|_| ()).map_err(failed(what()));
    };
    let mut config = stream.cached_info().config.clone();
    let has_limit = config.max_bytes > 0;
    if has_limit && config.max_bytes < spec.max_bytes {
        config.max_bytes = spec.max_bytes;
        jetstream.update_stream(config).await.map_err(failed(what()))?;
    }
    Ok(())
}

/// Creates or updates one consumer and returns it.
///
/// # Errors
/// The broker refused.
pub async fn ensure_consumer(
    jetstream: &jetstream::Context,
    spec: &ConsumerSpec,
) -> Result<PullConsumer, TopologyError> {
    let what = || format!("consumer {} of {}", spec.name, spec.stream);
    let stream = jetstream.get_stream(&spec.stream).await.map_err(failed(what()))?;
    stream.create_consumer(consumer_config(spec)).await.map_err(failed(what()))
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
                tracing::warn!(stream = spec.stream, consumer = spec.name, "a consumer was deleted: made anew");
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
    there(&what, || jetstream.get_consumer_from_stream(name, stream)).await
}

/// A bucket that `topology apply` made.
///
/// # Errors
/// `TopologyMissing` when it is not there, `BrokerAbsent` when the broker does not say.
pub async fn open_bucket(jetstream: &jetstream::Context, name: &str) -> Result<kv::Store, Fault> {
    there(&format!("bucket {name}"), || jetstream.get_key_value(name)).await
}

/// Compares the broker with the topology; a line for each difference, none when they agree.
///
/// # Errors
/// The broker could not be asked.
pub async fn verify(
    jetstream: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<String>, TopologyError> {
    let mut differences = Vec::new();
    for spec in &topology.streams {
        let want = stream_config(spec, topology.replicas);
        match jetstream.get_stream(&spec.name).await {
            Err(error) => differences.push(format!("stream {}: {}", spec.name, telemetry::chain(&error))),
            Ok(stream) => {
                differences.extend(stream_differences(&want, &stream.cached_info().config));
            }
        }
    }
    for spec in &topology.consumers {
        let found = jetstream.get_consumer_from_stream::<pull::Config, _, _>(&spec.name, &spec.stream).await;
        match found {
            Err(error) => differences.push(format!(
                "consumer {} of {}: {}",
                spec.name,
                spec.stream,
                telemetry::chain(&error)
            )),
            Ok(consumer) => {
                let have = &consumer.cached_info().config;
                let same = have.filter_subject == spec.filter
                    && have.max_deliver == spec.max_deliver
                    && have.max_ack_pending == spec.max_ack_pending
                    && have.ack_wait == Duration::from_millis(spec.ack_wait_ms);
                if !same {
                    differences.push(format!("consumer {} of {}: its limits differ", spec.name, spec.stream));
                }
            }
        }
    }
    let names = topology.buckets.iter().map(|spec| (format!("KV_{}", spec.name), "bucket", &spec.name));
    let stores = topology.object_stores.iter();
    let names = names.chain(stores.map(|spec| (format!("OBJ_{}", spec.name), "object store", &spec.name)));
    for (stream, what, name) in names {
        if let Err(error) = jetstream.get_stream(&stream).await {
            differences.push(format!("{what} {name}: {}", telemetry::chain(&error)));
        }
    }
    Ok(differences)
}

fn stream_differences(want: &Config, have: &Config) -> Vec<String> {
    let pairs = [
        ("subjects", format!("{:?}", want.subjects), format!("{:?}", have.subjects)),
        ("retention", format!("{:?}", want.retention), format!("{:?}", have.retention)),
        ("discard", format!("{:?}", want.discard), format!("{:?}", have.discard)),
        ("storage", format!("{:?}", want.storage), format!("{:?}", have.storage)),
        ("max_age", format!("{:?}", want.max_age), format!("{:?}", have.max_age)),
        ("max_bytes", want.max_bytes.to_string(), have.max_bytes.to_string()),
        ("max_message_size", want.max_message_size.to_string(), have.max_message_size.to_string()),
        (
            "max_messages_per_subject",
            want.max_messages_per_subject.to_string(),
            have.max_messages_per_subject.to_string(),
        ),
        ("duplicate_window", format!("{:?}", want.duplicate_window), format!("{:?}", have.duplicate_window)),
        ("allow_atomic", want.allow_atomic_publish.to_string(), have.allow_atomic_publish.to_string()),
        ("replicas", want.num_replicas.to_string(), have.num_replicas.to_string()),
    ];
    let differing = pairs.into_iter().filter(|(_, want, have)| want != have);
    differing
        .map(|(field, expected, found)| {
            format!("stream {}: {field} is {found}, should be {expected}", want.name)
        })
        .collect()
}
