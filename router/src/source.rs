//! A consumer of the topology that is pulled from. One that was deleted is made anew; every failure is waited out and
//! logged with a rate limit ([`runtime::trouble`]).

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{self};
use protocol::Ports as _;
use runtime::clock;
use runtime::exit::Fault;
use runtime::trouble::Trouble;
use schemas::topology::{ConsumerSpec, Topology};

use crate::shared::Router;
use crate::waits::next_of;

/// A pull that brings nothing lasts nearly as long as it may; one that ends within this has failed.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Bytes that a pull brings at most where few messages are asked for.
pub(crate) const BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// A durable consumer, and what is known of it.
pub(crate) struct Source {
    spec: ConsumerSpec,
    consumer: PullConsumer,
    made: Made,
    trouble: Trouble,
    /// Why the last pull failed, until that is waited out.
    failed: Option<String>,
}

/// When the consumer was made. One that was deleted and made again delivers what its stream holds as if for the first
/// time, also what it had delivered before.
#[derive(Debug, Clone, Copy)]
struct Made {
    at_ms: i64,
    /// Of the last delivery: they are counted anew by another consumer of the same name.
    delivery: u64,
}

impl Made {
    /// Whether a delivery may be a repeated one though its consumer counts it as the first: its message is older than
    /// the consumer.
    fn is_older(&mut self, delivery: u64, published_at_ms: i64, now_ms: i64) -> bool {
        if delivery <= self.delivery {
            self.at_ms = now_ms;
        }
        self.delivery = delivery;
        published_at_ms < self.at_ms
    }
}

/// What a pull brings.
pub(crate) struct Pull {
    batch: Option<Batch>,
    begun: Instant,
    count: usize,
}

impl Source {
    /// Opens a consumer that `topology apply` made.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) async fn open(
        router: &Router,
        stream: &str,
        name: &str,
        action: &'static str,
    ) -> Result<Self, Fault> {
        let jetstream = &router.broker.jetstream;
        let consumer = runtime::topology::consumer(jetstream, stream, name).await?;
        let specs = Topology::new(1).consumers;
        let spec = specs.into_iter().find(|spec| spec.stream == stream && spec.name == name);
        let spec = spec.unwrap_or_else(|| unreachable!("consumer {name} of {stream} is of the topology"));
        let made = Made { at_ms: made_ms(&consumer), delivery: 0 };
        Ok(Self { spec, consumer, made, trouble: Trouble::new(action), failed: None })
    }

    /// Asks for so many messages and bytes, having waited out the last failure; none when this fails too, or when the router
    /// stops. The bytes are at least those of the largest message.
    pub(crate) async fn pull(
        &mut self,
        router: &Router,
        (messages, bytes): (usize, usize),
        expires: Duration,
    ) -> Option<Pull> {
        if let Some(error) = self.failed.take() {
            router.rest(self.trouble.failed(&error)).await;
            self.look_again(&router.broker.jetstream).await;
        }
        if router.is_stopping() {
            return None;
        }
        let begun = Instant::now();
        let batch = self.consumer.batch().max_messages(messages).max_bytes(bytes).expires(expires);
        match batch.messages().await {
            Ok(batch) => Some(Pull { batch: Some(batch), begun, count: 0 }),
            Err(error) => {
                self.failed = Some(runtime::telemetry::chain(&error));
                None
            }
        }
    }

    /// The next message of a pull; none when it is over.
    pub(crate) async fn next(&mut self, pull: &mut Pull) -> Option<Taken> {
        match next_of(&mut pull.batch).await {
            Some(Ok(message)) => {
                pull.count += 1;
                let is_older = message.info().is_ok_and(|info| {
                    let published_at_ms = clock::ms_of_ns(info.published.unix_timestamp_nanos());
                    self.made.is_older(info.consumer_sequence, published_at_ms, clock::now_ms())
                });
                Some(Taken { message, is_older })
            }
            // The next message may be one too many for its bytes; of what is wrong the next pull learns at once.
            Some(Err(error)) => {
                if pull.count == 0 {
                    self.failed = Some(error.to_string());
                }
                None
            }
            None => {
                if pull.count == 0 && pull.begun.elapsed() < AT_ONCE {
                    self.failed = Some("a pull ended at once and brought nothing".to_owned());
                }
                None
            }
        }
    }

    /// Looks whether the consumer is there, and makes it anew where it is not.
    async fn look_again(&mut self, jetstream: &jetstream::Context) {
        match runtime::topology::find_or_make_consumer(jetstream, &self.spec).await {
            Ok(consumer) => {
                self.made.at_ms = self.made.at_ms.max(made_ms(&consumer));
                self.consumer = consumer;
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }
}

/// A message with what its consumer does not know of it.
pub(crate) struct Taken {
    pub(crate) message: jetstream::Message,
    /// It is older than its consumer, which may therefore not be the first that delivers it.
    pub(crate) is_older: bool,
}

fn made_ms(consumer: &PullConsumer) -> i64 {
    clock::ms_of_ns(consumer.cached_info().created.unix_timestamp_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_its_consumer_may_have_been_delivered_before() {
        let mut made = Made { at_ms: 1_000, delivery: 0 };
        assert!(made.is_older(1, 999, 1_500));
        assert!(!made.is_older(2, 1_000, 1_500) && !made.is_older(7, 1_400, 1_500));
    }

    #[test]
    fn deliveries_that_are_counted_anew_are_those_of_another_consumer() {
        let mut made = Made { at_ms: 1_000, delivery: 41 };
        assert!(made.is_older(3, 1_999, 2_000), "deleted and made again by somebody else");
        assert!(!made.is_older(4, 2_001, 2_100));
    }
}
