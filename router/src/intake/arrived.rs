//! A job's message as intake sees it: delivered by the lane's consumer, or read past it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{self, AckKind};
use async_nats::{Client, Subject};
use bytes::Bytes;
use runtime::broker::Broker;
use runtime::clock;
use runtime::telemetry;
use schemas::JobId;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::{self, stream};

use crate::ending::Original;

/// How long after its id was made a job that is published is the first of that id: half the time for which the broker
/// remembers ids. The other half is for clocks that differ.
const FRESH_MS: i64 = topology::DUPLICATE_WINDOW_MS.cast_signed() / 2;

/// How far in the future an id may seem to have been made.
const CLOCKS_DIFFER_MS: i64 = FRESH_MS / 2;

/// How long a job may have waited in its lane and still be the first of its id: one that was read past the consumer and
/// placed meanwhile may come again as if it were new, and the broker knows its assignment by its id for so long.
const WAITED_MS: i64 = FRESH_MS + FRESH_MS / 2;

/// A message that holds a job.
pub(super) struct Arrived {
    pub(super) subject: Subject,
    pub(super) content_type: Option<Cow<'static, str>>,
    pub(super) payload: Bytes,
    pub(super) sequence: u64,
    /// When the broker took it in, Unix milliseconds.
    pub(super) submitted_at_ms: i64,
    /// Somebody may have had it before.
    pub(super) seen_before: bool,
    /// The job's id, where its publisher made it the message's id too, as it should.
    named: Option<JobId>,
    /// There was more behind it when it came.
    pub(super) behind: bool,
    by: By,
}

enum By {
    /// The lane's consumer, which waits for its acknowledgement there.
    Consumer(Option<Subject>),
    /// A look past the consumer, which may deliver it as well.
    Look(Box<Look>),
}

struct Look {
    jetstream: jetstream::Context,
    _read: Read,
}

/// Messages that were read past the consumer and are in hand, by their sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading(Arc<Mutex<HashSet<u64>>>);

/// One of them.
pub(super) struct Read {
    of: Reading,
    sequence: u64,
}

impl Reading {
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// None when it is in hand already.
    fn take(&self, sequence: u64) -> Option<Read> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence);
        new.then(|| Read { of: self.clone(), sequence })
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sequence);
    }
}

impl Arrived {
    pub(super) fn delivered(message: jetstream::Message) -> Self {
        let info = message.info().ok();
        let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
        let content_type = header.map(|value| codec::content_type(value.as_str()));
        let named = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID));
        let named = named.and_then(|id| id.as_str().parse().ok());
        let sequence = info.as_ref().map_or(0, |info| info.stream_sequence);
        let published = info.as_ref().map(|info| clock::ms_of_ns(info.published.unix_timestamp_nanos()));
        let seen_before = info.as_ref().is_some_and(|info| info.delivered > 1);
        let behind = info.as_ref().is_some_and(|info| info.pending > 0);
        // Headers and all else that it came with go now: what is in hand is small.
        let async_nats::Message { subject, reply, payload, .. } = message.message;
        Self {
            subject,
            content_type,
            payload,
            sequence,
            submitted_at_ms: published.unwrap_or_else(clock::now_ms),
            seen_before,
            named,
            behind,
            by: By::Consumer(reply),
        }
    }

    /// None when it is in hand already.
    pub(super) fn read(
        message: StreamMessage,
        reading: &Reading,
        jetstream: &jetstream::Context,
    ) -> Option<Self> {
        let read = reading.take(message.sequence)?;
        Some(Self {
            subject: message.subject,
            content_type: message.headers.get(CONTENT_TYPE).map(|value| codec::content_type(value.as_str())),
            payload: message.payload,
            sequence: message.sequence,
            submitted_at_ms: clock::ms_of_ns(message.time.unix_timestamp_nanos()),
            seen_before: true,
            named: None,
            behind: false,
            by: By::Look(Box::new(Look { jetstream: jetstream.clone(), _read: read })),
        })
    }

    /// Whether this is certainly the first that any router sees of a job: delivered once, and published so soon after
    /// its id was made, and under it, that the broker would have refused it as a repeat of an earlier publish.
    pub(super) fn is_first(&self, job: JobId, now_ms: i64) -> bool {
        let age_ms = job.time_ms().map(|made_ms| self.submitted_at_ms - made_ms);
        !self.seen_before
            && self.named == Some(job)
            && now_ms - self.submitted_at_ms <= WAITED_MS
            && age_ms.is_some_and(|age_ms| (-CLOCKS_DIFFER_MS..=FRESH_MS).contains(&age_ms))
    }

    /// Whether a job may have left tracks that no `assigned` event tells of. One whose id is no UUIDv7 never does: it
    /// is never certain to be the first. Nor does one that merely waited long in its lane: those that were read past
    /// the consumer are placed with their event.
    pub(super) fn may_have_tracks(&self, job: JobId) -> bool {
        self.seen_before || (job.time_ms().is_some() && !self.is_first(job, self.submitted_at_ms))
    }

    /// It was read past the consumer.
    pub(super) const fn is_read(&self) -> bool {
        matches!(self.by, By::Look(..))
    }

    /// The broker hears that it is still in hand.
    pub(super) async fn speak_up(&self, client: &Client) {
        if let By::Consumer(reply) = &self.by {
            say(client, reply.clone(), AckKind::Progress).await;
        }
    }

    /// Tells the broker what became of it. A word that is lost is a repeat, and a repeat finds its own tracks
    /// (`place::recover`).
    pub(super) async fn settle(&self, broker: &Broker, word: AckKind) {
        match (&self.by, word) {
            (By::Consumer(Some(reply)), AckKind::Ack) => {
                broker.acknowledger.acknowledge(self.sequence, reply.clone()).await;
            }
            (By::Consumer(reply), word) => say(&broker.client, reply.clone(), word).await,
            (By::Look(look), AckKind::Ack) => {
                if let Err(error) = delete(&look.jetstream, self.sequence).await {
                    tracing::debug!(error, "deleting what was placed; the consumer delivers it");
                }
            }
            // It stays where it is.
            (By::Look(..), _) => {}
        }
    }

    pub(super) fn original(&self) -> Original {
        Original {
            subject: self.subject.to_string(),
            content_type: self.content_type.as_deref().map(str::to_owned),
            payload: self.payload.to_vec(),
        }
    }
}

