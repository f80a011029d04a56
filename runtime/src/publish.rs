//! Publishing that may be repeated: every message has an id, or expects what its subject holds, and the broker says
//! what it did with it.

mod acks;
mod groups;
mod message;
mod wire;

use std::collections::VecDeque;

use backon::{ExponentialBuilder, Retryable};
use protocol::ports::{PUBLISH_AGAIN_AFTER, PUBLISH_AGAIN_AFTER_MAX, PUBLISH_AGAIN_MAX};
use tokio::sync::{oneshot, watch};

use acks::{Acks, Answer, Awaited, Unanswered};
use groups::Groups;
use wire::Wire;

pub use message::Message;
pub use protocol::{PublishError, Published};

use schemas::subjects;
use schemas::topology::MESSAGE_MAX_BYTES;

use crate::limits::REQUEST_TIMEOUT;
use crate::loops::Loops;

/// Publishes, and hears for each message what the broker did with it. Clones share one reply inbox, so that a
/// publish costs neither a subscription nor an inbox of its own.
#[derive(Debug, Clone)]
pub struct Publisher {
    wire: Wire,
    groups: Option<Groups>,
    /// How long a message may be, headers included.
    limit_bytes: usize,
    /// They run for as long as something publishes.
    _loops: Loops,
}

impl Publisher {
    /// Opens the inbox; its reader and the writers of groups run among `loops`. `lost` changes whenever the connection
    /// is lost; with `group_writes`, what is published at the same time is written together.
    ///
    /// # Errors
    /// The connection is closed.
    pub(crate) async fn open(
        client: async_nats::Client,
        lost: watch::Receiver<u64>,
        group_writes: bool,
        loops: &Loops,
    ) -> Result<Self, async_nats::SubscribeError> {
        let acks = Acks::open(&client, lost, loops).await?;
        let wire = Wire { client, acks };
        let groups = group_writes.then(|| Groups::open(&wire, loops));
        let limit_bytes = match wire.client.server_info().max_payload {
            0 => MESSAGE_MAX_BYTES.cast_unsigned() as usize,
            limit_bytes => limit_bytes,
        };
        Ok(Self { wire, groups, limit_bytes, _loops: loops.clone() })
    }

    /// Publishes and waits for the broker's word; a broker that is away is tried again for a while.
    ///
    /// # Errors
    /// Occupied at once; away or refused after the last try.
    pub async fn publish(&self, message: &Message) -> Result<Published, PublishError> {
        let published = self.once(message).await;
        self.settled(message, published).await
    }

    /// Publishes many in their order, so many of them unacknowledged at a time; returns how many were new.
    /// Costs less than as many calls of [`Publisher::publish`] at once.
    ///
    /// # Errors
    /// The first that was not stored, after its tries; some of those after it may have been.
    pub async fn publish_all(
        &self,
        messages: impl IntoIterator<Item = Message>,
        in_flight: usize,
    ) -> Result<u64, PublishError> {
        let mut flying: VecDeque<Sent> = VecDeque::with_capacity(in_flight);
        let mut new = 0;
        for message in messages {
            if flying.len() >= in_flight.max(1)
                && let Some(sent) = flying.pop_front()
            {
                new += u64::from(sent.landed().await? == Published::New);
            }
            flying.push_back(self.send(message).await);
        }
        for sent in flying {
            new += u64::from(sent.landed().await? == Published::New);
        }
        Ok(new)
    }

    /// Sends a message without waiting for the broker's word, which [`Sent::landed`] has.
    pub async fn send(&self, message: Message) -> Sent {
        let awaited = self.start(&message).await;
        Sent { publisher: self.clone(), message, awaited }
    }

    /// Tries again what was not stored, and looks whether what is in the way is the message itself.
    async fn settled(
        &self,
        message: &Message,
        published: Result<Published, PublishError>,
    ) -> Result<Published, PublishError> {
        let published = match published {
            Err(error) if is_worth_a_try(&error) => self.again(message).await,
            answered => answered,
        };
        match published {
            Err(PublishError::Occupied { .. }) if Box::pin(self.is_stored(message)).await => {
                Ok(Published::Repeat)
            }
            answered => answered,
        }
    }

