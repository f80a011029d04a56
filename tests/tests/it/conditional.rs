//! Writes that expect something, whose answer was lost: whoever writes again knows its own record. And limits that an
//! operator raised, which no default lowers. On a real broker.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::stream::Config;
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use runtime::publish::{Message, PublishError, Published};
use runtime::topology::{Limit, apply, apply_lowering, verify};
use schemas::topology::{Topology, stream};
use schemas::{Event, Fact, JobId, samples};
use servers::{Found, NatsOptions, NatsServer};
use tests::fleet::root;

async fn start(dir: &tempfile::TempDir, group_writes: bool) -> anyhow::Result<(NatsServer, Broker)> {
    let nats = NatsServer::start(&Found::load(&root())?, NatsOptions::new(dir.path())).await?;
    let config = NatsConfig { url: nats.url().into(), group_writes, ..NatsConfig::default() };
    let broker = Broker::connect(&config, "conditional").await?;
    Ok((nats, broker))
}

/// An event of a new job that is stored only onto an empty subject.
fn expecting(kind: &str) -> anyhow::Result<Event> {
    let event = samples::events().into_iter().find(|event| event.fact.kind() == kind).context("a sample")?;
    let attempt = if kind == "assigned" { 1 } else { event.attempt };
    Ok(Event::new(event.time_ms, event.tenant, JobId::new(), attempt, event.fact))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_stored_already_is_known_as_our_own() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    for group_writes in [false, true] {
        let (_nats, broker) = start(&tempfile::tempdir_in(dir.path())?, group_writes).await?;
        apply(&broker.jetstream, &Topology::new(1)).await?;
        for kind in ["assigned", "ended"] {
            let event = expecting(kind)?;
            let message = Message::event(&event);
            ensure!(broker.publisher.publish(&message).await? == Published::New);
            // As after a lost answer: nothing tells the second try that the first was stored.
            ensure!(broker.publisher.publish(&message).await? == Published::Repeat, "{kind}: our own");
            let other = Event { time_ms: event.time_ms + 1, ..event };
            let refused = broker.publisher.publish(&Message::event(&other)).await;
            ensure!(matches!(refused, Err(PublishError::Occupied { .. })), "{kind}: {refused:?}");
        }
        // A later placement is refused by an expectation that is not met, and is not in the stream: not our own.
        let mut later = expecting("assigned")?;
        later.attempt = 2;
        let refused = broker.publisher.publish(&Message::event(&later).after(77)).await;
        ensure!(matches!(refused, Err(PublishError::Occupied { .. })), "{refused:?}");
        ensure!(matches!(later.fact, Fact::Assigned { .. }));
    }
    Ok(())
}

async fn config(broker: &Broker, name: &str) -> anyhow::Result<Config> {
    Ok(broker.jetstream.get_stream(name).await?.cached_info().config.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_raised_stays_until_it_is_named() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (_nats, broker) = start(&dir, false).await?;
    let (jetstream, topology) = (&broker.jetstream, Topology::new(1));
    apply(jetstream, &topology).await?;
    ensure!(verify(jetstream, &topology).await?.is_empty());
    let events = config(&broker, stream::EVENTS).await?;
    let (bytes, week) = (events.max_bytes, events.max_age);
    // Raised by hand: size and age of facts, the keys' age, and without any limit the inbox.
    let raised = Config { max_bytes: 2 * bytes, max_age: 4 * week, ..events };
    jetstream.update_stream(raised).await?;
    let parked = config(&broker, stream::PARKED).await?;
    jetstream.update_stream(Config { max_bytes: -1, max_age: Duration::ZERO, ..parked }).await?;
    let keys = config(&broker, "KV_KEYS").await?;
    let keys_age = 30 * keys.max_age;
    jetstream.update_stream(Config { max_age: keys_age, ..keys }).await?;
    let spec = topology.consumers[0].clone();
    let more = schemas::topology::ConsumerSpec { max_ack_pending: 50_000, ..spec.clone() };
    runtime::topology::ensure_consumer(jetstream, &more).await?;

    ensure!(verify(jetstream, &topology).await?.is_empty(), "what is larger is no difference");
    let done = apply(jetstream, &topology).await?;
    ensure!(done.iter().all(|line| !line.contains("lowered")), "{done:?}");
    let events = config(&broker, stream::EVENTS).await?;
    ensure!((events.max_bytes, events.max_age) == (2 * bytes, 4 * week), "{events:?}");
    let parked = config(&broker, stream::PARKED).await?;
    ensure!((parked.max_bytes, parked.max_age) == (-1, Duration::ZERO), "{parked:?}");
    ensure!(config(&broker, "KV_KEYS").await?.max_age == keys_age);
    // Nor does whoever makes sure of its consumer.
    let kept = runtime::topology::ensure_consumer(jetstream, &spec).await?;
    ensure!(kept.cached_info().config.max_ack_pending == 50_000);

    let done = apply_lowering(jetstream, &topology, &[Limit::MaxBytes]).await?;
    let said = format!("stream EVENTS: max_bytes lowered from {} to {bytes}", 2 * bytes);
    ensure!(done.contains(&said), "{done:?}");
    let events = config(&broker, stream::EVENTS).await?;
    ensure!((events.max_bytes, events.max_age) == (bytes, 4 * week), "only what was named: {events:?}");
    // What is smaller than this version needs is a difference, and is raised.
    jetstream.update_stream(Config { max_bytes: bytes / 2, ..events }).await?;
    let differences = verify(jetstream, &topology).await?;
    ensure!(differences == [format!("stream EVENTS: max_bytes is {}, should be {bytes}", bytes / 2)]);
    apply(jetstream, &topology).await?;
    ensure!(verify(jetstream, &topology).await?.is_empty());
    Ok(())
}
