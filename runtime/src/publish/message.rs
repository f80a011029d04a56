//! A message to be stored: its subject, its bytes, and what makes a repeat of it harmless.

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use protocol::{PublishError, Record, StoredMessage};
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::stream;
use schemas::{Encoding, Event, Fact, subjects};
use serde::Serialize;

/// What the headers take, beside the id.
const HEADERS_BYTES: usize = 256;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) subject: Subject,
    id: String,
    pub(super) payload: Bytes,
    /// How the payload is written, where that is not MessagePack.
    content_type: Option<Box<str>>,
    /// The last message that the subject must hold, by its sequence; 0 for none at all.
    expected: Option<u64>,
}

impl Message {
    /// A message with its id, as MessagePack.
    #[must_use]
    pub fn new<T: Serialize>(subject: String, id: String, message: &T) -> Self {
        Self::raw(subject, id, codec::encode(message))
    }

    /// A message of bytes that are MessagePack.
    #[must_use]
    pub fn raw(subject: String, id: String, payload: Vec<u8>) -> Self {
        Self { subject: subject.into(), id, payload: payload.into(), content_type: None, expected: None }
    }

    /// Bytes as somebody published them, with their `Content-Type`.
    #[must_use]
    pub fn original(subject: String, id: String, payload: Vec<u8>, content_type: Option<&str>) -> Self {
        let header = content_type.or_else(|| Some(Encoding::detect(None, &payload).ok()?.content_type()));
        let content_type = header.map(Box::from);
        Self { content_type, ..Self::raw(subject, id, payload) }
    }

    /// Only if the subject holds nothing yet; else [`super::PublishError::Occupied`].
    #[must_use]
    pub fn first(self) -> Self {
        self.after(0)
    }

    /// Only if the subject's last message is the one of this sequence; else [`super::PublishError::Occupied`].
    #[must_use]
    pub fn after(self, sequence: u64) -> Self {
        Self { expected: Some(sequence), ..self }
    }

    /// An event. A job's first `assigned` and its `ended` are published only onto an empty subject (a later
    /// `assigned` right after the one before, see [`Message::after`]): the
    /// broker is the arbiter of who was first.
    #[must_use]
    pub fn event(event: &Event) -> Self {
        let subject = subjects::event(&event.tenant, event.job, event.fact.kind());
        let message = Self::new(subject, event.id.clone(), event);
        let first = match event.fact {
            Fact::Ended { .. } => true,
            Fact::Assigned { .. } => event.attempt == 1,
            _ => false,
        };
        if first { message.first() } else { message }
    }

    /// What the steps of the protocol publish.
    #[must_use]
    pub fn record(record: Record<'_>) -> Self {
        match record {
            Record::Event(event) => Self::event(event),
            Record::EventAfter(event, sequence) => Self::event(event).after(sequence),
            Record::Work(assignment) => {
                let subject = subjects::work(&assignment.backend, &assignment.queue(), assignment.job.id);
                Self::new(subject, format!("{}.work", assignment.id()), assignment)
            }
            Record::Failed(letter) => {
                let assignment = &letter.assignment;
                let subject = subjects::dead(&assignment.backend, assignment.job.id);
                Self::new(subject, format!("{}.dead", assignment.id()), letter)
            }
            Record::Parked { id, tenant, job, parked } => {
                let subject = subjects::parked(tenant, parked.failure.code, job);
                Self::new(subject, id.to_owned(), parked)
            }
            Record::Copy { id, message } => {
                let StoredMessage { subject, content_type, payload, .. } = message;
                Self::original(subject.clone(), id.to_owned(), payload.clone(), content_type.as_deref())
            }
        }
    }

    /// Where the broker is asked for the last message of the subject; none for a message that expects nothing, whose
    /// id makes a repeat of it harmless.
    pub(super) fn direct_get_subject(&self) -> Option<String> {
        self.expected?;
        let stream = self.subject.starts_with(subjects::EVENTS_PREFIX).then_some(stream::EVENTS)?;
        Some(format!("$JS.API.DIRECT.GET.{stream}.{}", self.subject))
    }

    /// Whether it is short enough to be published.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`].
    pub(super) fn check_size(&self, limit_bytes: usize) -> Result<(), PublishError> {
        let bytes = self.payload.len() + HEADERS_BYTES + self.id.len();
        if bytes <= limit_bytes {
            return Ok(());
        }
        Err(PublishError::TooLarge { subject: self.subject.to_string(), bytes, limit_bytes })
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let content_type = self.content_type.as_deref();
        headers.insert(CONTENT_TYPE, content_type.unwrap_or(Encoding::MessagePack.content_type()));
        match self.expected {
            // The broker looks at an expectation before it looks at an id, and a repeat does not meet it.
            Some(sequence) => {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string().as_str());
            }
            None => headers.insert(NATS_MESSAGE_ID, self.id.as_str()),
        }
        headers
    }
}