    /// Whether the last message of a subject is this one: stored by a try whose answer was lost, or in a group. What
    /// cannot be read is not taken for it.
    async fn is_stored(&self, message: &Message) -> bool {
        let Some(subject) = message.direct_get_subject() else { return false };
        let asked = self.wire.client.request(subject, bytes::Bytes::new());
        let there = tokio::time::timeout(REQUEST_TIMEOUT, asked).await;
        // The broker says with a status where there is none.
        matches!(there, Ok(Ok(there)) if there.status.is_none() && there.payload == message.payload)
    }

    /// What is rare is boxed, so that the common publish is small.
    async fn again(&self, message: &Message) -> Result<Published, PublishError> {
        let retry = ExponentialBuilder::default()
            .with_min_delay(PUBLISH_AGAIN_AFTER)
            .with_max_delay(PUBLISH_AGAIN_AFTER_MAX)
            .with_max_times(PUBLISH_AGAIN_MAX as usize - 1)
            .with_jitter();
        let once = || self.once(message);
        let trying = async {
            tokio::time::sleep(PUBLISH_AGAIN_AFTER).await;
            once.retry(retry).when(is_worth_a_try).await
        };
        Box::pin(trying).await
    }

    async fn once(&self, message: &Message) -> Result<Published, PublishError> {
        message.check_size(self.limit_bytes)?;
        let awaited = self.start(message).await;
        read(message, awaited).await
    }

    async fn start(&self, message: &Message) -> Result<PendingAck, Unanswered> {
        if let Some(groups) = &self.groups
            && let Some(answer) = groups.join(message).await
        {
            return Ok(PendingAck::OfGroup(answer));
        }
        self.wire.ask(message, message.headers()).await.map(PendingAck::Alone)
    }
}

/// Where the broker's word on a message comes from.
#[derive(Debug)]
enum PendingAck {
    Alone(Awaited),
    OfGroup(oneshot::Receiver<Result<Answer, Unanswered>>),
}

impl PendingAck {
    async fn answer(self) -> Result<Answer, Unanswered> {
        match self {
            Self::Alone(awaited) => awaited.answer().await,
            Self::OfGroup(answer) => answer.await.unwrap_or(Err(Unanswered::Silent)),
        }
    }
}

/// A message on its way.
#[derive(Debug)]
pub struct Sent {
    publisher: Publisher,
    message: Message,
    awaited: Result<PendingAck, Unanswered>,
}

impl Sent {
    /// Waits for the broker's word; a message that was refused is tried again for a while.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn landed(self) -> Result<Published, PublishError> {
        let Self { publisher, message, awaited } = self;
        message.check_size(publisher.limit_bytes)?;
        let published = read(&message, awaited).await;
        publisher.settled(&message, published).await
    }
}

/// A tenant has as many jobs in a lane as it may have.
#[derive(Debug, thiserror::Error)]
#[error(
    "as many jobs of this tenant wait in this lane as may (max_messages_per_subject of stream JOBS): publish again once some \
     were placed, add workers, or raise the limit"
)]
struct LaneFull;

/// Whether the broker may store the message when it is published again: not where another one is in its place, nor where it is too large.
fn is_worth_a_try(error: &PublishError) -> bool {
    !matches!(error, PublishError::Occupied { .. } | PublishError::TooLarge { .. })
}

async fn read(message: &Message, awaited: Result<PendingAck, Unanswered>) -> Result<Published, PublishError> {
    let answer = match awaited {
        Ok(awaited) => awaited.answer().await,
        Err(unanswered) => Err(unanswered),
    };
    let subject = || message.subject.to_string();
    match answer {
        Ok(Answer::Stored) => Ok(Published::New),
        Ok(Answer::Repeated) => Ok(Published::Repeat),
        Ok(Answer::Occupied) if message.subject.starts_with(subjects::JOBS_PREFIX) => {
            Err(PublishError::Refused { subject: subject(), source: Box::new(LaneFull) })
        }
        Ok(Answer::Occupied) => Err(PublishError::Occupied { subject: subject() }),
        Ok(Answer::Refused(refusal)) => {
            Err(PublishError::Refused { subject: subject(), source: refusal.into() })
        }
        Err(unanswered) => Err(PublishError::Away { subject: subject(), source: unanswered.into() }),
    }
}
