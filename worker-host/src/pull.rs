//! Pulls assignments: a permit first, then a message, never more messages than permits.
//!
//! Each class has a consumer of its own, shared by all workers of the backend. A worker with a slot for
//! every class waits at all its consumers at once, each wait holding its permits: one where nothing comes.
//! One with fewer slots than classes (a ComfyUI runs one job at a time) asks them in turn without waiting:
//! waiting at several with one permit would mean handing messages back, and every hand-back looks like a
//! lost worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use futures::{Stream, StreamExt};
use schemas::{Class, Health, topology};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinSet};

use crate::Discovery;
use crate::nats::NatsPorts;
use runtime::exit::Fault;
use runtime::topology::TopologyError;
use runtime::trouble::Trouble;

/// How long one wait at a consumer lasts; also how long a drain may take to notice the last message.
const WAIT: Duration = Duration::from_secs(2);

/// How long a worker that asks in turn rests when all consumers were empty.
const REST: Duration = Duration::from_millis(40);

/// A wait that brings nothing lasts nearly as long as it may; one that ends within this has failed.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The most messages asked for at once.
const PULL_MAX: usize = 500;

type Message = async_nats::jetstream::Message;

/// Why a wait for messages ended.
#[derive(Debug, thiserror::Error)]
enum PullError {
    /// The consumer could not be made.
    #[error(transparent)]
    Consumer(#[from] TopologyError),
    /// The broker did not serve the wait.
    #[error("the broker: {0}")]
    Broker(#[source] async_nats::Error),
    /// A wait ended before its time with nothing: the consumer was deleted.
    #[error("a wait ended at once and brought nothing")]
    AtOnce,
    /// One of several waits did not end by itself.
    #[error("a wait: {0}")]
    Wait(#[from] JoinError),
    /// There are no permits any more.
    #[error(transparent)]
    Permits(#[from] AcquireError),
}

impl PullError {
    fn broker(error: impl Into<async_nats::Error>) -> Self {
        Self::Broker(error.into())
    }
}

/// Pulls until the soft stop.
pub(crate) async fn run(ports: NatsPorts, mut discovery: watch::Receiver<Discovery>) -> Result<(), Fault> {
    let shared = Arc::clone(&ports.shared);
    let puller = Puller { ports };
    let mut trouble = Trouble::new("pulling assignments");
    while !shared.lifecycle.soft.is_cancelled() {
        let classes = healthy_classes(&discovery.borrow_and_update());
        if classes.is_empty() {
            tokio::select! {
                _ = discovery.changed() => {}
                () = shared.lifecycle.soft.cancelled() => {}
            }
            continue;
        }
        let served = if shared.slots as usize >= classes.len() {
            puller.wait_at_all(&classes, &mut discovery).await
        } else {
            puller.ask_in_turn(&classes, &mut discovery).await
        };
        if let Err(error) = served {
            tokio::select! {
                () = tokio::time::sleep(trouble.failed(&error)) => {}
                () = shared.lifecycle.soft.cancelled() => {}
            }
        }
    }
    Ok(())
}

fn healthy_classes(discovery: &Discovery) -> Vec<Class> {
    if discovery.health != Health::Healthy {
        return Vec::new();
    }
    discovery.classes.iter().filter(|class| !discovery.resting.contains(class)).cloned().collect()
}

#[derive(Clone)]
struct Puller {
    ports: NatsPorts,
}

impl Puller {
    /// One wait per class, until the classes change or the worker is asked to stop.
    async fn wait_at_all(
        &self,
        classes: &[Class],
        discovery: &mut watch::Receiver<Discovery>,
    ) -> Result<(), PullError> {
        let (go_on, stop) = watch::channel(true);
        let mut waits = JoinSet::new();
        for class in classes {
            let consumer = self.consumer(class).await?;
            waits.spawn(self.clone().wait_at(consumer, stop.clone()));
        }
        loop {
            tokio::select! {
                ended = waits.join_next() => match ended {
                    // A wait that failed takes the others with it, after their last messages.
                    Some(Ok(ended)) => {
                        go_on.send_replace(false);
                        while waits.join_next().await.is_some() {}
                        return ended;
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
                changed = discovery.changed(), if *go_on.borrow() => {
                    if changed.is_err() || healthy_classes(&discovery.borrow_and_update()) != classes {
                        go_on.send_replace(false);
                    }
                }
            }
        }
    }

    /// Asks for one while nothing comes, so that idle classes leave the slots to the busy ones; for twice as many
    /// whenever as many came as were asked for.
    async fn wait_at(self, consumer: PullConsumer, go_on: watch::Receiver<bool>) -> Result<(), PullError> {
        let mut want = 1;
        while *go_on.borrow() {
            let Some(first) = self.permit().await? else { return Ok(()) };
            let mut permits = self.more_permits(first, want);
            let asked = permits.len();
            let begun = Instant::now();
            let batch = consumer.batch().max_messages(asked).expires(WAIT).messages().await;
            let taken = self.take_all(batch.map_err(PullError::broker)?, &mut permits).await?;
            if taken == 0 && begun.elapsed() < AT_ONCE {
                return Err(PullError::AtOnce);
            }
            want = if taken == asked { (2 * taken).min(PULL_MAX) } else { taken.max(1) };
        }
        Ok(())
    }

    /// One consumer after the other, without waiting at any.
    async fn ask_in_turn(
        &self,
        classes: &[Class],
        discovery: &mut watch::Receiver<Discovery>,
    ) -> Result<(), PullError> {
        let mut consumers = HashMap::new();
        for class in classes {
            consumers.insert(class, self.consumer(class).await?);
        }
        let mut turn = 0usize;
        loop {
            if discovery.has_changed().unwrap_or(true)
                && healthy_classes(&discovery.borrow_and_update()) != classes
            {
                return Ok(());
            }
            let Some(first) = self.permit().await? else { return Ok(()) };
            let mut permits = self.more_permits(first, PULL_MAX);
            let mut taken = 0;
            for _ in 0..classes.len() {
                turn = (turn + 1) % classes.len();
                let fetch = consumers[&classes[turn]].fetch().max_messages(permits.len()).messages().await;
                taken += self.take_all(fetch.map_err(PullError::broker)?, &mut permits).await?;
                if permits.is_empty() {
                    break;
                }
            }
            drop(permits);
            if taken == 0 {
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = self.ports.shared.lifecycle.soft.cancelled() => {}
                }
            }
        }
    }

    /// A permit, or none at the soft stop.
    async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, PullError> {
        tokio::select! {
            biased;
            () = self.ports.shared.lifecycle.soft.cancelled() => Ok(None),
            permit = Arc::clone(&self.ports.shared.permits).acquire_owned() => Ok(Some(permit?)),
        }
    }

    fn more_permits(&self, first: OwnedSemaphorePermit, most: usize) -> Vec<OwnedSemaphorePermit> {
        let mut permits = vec![first];
        while permits.len() < most {
            let Ok(permit) = Arc::clone(&self.ports.shared.permits).try_acquire_owned() else { break };
            permits.push(permit);
        }
        permits
    }

    async fn take_all<S, E>(
        &self,
        messages: S,
        permits: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<usize, PullError>
    where
        S: Stream<Item = Result<Message, E>>,
        E: Into<async_nats::Error>,
    {
        let mut messages = std::pin::pin!(messages);
        let mut taken = 0;
        while let Some(message) = messages.next().await {
            let message = message.map_err(PullError::broker)?;
            // The broker sends no more than was asked for, so there is a permit for each message.
            let occupied = self.ports.shared.occupy(permits.pop());
            let ports = self.ports.clone();
            self.ports.shared.tasks.spawn_piece(async move {
                protocol::worker::deliver(&ports, message).await;
                drop(occupied);
            });
            taken += 1;
        }
        Ok(taken)
    }

    async fn consumer(&self, class: &Class) -> Result<PullConsumer, PullError> {
        let spec = topology::work_consumer(&self.ports.shared.backend, class);
        Ok(runtime::topology::ensure_consumer(&self.ports.shared.broker.jetstream, &spec).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<F>(_: impl FnOnce(&'static NatsPorts, Message) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// There is one for each job in hand.
    #[test]
    fn the_future_of_a_delivery_is_small() {
        let bytes = future_bytes(protocol::worker::deliver::<NatsPorts>);
        assert!(bytes <= 5_000, "{bytes} bytes: box what is rare or slow");
    }
}
