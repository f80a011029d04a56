//! Reads of the streams, as the steps need them: one message, the next of a subject, what a consumer has passed.

use async_nats::jetstream;
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures::TryStreamExt as _;
use protocol::router::BucketEntry;
use protocol::{PortError, StoredMessage};
use runtime::artifacts;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::{self, stream};
use schemas::{ArtifactRef, Backend, Queue, subjects};
use serde::de::DeserializeOwned;

use crate::shared::Router;

/// What an entry of a bucket does; none or [`KV_PUT`] for one that is there.
const KV_OPERATION: &str = "KV-Operation";
const KV_PUT: &str = "PUT";

/// Messages of one job that are read; far above what `max_attempts_ever` lets happen.
const READ_MAX: usize = 1_000;

/// The broker did not answer a call.
pub(crate) fn away<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl Fn(E) -> PortError {
    move |error| PortError::Away { what, source: error.into() }
}

/// What is there cannot be read.
pub(crate) fn unreadable<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl Fn(E) -> PortError {
    move |error| PortError::Unreadable { what, source: error.into() }
}

/// A stream, without asking the broker about it.
pub(crate) async fn open(
    jetstream: &jetstream::Context,
    name: &'static str,
) -> Result<Stream<()>, PortError> {
    jetstream.get_stream_no_info(name).await.map_err(away(name))
}

/// The next message of a subject from a sequence on.
pub(crate) async fn next(
    stream: &Stream<()>,
    what: &'static str,
    subject: &str,
    from: u64,
) -> Result<Option<StreamMessage>, PortError> {
    match stream.direct_get_next_for_subject(subject, Some(from)).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(away(what)(error)),
    }
}

/// The last message of a subject.
pub(crate) async fn last(
    stream: &Stream<()>,
    what: &'static str,
    subject: &str,
) -> Result<Option<StreamMessage>, PortError> {
    match stream.direct_get_last_for_subject(subject).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(away(what)(error)),
    }
}

/// The message at a sequence.
pub(crate) async fn at(
    stream: &Stream<()>,
    what: &'static str,
    sequence: u64,
) -> Result<Option<StreamMessage>, PortError> {
    match stream.direct_get(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(away(what)(error)),
    }
}

/// All messages of a subject, oldest first; one that cannot be read is passed over.
pub(crate) async fn all<T: DeserializeOwned>(
    router: &Router,
    name: &'static str,
    subject: &str,
) -> Result<Vec<T>, PortError> {
    let stream = open(&router.broker.jetstream, name).await?;
    let (mut from, mut found) = (1, Vec::new());
    for _ in 0..READ_MAX {
        let Some(message) = next(&stream, name, subject, from).await? else { break };
        from = message.sequence + 1;
        match codec::decode(None, &message.payload) {
            Ok(read) => found.push(read),
            Err(error) => tracing::warn!(subject = %message.subject, %error, "a message cannot be read"),
        }
    }
    Ok(found)
}

/// A message as it lies in its stream.
pub(crate) fn stored(message: StreamMessage) -> StoredMessage {
    let StreamMessage { subject, sequence, headers, payload, .. } = message;
    StoredMessage {
        subject: subject.to_string(),
        content_type: headers.get(CONTENT_TYPE).map(|value| value.as_str().to_owned()),
        payload: payload.to_vec(),
        sequence,
    }
}

/// When a file was stored and when it goes by its age; none where it stays, or is not there.
pub(crate) async fn input_kept(router: &Router, at: &ArtifactRef) -> Result<Option<(i64, i64)>, PortError> {
    const STORE: &str = "the artifact store";
    if at.bucket != topology::bucket::ARTIFACTS {
        return Ok(None);
    }
    let stream =
        router.broker.jetstream.get_stream(format!("OBJ_{}", at.bucket)).await.map_err(away(STORE))?;
    let kept_ms = i64::try_from(stream.cached_info().config.max_age.as_millis()).unwrap_or(i64::MAX);
    if kept_ms == 0 {
        return Ok(None);
    }
    let subject = artifacts::entry_subject(at);
    match stream.direct_get_last_for_subject(subject).await {
        Ok(entry) => {
            let stored_at_ms = runtime::clock::ms_of_ns(entry.time.unix_timestamp_nanos());
            Ok(Some((stored_at_ms, stored_at_ms.saturating_add(kept_ms))))
        }
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(away(STORE)(error)),
    }
}

/// The next entry of a bucket from a revision on.
pub(crate) async fn next_entry(
    router: &Router,
    bucket: &'static str,
    from: u64,
) -> Result<Option<BucketEntry>, PortError> {
    let stream = open_bucket(router, bucket).await?;
    let prefix = format!("$KV.{bucket}.");
    let Some(message) = next(&stream, bucket, &format!("{prefix}>"), from).await? else { return Ok(None) };
    Ok(Some(BucketEntry {
        key: message.subject.strip_prefix(&prefix).unwrap_or_default().to_owned(),
        is_removed: message.headers.get(KV_OPERATION).is_some_and(|operation| operation.as_str() != KV_PUT),
        revision: message.sequence,
        stored_at_ms: runtime::clock::ms_of_ns(message.time.unix_timestamp_nanos()),
        value: message.payload.to_vec(),
    }))
}

/// Removes an entry up to a revision of it: the broker leaves what was written since.
pub(crate) async fn remove_entry(
    router: &Router,
    bucket: &'static str,
    entry: &BucketEntry,
) -> Result<(), PortError> {
    let stream = open_bucket(router, bucket).await?;
    let subject = format!("$KV.{bucket}.{}", entry.key);
    let purge = stream.purge().sequence(entry.revision + 1).filter(subject);
    purge.await.map(|_| ()).map_err(away(bucket))
}

