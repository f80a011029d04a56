//! An event's message as it arrives: read, checked and written as JSON while it is in the processor's cache, and
//! left with no more than it may be needed for later. A batch is thousands of them.

use std::borrow::Cow;

use async_nats::Subject;
use async_nats::jetstream::{Context, Message};
use bytes::Bytes;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{Event, Failure};

use crate::event_check::{Checked, check};

/// What is left of the message.
pub(super) struct Arrived {
    pub(super) subject: Subject,
    /// Where it is acknowledged.
    pub(super) reply: Option<Subject>,
    pub(super) content_type: Option<Cow<'static, str>>,
    pub(super) payload: Bytes,
}

/// Reads a message, and checks what it says.
pub(super) fn read(message: Message) -> (Arrived, Result<Checked, Failure>) {
    let async_nats::Message { subject, reply, payload, headers, .. } = message.message;
    let header = headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
    let content_type = header.map(|header| codec::content_type(header.as_str()));
    let event: Result<Event, _> = codec::decode(content_type.as_deref(), &payload);
    let checked = event.map_err(|error| Failure::invalid("event", error.to_string())).and_then(check);
    (Arrived { subject, reply, content_type, payload }, checked)
}

impl Arrived {
    /// Its place in the stream; 0 where the broker did not say.
    pub(super) fn sequence(&self, context: &Context) -> u64 {
        let message = async_nats::Message {
            subject: self.subject.clone(),
            reply: self.reply.clone(),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        let message = Message { message, context: context.clone() };
        message.info().map(|info| info.stream_sequence).unwrap_or_default()
    }
}
