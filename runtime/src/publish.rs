//! Publishing that may be repeated: every message has an id, and the broker says what it did with it.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use jetstream::message::PublishMessage;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{Encoding, Event, Fact, subjects};
use serde::Serialize;

use crate::telemetry;

/// The broker's error for a subject that already holds its one message.
const ERROR_STORE_FAILED: u64 = 10_077;

/// What the broker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Stored.
    New,
    /// Stored before, under the same message id.
    Repeat,
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The subject holds something that the publisher did not expect: somebody was quicker.
    #[error("{subject} already holds a message")]
    Occupied {
        /// Where it was published.
        subject: String,
    },
    /// The broker did not take it: absent, slow, or full.
    #[error("publishing to {subject}: {reason}")]
    Refused {
        /// Where it was published.
        subject: String,
        /// In the broker's words.
        reason: String,
    },
}

/// What to publish.
#[derive(Debug, Clone)]
pub struct Message {
    subject: String,
    id: String,
    payload: Bytes,
    /// The last message that the subject must hold, by its sequence; 0 for none at all.
    expected: Option<u64>,
}

impl Message {
    /// A message with its id, as MessagePack.
    #[must_use]
    pub fn new<T: Serialize>(subject: String, id: String, message: &T) -> Self {
        Self { subject, id, payload: codec::encode(message).into(), expected: None }
    }

    /// Only if the subject holds nothing yet; else [`PublishError::Occupied`].
    #[must_use]
    pub fn first(self) -> Self {
        self.after(0)
    }

    /// Only if the subject's last message is the one of this sequence; else [`PublishError::Occupied`].
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
}

/// Publishes and waits for the broker's word; a broker that is away is tried again for a while.
///
/// # Errors
/// Occupied at once; refused after the last try.
pub async fn publish(jetstream: &jetstream::Context, message: &Message) -> Result<Published, PublishError> {
    let retry = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(6)
        .with_jitter();
    let once = || publish_once(jetstream, message);
    once.retry(retry).when(|error| matches!(error, PublishError::Refused { .. })).await
}

async fn publish_once(jetstream: &jetstream::Context, message: &Message) -> Result<Published, PublishError> {
    let mut build = PublishMessage::build()
        .payload(message.payload.clone())
        .message_id(&message.id)
        .header(CONTENT_TYPE, Encoding::MessagePack.content_type());
    if let Some(sequence) = message.expected {
        build = build.expected_last_subject_sequence(sequence);
    }
    let subject = message.subject.clone();
    let refused = |error: &async_nats::jetstream::context::PublishError| PublishError::Refused {
        subject: subject.clone(),
        reason: telemetry::chain(error),
    };
    let acknowledgement =
        jetstream.send_publish(message.subject.clone(), build).await.map_err(|error| refused(&error))?.await;
    match acknowledgement {
        Ok(ack) if ack.duplicate => Ok(Published::Repeat),
        Ok(_) => Ok(Published::New),
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence || is_occupied(&error) => {
            Err(PublishError::Occupied { subject })
        }
        Err(error) => Err(refused(&error)),
    }
}

fn is_occupied(error: &async_nats::jetstream::context::PublishError) -> bool {
    let source = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<jetstream::Error>());
    // The store fails for other reasons too (a full stream): only the per-subject words mean "occupied".
    source.is_some_and(|cause| {
        cause.error_code().0 == ERROR_STORE_FAILED && cause.to_string().contains("per subject")
    })
}
