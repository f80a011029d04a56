//! Pulls jobs from one lane and has them settled ([`protocol::router::intake`]).
//!
//! Each lane has its own consumer and its own loop, so an urgent job never waits behind a batch.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt};
use protocol::Ports as _;
use protocol::router::intake::{Arrived, Intake};
use runtime::exit::Fault;
use schemas::{Lane, topology};

use crate::message::QueueMessage;
use crate::shared::Router;
use crate::waits::next_of;

/// How long one pull waits for jobs.
const WAIT: Duration = Duration::from_secs(1);

/// How often a lane looks at what lies behind those that wait, while the waiting room is full; less often where a look
/// takes long (many tenants): it takes a tenth of the time at most.
const READ_PAST_EVERY: Duration = Duration::from_millis(100);
const READ_PAST_SHARE: u32 = 10;

/// How long to rest after a pull failed.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// One lane's loop.
pub struct LaneLoop {
    router: Router,
    lane: Lane,
    consumer: PullConsumer,
    in_hand_max: usize,
    intake: Intake,
}

impl LaneLoop {
    /// Opens a lane.
    ///
    /// # Errors
    /// Its consumer is not there.
    pub async fn open(router: Router, lane: Lane, in_hand_max: usize) -> Result<Self, Fault> {
        let name = topology::intake_consumer_name(lane);
        let consumer =
            runtime::topology::consumer(&router.broker.jetstream, topology::stream::JOBS, &name).await?;
        let in_hand_max = in_hand_max.clamp(1, 10_000);
        Ok(Self { router, lane, consumer, in_hand_max, intake: Intake::default() })
    }

    /// Takes jobs in until stopped, and settles what is in hand then.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        let mut at_work = FuturesUnordered::new();
        let mut pulled: Option<Batch> = None;
        let mut past = self.read_past(READ_PAST_EVERY).boxed().fuse();
        let settle = |arrived| self.intake.settle(&self.router, arrived);
        loop {
            let stopping = self.router.is_stopping();
            if pulled.is_none() && !stopping {
                pulled = self.pull(at_work.len()).await;
            }
            if pulled.is_none() && at_work.is_empty() && stopping {
                return Ok(());
            }
            tokio::select! {
                message = next_of(&mut pulled), if pulled.is_some() => match message {
                    Some(Ok(message)) => at_work.push(settle(Arrived::delivered(QueueMessage::job(message)))),
                    Some(Err(error)) => {
                        tracing::warn!(lane = self.lane.as_str(), %error, "a pull ended early");
                        pulled = None;
                    }
                    None => pulled = None,
                },
                Some(()) = at_work.next(), if !at_work.is_empty() => {}
                (arrived, took) = &mut past, if !stopping => {
                    at_work.extend(arrived.into_iter().map(settle));
                    let rest = READ_PAST_EVERY.max(took * READ_PAST_SHARE);
                    past = self.read_past(rest).boxed().fuse();
                }
                // The waiting room is full; or nothing can be pulled just now.
                () = self.router.rest(TROUBLE_REST), if pulled.is_none() && !stopping => {}
            }
        }
    }

    /// Asks for as many jobs as may come; none when none may, or when the broker does not answer.
    async fn pull(&self, in_hand: usize) -> Option<Batch> {
        let more = self.intake.wanted(in_hand, self.in_hand_max);
        if more == 0 {
            return None;
        }
        match self.consumer.batch().max_messages(more).expires(WAIT).messages().await {
            Ok(batch) => Some(batch),
            Err(error) => {
                tracing::warn!(lane = self.lane.as_str(), %error, "pulling failed, trying again");
                self.router.rest(TROUBLE_REST).await;
                None
            }
        }
    }

    /// After a rest, what lies behind those that wait; and how long it took to find.
    async fn read_past(&self, rest: Duration) -> (Vec<Arrived<QueueMessage>>, Duration) {
        tokio::time::sleep(rest).await;
        let started = Instant::now();
        let found = self.intake.read_past(&self.router, self.lane).await.unwrap_or_else(|error| {
            tracing::debug!(lane = self.lane.as_str(), %error, "looking at what lies behind");
            Vec::new()
        });
        (found, started.elapsed())
    }
}
