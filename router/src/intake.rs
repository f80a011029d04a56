//! Pulls jobs from one lane and has them settled ([`protocol::router::intake`]).
//!
//! Each lane has its own consumer and its own loop, so an urgent job never waits behind a batch.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt};
use protocol::Ports as _;
use protocol::router::intake::{Arrived, Intake};
use protocol::router::rhythm::READ_PAST_EVERY;
use runtime::exit::Fault;
use schemas::{Lane, topology};

use crate::message::QueueMessage;
use crate::shared::Router;
use crate::source::{Pull, Source, Taken};

/// How long one pull waits for jobs.
const WAIT: Duration = Duration::from_secs(1);

/// A look at what lies behind those that wait takes a tenth of the time at most: where it takes long (many tenants),
/// there are fewer.
const READ_PAST_SHARE: u32 = 10;

/// How long to rest while nothing may be pulled.
const FULL_REST: Duration = Duration::from_secs(1);

/// One lane's loop.
pub struct LaneLoop {
    router: Router,
    lane: Lane,
    source: Source,
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
        let source = Source::open(&router, topology::stream::JOBS, &name, "pulling jobs").await?;
        let in_hand_max = in_hand_max.clamp(1, 10_000);
        Ok(Self { router, lane, source, in_hand_max, intake: Intake::default() })
    }

    /// Takes jobs in until stopped, and settles what is in hand then.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        let Self { router, lane, source, in_hand_max, intake } = self;
        let (router, intake) = (&router, &intake);
        let mut at_work = FuturesUnordered::new();
        // Where nothing is asked for, the consumer lies here; else it is with whoever asks, or takes.
        let (mut source, mut asking, mut pulled) = (Some(source), None, None);
        let mut past = read_past(router, intake, lane, READ_PAST_EVERY).boxed().fuse();
        let settle = |arrived| intake.settle(router, arrived);
        loop {
            let stopping = router.is_stopping();
            let more = intake.wanted(router.config().policy.scoring, at_work.len(), in_hand_max);
            if !stopping
                && more > 0
                && let Some(bytes) = intake.wanted_bytes()
                && let Some(mut from) = source.take()
            {
                let ask = async move {
                    let pull = from.pull(router, (more, bytes), WAIT).await;
                    (from, pull)
                };
                asking = Some(ask.boxed());
            }
            if asking.is_none() && pulled.is_none() && at_work.is_empty() && stopping {
                return Ok(());
            }
            tokio::select! {
                (from, pull) = of(&mut asking), if asking.is_some() => {
                    asking = None;
                    match pull {
                        Some(pull) => pulled = Some((from, pull)),
                        None => source = Some(from),
                    }
                }
                taken = next_in(&mut pulled), if pulled.is_some() => match taken {
                    Some(taken) => at_work.push(settle(Arrived::delivered(QueueMessage::job(taken)))),
                    None => source = pulled.take().map(|(from, _)| from),
                },
                Some(()) = at_work.next(), if !at_work.is_empty() => {}
                (arrived, took) = &mut past, if !stopping => {
                    at_work.extend(arrived.into_iter().map(settle));
                    let rest = READ_PAST_EVERY.max(took * READ_PAST_SHARE);
                    past = read_past(router, intake, lane, rest).boxed().fuse();
                }
                // The waiting room is full, or enough bytes are in hand.
                () = router.rest(FULL_REST), if source.is_some() && !stopping => {}
            }
        }
    }
}

async fn of<T>(asking: &mut Option<BoxFuture<'_, T>>) -> T {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

async fn next_in(pulled: &mut Option<(Source, Pull)>) -> Option<Taken> {
    let (source, pull) = pulled.as_mut()?;
    source.next(pull).await
}

/// After a rest, what lies behind those that wait; and how long it took to find.
async fn read_past(
    router: &Router,
    intake: &Intake,
    lane: Lane,
    rest: Duration,
) -> (Vec<Arrived<QueueMessage>>, Duration) {
    tokio::time::sleep(rest).await;
    let started = Instant::now();
    let found = intake.read_past(router, lane).await.unwrap_or_else(|error| {
        tracing::debug!(lane = lane.as_str(), %error, "looking at what lies behind");
        Vec::new()
    });
    (found, started.elapsed())
}
