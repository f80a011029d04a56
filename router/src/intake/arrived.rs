//! A job's message as intake sees it: delivered by the lane's consumer, or read past it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Subject;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use runtime::clock;
use runtime::telemetry;
use schemas::codec::CONTENT_TYPE;
use schemas::topology::stream;

use crate::ending::Original;

/// A message that holds a job.
pub(super) struct Arrived {
    pub(super) subject: Subject,
    pub(super) content_type: Option<String>,
    pub(super) payload: Bytes,
    pub(super) sequence: u64,
    /// When the broker took it in, Unix milliseconds.
    pub(super) submitted_at_ms: i64,
    /// Somebody may have had it before.
    pub(super) seen_before: bool,
    /// There was more behind it when it came.
    pub(super) behind: bool,
    by: By,
}

enum By {
    /// The lane's consumer, which waits for its acknowledgement.
    Consumer(Box<jetstream::Message>),
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
        Self {
            subject: message.subject.clone(),
            content_type: header.map(|value| value.as_str().to_owned()),
            payload: message.payload.clone(),
            sequence: info.as_ref().map_or(0, |info| info.stream_sequence),
            submitted_at_ms: info
                .as_ref()
                .map_or_else(clock::now_ms, |info| clock::ms_of_ns(info.published.unix_timestamp_nanos())),
            seen_before: info.as_ref().is_some_and(|info| info.delivered > 1),
            behind: info.as_ref().is_some_and(|info| info.pending > 0),
            by: By::Consumer(Box::new(message)),
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
            content_type: message.headers.get(CONTENT_TYPE).map(|value| value.as_str().to_owned()),
            payload: message.payload,
            sequence: message.sequence,
            submitted_at_ms: clock::ms_of_ns(message.time.unix_timestamp_nanos()),
            seen_before: true,
            behind: false,
            by: By::Look(Box::new(Look { jetstream: jetstream.clone(), _read: read })),
        })
    }

    /// It was read past the consumer.
    pub(super) const fn is_read(&self) -> bool {
        matches!(self.by, By::Look(..))
    }

    /// The broker hears that it is still in hand.
    pub(super) async fn speak_up(&self) {
        if let By::Consumer(message) = &self.by
            && let Err(error) = message.ack_with(AckKind::Progress).await
        {
            tracing::debug!(%error, "speaking up");
        }
    }

    /// Tells the broker what became of it. A word that is lost is a repeat, and a repeat finds its own tracks
    /// (`place::recover`).
    pub(super) async fn settle(&self, word: AckKind) {
        match (&self.by, word) {
            (By::Consumer(message), word) => {
                if let Err(error) = message.ack_with(word).await {
                    tracing::debug!(%error, "acknowledging");
                }
            }
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
            content_type: self.content_type.clone(),
            payload: self.payload.to_vec(),
        }
    }
}

async fn delete(jetstream: &jetstream::Context, sequence: u64) -> Result<(), String> {
    let jobs = jetstream.get_stream_no_info(stream::JOBS).await.map_err(|error| telemetry::chain(&error))?;
    jobs.delete_message(sequence).await.map(|_| ()).map_err(|error| telemetry::chain(&error))
}
