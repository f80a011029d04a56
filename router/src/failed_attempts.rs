//! Pulls failed attempts and has them followed up ([`protocol::router::failed_attempts`]).

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use protocol::Ports as _;
use protocol::router::failed_attempts::settle;
use protocol::router::too_new::Resting;
use runtime::exit::Fault;
use schemas::topology;

use crate::message::QueueMessage;
use crate::shared::Router;

/// Failed attempts in hand at once.
const IN_HAND: usize = 64;

/// How long one pull waits.
const WAIT: Duration = Duration::from_secs(1);

/// How long to rest after a pull failed.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// The loop of the failed attempts' consumer.
pub struct FailedAttempts {
    router: Router,
    consumer: PullConsumer,
    /// Those of a newer schema that were handed back.
    resting: Resting,
}

impl FailedAttempts {
    /// Opens it.
    ///
    /// # Errors
    /// The consumer is not there.
    pub async fn open(router: Router) -> Result<Self, Fault> {
        let jetstream = &router.broker.jetstream;
        let consumer =
            runtime::topology::consumer(jetstream, topology::stream::DEAD, topology::DEAD_CONSUMER).await?;
        Ok(Self { router, consumer, resting: Resting::default() })
    }

    /// Follows up failed attempts until stopped.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        while !self.router.is_stopping() {
            let batch = self.consumer.batch().max_messages(IN_HAND).expires(WAIT).messages().await;
            match batch {
                Ok(messages) => {
                    let settle = async |message: Result<async_nats::jetstream::Message, _>| match message {
                        Ok(message) => {
                            let message = QueueMessage::failed_attempt(message);
                            settle(&self.router, &self.resting, &message).await;
                        }
                        Err(error) => tracing::warn!(%error, "a pull of failed attempts ended early"),
                    };
                    messages.for_each_concurrent(IN_HAND, settle).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "pulling failed attempts failed, trying again");
                    self.router.rest(TROUBLE_REST).await;
                }
            }
        }
        Ok(())
    }
}
