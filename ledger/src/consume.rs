//! From the stream to the tables: pull a batch, store it, acknowledge it. In this order, so that a kill
//! at any point costs a repetition and nothing else.

mod arrived;
mod parking;

use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchError;
use backon::{ExponentialBuilder, Retryable};
use futures::StreamExt;
use runtime::broker::Broker;
use runtime::exit::Fault;
use runtime::health::Health;
use runtime::metrics;
use runtime::topology;
use runtime::trouble::Trouble;
use schemas::Failure;
use schemas::topology::{ConsumerSpec, LEDGER_CONSUMER, Topology, stream};
use tokio_util::sync::CancellationToken;

use crate::event_check::Checked;
use crate::{Error, Ingested, Store};
use arrived::Arrived;

/// Events of one batch.
const BATCH_MAX: usize = 4_000;
/// Where nothing comes, the first that does is waited for, so long at a time.
const IDLE: Duration = Duration::from_secs(1);
/// Where little comes, events gather at the broker for so long and are then asked for all at once: asked for before they
/// are there, each is a delivery and a wake-up of its own. Short: storing is then many short bursts, which keep jobs on
/// their way waiting less than a few long ones do.
const GATHER: Duration = Duration::from_millis(50);
/// Where much comes, it arrives many at a time anyway, and a batch waits so long to be full: what a transaction costs is
/// shared by more events, and reading them goes on meanwhile.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// A batch has arrived within this, or the connection was lost: a client that asks without waiting sets itself no limit.
const ARRIVED_WITHIN: Duration = Duration::from_secs(10);
/// So many events a second are much.
const MUCH_PER_SECOND: f64 = 2_500.0;
/// First and longest wait between tries while the database is away.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Tries go on for this long; then the batch is let go, and the broker delivers it again.
const RETRY_TOTAL: Duration = Duration::from_secs(20);
/// A wait that brings nothing lasts nearly as long as it may; one that ends within this has failed.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The readiness condition that says whether the database takes what it is given.
pub const CONDITION: &str = "database";

/// Consumes events until stopped; finishes the batch in hand.
///
/// # Errors
/// The stream or its consumer is missing. Whatever may pass (broker or database away) is waited out.
pub async fn run(
    broker: Broker,
    store: Store,
    health: Health,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let mut consumer = topology::consumer(&broker.jetstream, stream::EVENTS, LEDGER_CONSUMER).await?;
    let mut trouble = Trouble::new("pulling events");
    let mut next = Next::First;
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let pulled = tokio::select! {
            pulled = pull(&consumer, next) => pulled,
            () = shutdown.cancelled() => break,
        };
        match pulled {
            Ok(messages) => {
                let events = messages.len();
                if events > 0 {
                    settle(&broker, &store, &health, messages, &shutdown).await;
                }
                // Of the whole turn: while a batch is stored the next one gathers.
                next = Next::after(events, started.elapsed());
            }
            Err(error) => {
                pause(trouble.failed(&error), &shutdown).await;
                // Deleted, it is made anew; the broker then delivers events that are booked, which changes nothing.
                match topology::find_or_make_consumer(&broker.jetstream, &consumer_spec()).await {
                    Ok(found) => consumer = found,
                    Err(error) => tracing::debug!(%error, "looking for the consumer of events"),
                }
            }
        }
    }
    Ok(())
}

fn consumer_spec() -> ConsumerSpec {
    let consumers = Topology::new(1).consumers;
    let spec = consumers.into_iter().find(|spec| spec.name == LEDGER_CONSUMER);
    spec.unwrap_or_else(|| unreachable!("consumer {LEDGER_CONSUMER} is of the topology"))
}

/// Why no events came.
#[derive(Debug, thiserror::Error)]
enum PullError {
    /// The broker did not take the request.
    #[error(transparent)]
    Asking(#[from] BatchError),
    /// It answered with an error.
    #[error("the broker: {0}")]
    Answer(async_nats::Error),
    /// The wait ended before its time.
    #[error("a pull ended at once and brought nothing")]
    AtOnce,
}

/// What the broker is asked for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The first event that comes.
    First,
    /// All that are there after a while.
    Gathered,
    /// A batch as it comes.
    Batch,
}

impl Next {
    /// After a turn that brought so many events and took so long.
    fn after(events: usize, took: Duration) -> Self {
        match events {
            0 => Self::First,
            _ if events as f64 > took.as_secs_f64() * MUCH_PER_SECOND => Self::Batch,
            _ => Self::Gathered,
        }
    }
}

async fn pull(
    consumer: &PullConsumer,
    next: Next,
) -> Result<Vec<(Arrived, Result<Checked, Failure>)>, PullError> {
    let begun = Instant::now();
    let batch = match next {
        Next::First => consumer.batch().max_messages(1).expires(IDLE).messages().await?,
        Next::Gathered => {
            tokio::time::sleep(GATHER).await;
            consumer.fetch().max_messages(BATCH_MAX).messages().await?
        }
        Next::Batch => consumer.batch().max_messages(BATCH_MAX).expires(BATCH_WAIT).messages().await?,
    };
    let mut batch = std::pin::pin!(batch.take_until(tokio::time::sleep(ARRIVED_WITHIN)));
    let (mut events, mut failed) = (Vec::new(), None);
    while let Some(message) = batch.next().await {
        match message {
            Ok(message) => events.push(arrived::read(message)),
            // A message that the connection lost is delivered again; the others are good.
            Err(error) => failed = Some(PullError::Answer(error)),
        }
    }
    if next != Next::Gathered && events.is_empty() && failed.is_none() && begun.elapsed() < AT_ONCE {
        failed = Some(PullError::AtOnce);
    }
    match failed {
        Some(failed) if events.is_empty() => Err(failed),
        _ => Ok(events),
    }
}

