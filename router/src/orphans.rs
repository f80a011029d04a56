//! Messages that lie in a queue and that its consumer will never deliver: everything up to their number is answered
//! there, and they stay. A drill whose broker was killed again and again left one in JOBS (nats-server 2.15.1).
//!
//! Such a message is published again as it is, and then deleted. Whoever gets the copy treats it like any second
//! delivery: it finds the job's tracks, or takes the job up.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures::TryStreamExt as _;
use runtime::exit::Fault;
use runtime::metrics;
use runtime::publish::Message;
use runtime::telemetry;
use schemas::codec::CONTENT_TYPE;
use schemas::topology::stream;

use crate::fleet::rest;
use crate::shared::Router;

/// How often to look. A message must be an orphan twice: an answer that is on its way makes one for a moment.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Orphans of one consumer that are seen in one look, at most.
const EACH_MAX: usize = 100;

/// A message by its stream and its number there.
type Place = (&'static str, u64);

/// Looks until stopped.
///
/// # Errors
/// Never.
pub async fn run(router: Router) -> Result<(), Fault> {
    let mut before: BTreeSet<Place> = BTreeSet::new();
    while !router.soft.is_cancelled() {
        let mut now = BTreeSet::new();
        for name in [stream::JOBS, stream::WORK, stream::DEAD] {
            if let Err(reason) = look(&router, name, &before, &mut now).await {
                tracing::debug!(stream = name, error = reason, "looking for messages that nobody gets");
            }
        }
        before = now;
        rest(&router, LOOK_EVERY).await;
    }
    Ok(())
}

/// Sends on its way what was an orphan before, and notes what is one now.
async fn look(
    router: &Router,
    name: &'static str,
    before: &BTreeSet<Place>,
    now: &mut BTreeSet<Place>,
) -> Result<(), String> {
    let jetstream = &router.broker.jetstream;
    let queue = jetstream.get_stream(name).await.map_err(|error| telemetry::chain(&error))?;
    if queue.cached_info().state.messages == 0 {
        return Ok(());
    }
    let consumers: Vec<_> =
        queue.consumers().try_collect().await.map_err(|error| telemetry::chain(&error))?;
    for consumer in consumers {
        let passed = consumer.ack_floor.stream_sequence;
        for orphan in orphans(&queue, &consumer.config.filter_subject, passed).await? {
            let place = (name, orphan.sequence);
            if before.contains(&place) {
                send_again(router, &queue, name, orphan).await?;
            } else {
                now.insert(place);
            }
        }
    }
    Ok(())
}

/// What lies at or before the number up to which everything was answered.
async fn orphans(queue: &Stream, filter: &str, passed: u64) -> Result<Vec<StreamMessage>, String> {
    let (mut from, mut found) = (1, Vec::new());
    while from <= passed && found.len() < EACH_MAX {
        let next = match queue.direct_get_next_for_subject(filter, Some(from)).await {
            Ok(next) => next,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(telemetry::chain(&error)),
        };
        if next.sequence > passed {
            break;
        }
        from = next.sequence + 1;
        found.push(next);
    }
    Ok(found)
}

async fn send_again(
    router: &Router,
    queue: &Stream,
    name: &'static str,
    orphan: StreamMessage,
) -> Result<(), String> {
    let StreamMessage { subject, sequence, headers, payload, .. } = orphan;
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_str());
    // Several routers may see it: under this id the broker stores it once. It is not the job's id, so intake does not
    // take the copy for the first of its id, and looks for tracks.
    let id = format!("{name}.{sequence}.again");
    let copy = Message::original(subject.to_string(), id, payload.to_vec(), content_type);
    router.broker.publisher.publish(&copy).await.map_err(|error| error.to_string())?;
    tracing::warn!(stream = name, sequence, %subject, "the broker gave this message to nobody: sent again");
    metrics::ROUTER_ORPHANS.of([name.into()]).increment(1);
    // Another router may have deleted it.
    let _ = queue.delete_message(sequence).await;
    Ok(())
}