async fn say(client: &Client, reply: Option<Subject>, word: AckKind) {
    let Some(reply) = reply else { return };
    if let Err(error) = client.publish(reply, word.into()).await {
        tracing::debug!(%error, "acknowledging");
    }
}

async fn delete(jetstream: &jetstream::Context, sequence: u64) -> Result<(), String> {
    let jobs = jetstream.get_stream_no_info(stream::JOBS).await.map_err(|error| telemetry::chain(&error))?;
    jobs.delete_message(sequence).await.map(|_| ()).map_err(|error| telemetry::chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(named: Option<JobId>, submitted_at_ms: i64, seen_before: bool) -> Arrived {
        Arrived {
            subject: "argosy.jobs.standard.studio-a".into(),
            content_type: None,
            payload: Bytes::new(),
            sequence: 1,
            submitted_at_ms,
            seen_before,
            named,
            behind: false,
            by: By::Consumer(None),
        }
    }

    #[test]
    fn only_what_the_broker_would_have_known_as_a_repeat_is_the_first_of_its_id() {
        let made_ms = 1_795_428_000_000;
        let job = JobId::from_parts(made_ms, [7; 10]);
        let other = JobId::from_parts(made_ms, [8; 10]);
        let cases = [
            (arrived(Some(job), made_ms + 5, false), true),
            (arrived(Some(job), made_ms + FRESH_MS, false), true),
            (arrived(Some(job), made_ms - CLOCKS_DIFFER_MS, false), true),
            // Published again after the broker may have forgotten it; by a clock that is far ahead.
            (arrived(Some(job), made_ms + FRESH_MS + 1, false), false),
            (arrived(Some(job), made_ms - CLOCKS_DIFFER_MS - 1, false), false),
            // Under another message id, or none, a repeat is not known.
            (arrived(Some(other), made_ms + 5, false), false),
            (arrived(None, made_ms + 5, false), false),
            (arrived(Some(job), made_ms + 5, true), false),
        ];
        for (case, (arrived, first)) in cases.iter().enumerate() {
            assert_eq!(arrived.is_first(job, arrived.submitted_at_ms + 5), *first, "case {case}");
            assert_eq!(arrived.may_have_tracks(job), !first, "case {case}");
        }
    }

    #[test]
    fn what_waited_long_may_have_been_read_past_and_placed_with_its_event() {
        let made_ms = 1_795_428_000_000;
        let job = JobId::from_parts(made_ms, [7; 10]);
        let arrived = arrived(Some(job), made_ms + 5, false);
        let until_ms = arrived.submitted_at_ms + WAITED_MS;
        assert!(arrived.is_first(job, until_ms) && !arrived.is_first(job, until_ms + 1));
        assert!(!arrived.may_have_tracks(job));
    }

    #[test]
    fn an_id_without_a_time_is_never_the_first_and_so_leaves_no_tracks_but_events() {
        let job = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("a UUID"));
        let (once, again) = (arrived(Some(job), 5, false), arrived(Some(job), 5, true));
        assert!(!once.is_first(job, 5) && !once.may_have_tracks(job));
        assert!(again.may_have_tracks(job));
    }
}