/// A bucket's stream, without asking the broker about it.
async fn open_bucket(router: &Router, bucket: &'static str) -> Result<Stream<()>, PortError> {
    let name = format!("KV_{bucket}");
    router.broker.jetstream.get_stream_no_info(name).await.map_err(away(bucket))
}

/// The subjects of a stream that a filter lets through, and how many messages each holds.
pub(crate) async fn subjects_of(
    router: &Router,
    name: &'static str,
    filter: String,
) -> Result<Vec<(String, usize)>, PortError> {
    let stream = open(&router.broker.jetstream, name).await?;
    let subjects = stream.info_with_subjects(filter).await.map_err(away(name))?;
    subjects.try_collect().await.map_err(away(name))
}

/// The subjects of `JOBS` that no lane reads. They are listed only where the stream holds more than its consumers have
/// to deliver or have in hand: that costs one answer of the broker, and the list one for many tenants.
pub(crate) async fn unread_subjects(router: &Router) -> Result<Vec<String>, PortError> {
    let jobs = router.broker.jetstream.get_stream(stream::JOBS).await.map_err(away(stream::JOBS))?;
    let held = jobs.cached_info().state.messages;
    if held == 0 {
        return Ok(Vec::new());
    }
    let consumers: Vec<Info> = jobs.consumers().try_collect().await.map_err(away(stream::JOBS))?;
    let read: u64 =
        consumers.iter().map(|consumer| consumer.num_pending + consumer.num_ack_pending as u64).sum();
    if held <= read {
        return Ok(Vec::new());
    }
    let all = subjects_of(router, stream::JOBS, subjects::JOBS_FILTER.to_owned()).await?;
    Ok(all.into_iter().map(|(subject, _)| subject).filter(|of| !subjects::is_read_by_intake(of)).collect())
}

/// The consumers of a stream. Nothing where the stream is empty.
pub(crate) async fn consumers(router: &Router, name: &'static str) -> Result<Vec<Info>, PortError> {
    let queue = router.broker.jetstream.get_stream(name).await.map_err(away(name))?;
    if queue.cached_info().state.messages == 0 {
        return Ok(Vec::new());
    }
    queue.consumers().try_collect().await.map_err(away(name))
}

/// The consumers of a stream, whether it holds anything or not.
pub(crate) async fn all_consumers(router: &Router, name: &'static str) -> Result<Vec<Info>, PortError> {
    let queue = open(&router.broker.jetstream, name).await?;
    queue.consumers().try_collect().await.map_err(away(name))
}

/// Removes a consumer; its stream keeps what it holds.
pub(crate) async fn remove_consumer(
    router: &Router,
    name: &'static str,
    consumer: &str,
) -> Result<(), PortError> {
    let queue = open(&router.broker.jetstream, name).await?;
    queue.delete_consumer(consumer).await.map(|_| ()).map_err(away(name))
}

/// What each consumer of a stream filters, and up to which sequence everything is acknowledged there. Nothing where the
/// stream is empty.
pub(crate) async fn acknowledged_up_to(
    router: &Router,
    name: &'static str,
) -> Result<Vec<(String, u64)>, PortError> {
    let passed = consumers(router, name)
        .await?
        .into_iter()
        .map(|consumer| (consumer.config.filter_subject, consumer.ack_floor.stream_sequence));
    Ok(passed.collect())
}

/// Jobs waiting or running in a backend's queue; none when no worker ever served it, or on an error.
pub(crate) async fn backlog(router: &Router, backend: &Backend, queue: &Queue) -> Option<u64> {
    let info = work_consumer(router, backend, queue).await.ok()??;
    Some(info.num_pending + info.num_ack_pending as u64)
}

/// From which sequence on no worker has got anything yet; none when no worker ever served the queue.
pub(crate) async fn undelivered_from(
    router: &Router,
    backend: &Backend,
    queue: &Queue,
) -> Result<Option<u64>, PortError> {
    let info = work_consumer(router, backend, queue).await?;
    Ok(info.map(|info| info.delivered.stream_sequence + 1))
}

async fn work_consumer(router: &Router, backend: &Backend, queue: &Queue) -> Result<Option<Info>, PortError> {
    let name = topology::work_consumer(backend, queue).name;
    let work = open(&router.broker.jetstream, stream::WORK).await?;
    match work.consumer_info(name).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
        Err(error) => Err(away("a consumer of WORK")(error)),
    }
}

/// Takes all assignments of a job out of their queues.
pub(crate) async fn purge_work(router: &Router, job: schemas::JobId) -> Result<(), PortError> {
    let work = router.broker.jetstream.get_stream(stream::WORK).await.map_err(away(stream::WORK))?;
    work.purge().filter(subjects::work_of_job(job)).await.map(|_| ()).map_err(away(stream::WORK))
}

/// Deletes a message; one that is gone is no error.
pub(crate) async fn delete(router: &Router, name: &'static str, sequence: u64) -> Result<(), PortError> {
    let stream = open(&router.broker.jetstream, name).await?;
    let Err(error) = stream.delete_message(sequence).await else { return Ok(()) };
    // The broker has no code of its own for a message that is gone.
    match at(&stream, name, sequence).await? {
        None => Ok(()),
        Some(_) => Err(away(name)(error)),
    }
}
