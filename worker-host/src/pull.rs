//! Pulls assignments: a permit first, then a message, never more messages than permits.
//!
//! Each class has a consumer of its own, shared by all workers of the backend whose server has the same. A worker with a
//! slot for every class waits at all its consumers at once, each wait holding its permits: one where nothing comes.
//! One with fewer slots than classes (a ComfyUI runs one job at a time) asks them in turn without waiting:
//! waiting at several with one permit would mean handing messages back, and every hand-back looks like a
//! lost worker.
//!
//! A worker with a capability reads now and then other queues of its classes too: those that all workers read, where release
//! 0.1.0 puts all work, and those of what its server had before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use futures::{Stream, StreamExt};
use schemas::{Capability, Class, Health, Queue, topology};
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

/// While nothing may be pulled: how soon to look again, should no news come.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How often the other queues are read.
const OTHERS_EVERY: Duration = Duration::from_secs(1);

/// So many capabilities that a server had before are remembered: their queues empty soon.
const BEFORE_MAX: usize = 4;

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
    let mut before = VecDeque::new();
    while !shared.lifecycle.soft.is_cancelled() {
        let reading = Reading::of(&discovery.borrow_and_update());
        if reading.classes.is_empty() || puller.rests() {
            tokio::select! {
                _ = discovery.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = shared.lifecycle.soft.cancelled() => {}
            }
            continue;
        }
        remember(&mut before, reading.capability);
        let served = match puller.sources(&reading, &before).await {
            Ok(sources) if shared.slots as usize >= sources.len() => {
                puller.wait_at_all(sources, &reading, &mut discovery).await
            }
            Ok(sources) => puller.ask_in_turn(sources, &reading, &mut discovery).await,
            Err(error) => Err(error),
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

/// What work is read; nothing while the provider is not well.
#[derive(PartialEq)]
struct Reading {
    classes: Vec<Class>,
    capability: Option<Capability>,
}

impl Reading {
    fn of(discovery: &Discovery) -> Self {
        let classes = discovery.classes.iter().filter(|class| !discovery.resting.contains(class));
        let classes =
            if discovery.health == Health::Healthy { classes.cloned().collect() } else { Vec::new() };
        Self { classes, capability: discovery.capability }
    }
}

/// The capabilities that a server has had, the latest first.
fn remember(before: &mut VecDeque<Capability>, now: Option<Capability>) {
    let Some(now) = now else { return };
    before.retain(|known| *known != now);
    before.push_front(now);
    before.truncate(BEFORE_MAX);
}

/// The other queues of a class: where work may lie that is not put into the worker's own queue now.
fn others(class: &Class, now: Option<Capability>, before: &VecDeque<Capability>) -> Vec<Queue> {
    let all = std::iter::once(None).chain(before.iter().copied().map(Some));
    all.filter(|capability| *capability != now)
        .map(|capability| Queue { class: class.clone(), capability })
        .collect()
}

/// Where work of one class comes from.
struct Source {
    own: PullConsumer,
    others: Vec<PullConsumer>,
    others_read_at: Instant,
}

impl Source {
    /// The other queues, when it is time to read them.
    fn others_due(&mut self) -> &[PullConsumer] {
        if self.others.is_empty() || self.others_read_at.elapsed() < OTHERS_EVERY {
            return &[];
        }
        self.others_read_at = Instant::now();
        &self.others
    }
}

#[derive(Clone)]
struct Puller {
    ports: NatsPorts,
}

impl Puller {
    /// One wait per class, until the classes change or the worker is asked to stop.
    async fn wait_at_all(
        &self,
        sources: Vec<Source>,
        reading: &Reading,
        discovery: &mut watch::Receiver<Discovery>,
    ) -> Result<(), PullError> {
        let (go_on, stop) = watch::channel(true);
        let mut waits = JoinSet::new();
        for source in sources {
            waits.spawn(self.clone().wait_at(source, stop.clone()));
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
                    if changed.is_err() || Reading::of(&discovery.borrow_and_update()) != *reading {
                        go_on.send_replace(false);
                    }
                }
            }
        }
    }

    /// Asks for one while nothing comes, so that idle classes leave the slots to the busy ones; for twice as many
    /// whenever as many came as were asked for.
    async fn wait_at(self, mut source: Source, go_on: watch::Receiver<bool>) -> Result<(), PullError> {
        let mut want = 1;
        while *go_on.borrow() {
            let Some(first) = self.permit().await? else { return Ok(()) };
            if self.rests() {
                return Ok(());
            }
            let mut permits = self.more_permits(first, want);
            if self.ask_others(&mut source, &mut permits).await? > 0 {
                continue;
            }
            let asked = permits.len();
            let begun = Instant::now();
            let batch = source.own.batch().max_messages(asked).expires(WAIT).messages().await;
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
        mut sources: Vec<Source>,
        reading: &Reading,
        discovery: &mut watch::Receiver<Discovery>,
    ) -> Result<(), PullError> {
        let mut turn = 0usize;
        loop {
            if discovery.has_changed().unwrap_or(true)
                && Reading::of(&discovery.borrow_and_update()) != *reading
            {
                return Ok(());
            }
            let Some(first) = self.permit().await? else { return Ok(()) };
            if self.rests() {
                return Ok(());
            }
            let mut permits = self.more_permits(first, PULL_MAX);
            let mut taken = 0;
            for _ in 0..sources.len() {
                turn = (turn + 1) % sources.len();
                let source = &mut sources[turn];
                taken += self.ask_others(source, &mut permits).await?;
                if permits.is_empty() {
                    break;
                }
                taken += self.ask(&source.own, &mut permits).await?;
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

    /// Reads the other queues of a class, when it is time to.
    async fn ask_others(
        &self,
        source: &mut Source,
        permits: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<usize, PullError> {
        let mut taken = 0;
        for consumer in source.others_due() {
            if !permits.is_empty() {
                taken += self.ask(consumer, permits).await?;
            }
        }
        Ok(taken)
    }

    /// Takes what is there now.
    async fn ask(
        &self,
        consumer: &PullConsumer,
        permits: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<usize, PullError> {
        let fetch = consumer.fetch().max_messages(permits.len()).messages().await;
        self.take_all(fetch.map_err(PullError::broker)?, permits).await
    }

    /// Whether the worker's own server is left alone. Asked once a slot is free: what failed there a moment ago may not be
    /// in the discovery yet.
    fn rests(&self) -> bool {
        let open_until_ms = self.ports.shared.server_breaker().and_then(|breaker| breaker.open_until_ms);
        open_until_ms.is_some_and(|until_ms| until_ms > runtime::clock::now_ms())
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

    /// For each class where its work comes from.
    async fn sources(
        &self,
        reading: &Reading,
        before: &VecDeque<Capability>,
    ) -> Result<Vec<Source>, PullError> {
        let mut sources = Vec::new();
        for class in &reading.classes {
            let own = Queue { class: class.clone(), capability: reading.capability };
            let mut source = Source {
                own: self.consumer(&own).await?,
                others: Vec::new(),
                others_read_at: Instant::now(),
            };
            for queue in others(class, reading.capability, before) {
                source.others.push(self.consumer(&queue).await?);
            }
            sources.push(source);
        }
        Ok(sources)
    }

    async fn consumer(&self, queue: &Queue) -> Result<PullConsumer, PullError> {
        let spec = topology::work_consumer(&self.ports.shared.backend, queue);
        Ok(runtime::topology::ensure_consumer(&self.ports.shared.broker.jetstream, &spec).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<F>(_: impl FnOnce(&'static NatsPorts, Message) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn work_may_lie_in_other_queues_of_a_class() {
        let class: Class = "image-large".parse().expect("a name");
        let (one, two): (Capability, Capability) =
            ("00000001".parse().expect("digits"), "00000002".parse().expect("digits"));
        let mut before = VecDeque::new();
        let texts = |now, before: &VecDeque<Capability>| -> Vec<String> {
            others(&class, now, before).iter().map(Queue::to_string).collect()
        };
        // Workers that are all alike have one queue.
        remember(&mut before, None);
        assert!(texts(None, &before).is_empty());
        remember(&mut before, Some(one));
        assert_eq!(texts(Some(one), &before), ["image-large"]);
        remember(&mut before, Some(two));
        assert_eq!(texts(Some(two), &before), ["image-large", "image-large+00000001"]);
        remember(&mut before, Some(one));
        assert_eq!(texts(Some(one), &before), ["image-large", "image-large+00000002"]);
        for number in 3..9 {
            remember(&mut before, Some(format!("{number:08x}").parse().expect("digits")));
        }
        assert_eq!(before.len(), BEFORE_MAX);
    }

    /// There is one for each job in hand.
    #[test]
    fn the_future_of_a_delivery_is_small() {
        let bytes = future_bytes(protocol::worker::deliver::<NatsPorts>);
        assert!(bytes <= 5_000, "{bytes} bytes: box what is rare or slow");
    }
}
