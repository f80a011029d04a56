//! The work queues as a router sees them: how much is there, and which assignments still wait.

use async_nats::jetstream::consumer::{Info, pull};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use runtime::telemetry;
use schemas::topology::{self, stream};
use schemas::{Assignment, Backend, Class, JobId, codec, subjects};

use crate::shared::Router;

/// An assignment in its queue.
pub(crate) struct Queued {
    /// Where it lies in the stream.
    pub(crate) sequence: u64,
    /// What is to be done.
    pub(crate) assignment: Assignment,
}

/// Jobs waiting or running at a backend in a class; none when no worker ever served it, or on an error.
pub(crate) async fn backlog(router: &Router, backend: &Backend, class: &Class) -> Option<u64> {
    let info = consumer_info(router, backend, class).await?;
    Some(info.num_pending + info.num_ack_pending as u64)
}

/// From which sequence on no worker has got anything yet; none when no worker ever served the class.
pub(crate) async fn undelivered_from(router: &Router, backend: &Backend, class: &Class) -> Option<u64> {
    consumer_info(router, backend, class).await.map(|info| info.delivered.stream_sequence + 1)
}

/// The stream of assignments.
///
/// # Errors
/// The broker's words.
pub(crate) async fn work(router: &Router) -> Result<Stream<()>, String> {
    router.broker.jetstream.get_stream_no_info(stream::WORK).await.map_err(|error| telemetry::chain(&error))
}

/// The next assignment of a backend and class, from a sequence on. Unreadable ones are passed over: the next
/// worker that gets them parks them.
///
/// # Errors
/// The broker's words.
pub(crate) async fn next(
    work: &Stream<()>,
    backend: &Backend,
    class: &Class,
    from: u64,
) -> Result<Option<Queued>, String> {
    let (filter, mut from) = (subjects::work_filter(backend, class), from);
    loop {
        let message = match work.direct_get_next_for_subject(filter.clone(), Some(from)).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(telemetry::chain(&error)),
        };
        match codec::decode::<Assignment>(None, &message.payload) {
            Ok(assignment) => return Ok(Some(Queued { sequence: message.sequence, assignment })),
            Err(_) => from = message.sequence + 1,
        }
    }
}

/// Whether a job's assignment lies in its queue and no worker has got it yet.
///
/// # Errors
/// The broker's words.
pub(crate) async fn waits(
    router: &Router,
    backend: &Backend,
    class: &Class,
    job: JobId,
) -> Result<bool, String> {
    let Some(from) = undelivered_from(router, backend, class).await else { return Ok(true) };
    match work(router).await?.direct_get_last_for_subject(subjects::work(backend, class, job)).await {
        Ok(message) => Ok(message.sequence >= from),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(false),
        Err(error) => Err(telemetry::chain(&error)),
    }
}

async fn consumer_info(router: &Router, backend: &Backend, class: &Class) -> Option<Info> {
    let name = topology::work_consumer(backend, class).name;
    let jetstream = &router.broker.jetstream;
    let consumer = jetstream.get_consumer_from_stream::<pull::Config, _, _>(name, stream::WORK).await;
    consumer.ok().map(|consumer| consumer.cached_info().clone())
}
