//! Pulls failed attempts and has them followed up ([`protocol::router::failed_attempts`]).

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::Ports as _;
use protocol::router::failed_attempts::settle;
use protocol::router::too_new::Resting;
use runtime::exit::Fault;
use schemas::topology;

use crate::message::QueueMessage;
use crate::shared::Router;
use crate::source::{BYTES_MAX, Source, Taken};

/// Failed attempts in hand at once.
const IN_HAND: usize = 64;

/// How long one pull waits.
const WAIT: Duration = Duration::from_secs(1);

/// The loop of the failed attempts' consumer.
pub struct FailedAttempts {
    router: Router,
    source: Source,
    /// Those of a newer schema that were handed back.
    resting: Resting,
}

impl FailedAttempts {
    /// Opens it.
    ///
    /// # Errors
    /// The consumer is not there.
    pub async fn open(router: Router) -> Result<Self, Fault> {
        let (stream, name) = (topology::stream::DEAD, topology::DEAD_CONSUMER);
        let source = Source::open(&router, stream, name, "pulling failed attempts").await?;
        Ok(Self { router, source, resting: Resting::default() })
    }

    /// Follows up failed attempts until stopped.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        let Self { router, mut source, resting } = self;
        while !router.is_stopping() {
            let Some(mut pull) = source.pull(&router, (IN_HAND, BYTES_MAX), WAIT).await else { continue };
            let (mut at_work, mut is_open) = (FuturesUnordered::new(), true);
            loop {
                tokio::select! {
                    taken = source.next(&mut pull), if is_open => match taken {
                        Some(taken) => at_work.push(settle_one(&router, &resting, taken)),
                        None => is_open = false,
                    },
                    Some(()) = at_work.next(), if !at_work.is_empty() => {}
                    else => break,
                }
            }
        }
        Ok(())
    }
}

async fn settle_one(router: &Router, resting: &Resting, taken: Taken) {
    settle(router, resting, &QueueMessage::failed_attempt(taken)).await;
}