async fn pause(length: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Stores a batch and acknowledges what was stored or put aside.
async fn settle(
    broker: &Broker,
    store: &Store,
    health: &Health,
    messages: Vec<(Arrived, Result<Checked, Failure>)>,
    shutdown: &CancellationToken,
) {
    let mut events = Vec::with_capacity(messages.len());
    let mut readable = Vec::with_capacity(messages.len());
    for (arrived, read) in messages {
        match read {
            // The end itself was booked before its marker was made.
            Ok(checked) if checked.event.is_marker() => acknowledge(&broker.client, arrived).await,
            Ok(checked) => {
                events.push(checked);
                readable.push(arrived);
            }
            Err(failure) => {
                if parking::park(broker, &arrived, failure).await {
                    acknowledge(&broker.client, arrived).await;
                }
            }
        }
    }
    let refused = match store_patiently(store, health, &events, shutdown).await {
        Ok(refused) => refused,
        Err(error) => {
            tracing::error!(%error, events = events.len(), "events are not stored, the broker keeps them");
            return;
        }
    };
    let mut why: std::collections::HashMap<usize, Failure> = refused.into_iter().collect();
    for (index, arrived) in readable.into_iter().enumerate() {
        let kept = match why.remove(&index) {
            Some(failure) => parking::park(broker, &arrived, failure).await,
            None => true,
        };
        if kept {
            acknowledge(&broker.client, arrived).await;
        }
    }
}

/// An acknowledgement that is lost means a repetition, which changes nothing: no confirmation is awaited.
async fn acknowledge(client: &Client, arrived: Arrived) {
    let Some(reply) = arrived.reply else { return };
    if let Err(error) = client.publish(reply, AckKind::Ack.into()).await {
        tracing::warn!(%error, "an acknowledgement was not sent, the event comes again");
    }
}

/// Stores events, waiting out a database that is away. Returns those to put aside.
async fn store_patiently(
    store: &Store,
    health: &Health,
    events: &[Checked],
    shutdown: &CancellationToken,
) -> Result<Vec<(usize, Failure)>, Error> {
    let retry = ExponentialBuilder::default()
        .with_min_delay(RETRY_MIN)
        .with_max_delay(RETRY_MAX)
        .with_total_delay(Some(RETRY_TOTAL))
        .without_max_times()
        .with_jitter();
    let stored = (|| store.book(events))
        .retry(retry)
        .when(|error| !error.is_about_data() && !shutdown.is_cancelled())
        .notify(|error, wait| {
            health.bad(CONDITION, error.to_string());
            metrics::LEDGER_DATABASE_ERRORS.increment(1);
            tracing::warn!(%error, wait_ms = wait.as_millis(), "the database did not take a batch, trying again");
        })
        .await;
    match stored {
        Ok(ingested) => {
            health.good(CONDITION);
            count(&ingested);
            Ok(Vec::new())
        }
        Err(error) if error.is_about_data() => in_halves(store, events).await,
        Err(error) => {
            health.bad(CONDITION, error.to_string());
            Err(error)
        }
    }
}

/// Some event of the batch is what the database objects to: halved until it is alone, so that the others get through
/// in a few transactions.
async fn in_halves(store: &Store, events: &[Checked]) -> Result<Vec<(usize, Failure)>, Error> {
    let mut refused = Vec::new();
    let mut rest = vec![(0, events.len())];
    while let Some((start, end)) = rest.pop() {
        match store.book(&events[start..end]).await {
            Ok(ingested) => count(&ingested),
            Err(error) if error.is_about_data() && end - start > 1 => {
                let middle = start.midpoint(end);
                rest.extend([(middle, end), (start, middle)]);
            }
            Err(error) if error.is_about_data() => {
                refused.push((start, Failure::invalid("event", error.to_string())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

fn count(ingested: &Ingested) {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    metrics::LEDGER_EVENTS_STORED.increment(number(ingested.stored));
    metrics::LEDGER_JOBS_ENDED.increment(number(ingested.ended));
    metrics::LEDGER_EVENTS_REPEATED.increment(number(ingested.repeated));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_is_asked_for_as_it_came_before() {
        let after = |events, took_ms| Next::after(events, Duration::from_millis(took_ms));
        assert_eq!(after(0, 1_000), Next::First);
        assert_eq!(after(1, 900), Next::Gathered, "the first of a while");
        assert_eq!(after(55, 55), Next::Gathered, "1,000 a second");
        assert_eq!(after(1_000, 250), Next::Batch, "4,000 a second");
        assert_eq!(after(BATCH_MAX, 400), Next::Batch, "more than a batch");
    }
}
