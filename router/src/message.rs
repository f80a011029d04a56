//! A job or a failed attempt as it came from its stream.

use std::borrow::Cow;

use async_nats::Subject;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use protocol::router::Delivery;
use runtime::clock;
use schemas::JobId;
use schemas::codec::{self, CONTENT_TYPE};

use crate::source::Taken;

/// A message in a router's hand. Headers and all else that it came with are gone: what is in hand is small.
pub struct QueueMessage {
    subject: Subject,
    content_type: Option<Cow<'static, str>>,
    payload: Bytes,
    sequence: u64,
    published_at_ms: i64,
    deliveries: i64,
    named: Option<JobId>,
    has_more_behind: bool,
    /// Where its consumer waits for an answer.
    pub(crate) reply: Option<Subject>,
    /// Its acknowledgement may wait for a moment ([`runtime::acknowledge`]).
    pub(crate) may_be_late: bool,
}

impl QueueMessage {
    /// A job that the consumer of a lane delivered.
    pub(crate) fn job(taken: Taken) -> Self {
        Self { may_be_late: true, ..Self::delivered(taken) }
    }

    /// A failed attempt that its consumer delivered.
    pub(crate) fn failed_attempt(taken: Taken) -> Self {
        Self::delivered(taken)
    }

    /// An advisory that its consumer delivered.
    pub(crate) fn advisory(taken: Taken) -> Self {
        Self::delivered(taken)
    }

    fn delivered(taken: Taken) -> Self {
        let Taken { message, is_older } = taken;
        let info = message.info().ok();
        let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
        let content_type = header.map(|value| codec::content_type(value.as_str()));
        let named = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID));
        let named = named.and_then(|id| id.as_str().parse().ok());
        let sequence = info.as_ref().map_or(0, |info| info.stream_sequence);
        let published = info.as_ref().map(|info| clock::ms_of_ns(info.published.unix_timestamp_nanos()));
        // The consumer before this one may have delivered it as well.
        let deliveries = info.as_ref().map_or(1, |info| info.delivered) + i64::from(is_older);
        let has_more_behind = info.as_ref().is_some_and(|info| info.pending > 0);
        let async_nats::Message { subject, reply, payload, .. } = message.message;
        Self {
            subject,
            content_type,
            payload,
            sequence,
            published_at_ms: published.unwrap_or_else(clock::now_ms),
            deliveries,
            named,
            has_more_behind,
            reply,
            may_be_late: false,
        }
    }

    /// A job that was read from its stream.
    pub(crate) fn read(message: StreamMessage) -> Self {
        Self {
            subject: message.subject,
            content_type: message.headers.get(CONTENT_TYPE).map(|value| codec::content_type(value.as_str())),
            payload: message.payload,
            sequence: message.sequence,
            published_at_ms: clock::ms_of_ns(message.time.unix_timestamp_nanos()),
            deliveries: 0,
            named: None,
            has_more_behind: false,
            reply: None,
            may_be_late: false,
        }
    }
}

impl Delivery for QueueMessage {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn published_at_ms(&self) -> i64 {
        self.published_at_ms
    }

    fn deliveries(&self) -> i64 {
        self.deliveries
    }

    fn named(&self) -> Option<JobId> {
        self.named
    }

    fn has_more_behind(&self) -> bool {
        self.has_more_behind
    }
}
