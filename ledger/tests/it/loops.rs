//! The two loops against a real broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use ledger::{consume, reserving};
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use runtime::fleet_config::FleetConfig;
use runtime::health::Health;
use runtime::publish::Message;
use schemas::reserve::{Reservation, ReserveReply, ReserveRequest};
use schemas::topology::{LEDGER_CONSUMER, Topology, stream};
use schemas::{MicroUsd, Parked, SCHEMA_VERSION, codec, subjects};
use servers::{NatsOptions, NatsServer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::server::{found, migrated, scratch};
use crate::story::Story;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Served {
    broker: Broker,
    _server: NatsServer,
    _dir: tempfile::TempDir,
}

impl std::ops::Deref for Served {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

pub(crate) async fn broker() -> Served {
    let dir = scratch();
    let server = NatsServer::start(&found(), NatsOptions::new(dir.path())).await.expect("it starts");
    let config = NatsConfig { url: server.url().into(), ..NatsConfig::default() };
    let broker = Broker::connect(&config, "test").await.expect("it is ready");
    runtime::topology::apply(&broker.jetstream, &Topology::new(1)).await.expect("the topology applies");
    Served { broker, _server: server, _dir: dir }
}

/// Looks until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn unacknowledged(jetstream: &jetstream::Context) -> u64 {
    let consumer = jetstream
        .get_consumer_from_stream::<jetstream::consumer::pull::Config, _, _>(LEDGER_CONSUMER, stream::EVENTS)
        .await
        .unwrap();
    let info = consumer.cached_info();
    info.num_pending + info.num_ack_pending as u64
}

#[tokio::test]
async fn events_reach_the_tables_and_what_cannot_is_parked() {
    let (broker, database) = (broker().await, migrated().await);
    let story = Story::new(1);
    for event in story.eventful() {
        broker.publisher.publish(&Message::event(&event)).await.unwrap();
    }
    let odd = subjects::event(&story.tenant, story.job, "running");
    broker.jetstream.publish(odd, "not an event".into()).await.unwrap().await.unwrap();

    let (stop, health) = (CancellationToken::new(), Health::default());
    let mut tasks = JoinSet::new();
    let (events, store) = (Broker::clone(&broker), database.store.clone());
    tasks.spawn(consume::run(events, store, health.clone(), stop.clone()));
    until("all events are acknowledged", async || unacknowledged(&broker.jetstream).await == 0).await;
    assert_eq!(database.number("select count(*) from events").await, 9);
    assert_eq!(database.text("select state from jobs").await, "completed");
    health.ready().expect("the database took all");

    let inbox = broker.jetstream.get_stream(stream::PARKED).await.unwrap();
    let lying = inbox.get_last_raw_message_by_subject("argosy.parked.>").await.unwrap();
    assert_eq!(lying.subject.as_str(), format!("argosy.parked.studio-a.invalid_job.{}", story.job));
    let parked: Parked = codec::decode(None, &lying.payload).unwrap();
    assert_eq!(parked.payload_base64, "bm90IGFuIGV2ZW50");
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().expect("it ends when asked");
}

#[tokio::test]
async fn events_wait_while_the_database_is_away() {
    let (broker, database) = (broker().await, migrated().await);
    // The tables are out of reach: every statement ends with an error that passes.
    let away = "alter table events rename to events_away";
    let lost = "alter table events_away rename to events";
    sqlx::query(away).execute(&database.pool).await.unwrap();
    let (stop, health) = (CancellationToken::new(), Health::default());
    let mut tasks = JoinSet::new();
    let (events, store) = (Broker::clone(&broker), database.store.clone());
    tasks.spawn(consume::run(events, store, health.clone(), stop.clone()));
    for event in Story::new(1).eventful() {
        broker.publisher.publish(&Message::event(&event)).await.unwrap();
    }
    until("it says that it is not ready", async || health.ready().is_err()).await;
    assert!(unacknowledged(&broker.jetstream).await > 0, "nothing is acknowledged away");
    sqlx::query(lost).execute(&database.pool).await.unwrap();
    until("all events are acknowledged", async || unacknowledged(&broker.jetstream).await == 0).await;
    assert_eq!(database.number("select count(*) from events").await, 9);
    health.ready().expect("it is ready again");
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().expect("it ends when asked");
}

#[tokio::test]
async fn routers_get_their_grants_and_an_error_when_the_database_is_gone() {
    let (broker, database) = (broker().await, migrated().await);
    let mut tenants = crate::story::who_may_spend();
    tenants.default.daily_micro_usd = Some(MicroUsd(100));
    let config = FleetConfig {
        policy: Arc::new(policy::defaults::policy()),
        catalog: Arc::new(policy::defaults::catalog()),
        prices: Arc::new(policy::defaults::prices()),
        tenants: Arc::new(tenants),
        unreadable: Vec::new(),
    };
    let (config, watched) = watch::channel(config);
    let (stop, health) = (CancellationToken::new(), Health::default());
    let mut tasks = JoinSet::new();
    let (client, store) = (broker.client.clone(), database.store.clone());
    tasks.spawn(reserving::run(client, store, watched, health.clone(), stop.clone()));
    let ask_on = async |subject: &'static str, payload: Vec<u8>| {
        let mut reply = broker.client.request(subject, payload.clone().into()).await;
        let deadline = Instant::now() + PATIENCE;
        // The loop may not have subscribed yet.
        while reply.is_err() && Instant::now() < deadline {
            reply = broker.client.request(subject, payload.clone().into()).await;
        }
        codec::decode::<ReserveReply>(None, &reply.expect("somebody answers").payload).unwrap()
    };
    let ask = async |payload: Vec<u8>| ask_on(subjects::FLEET_RESERVE, payload).await;
    let request = |amounts: [i64; 2]| {
        let reservations = (1..).zip(amounts).map(|(n, amount)| {
            let reservation = Story::new(n).reservation(0, 1, amount);
            // Routers ask with the time of the moment.
            Reservation { time_ms: runtime::clock::now_ms(), ..reservation }
        });
        codec::encode(&ReserveRequest {
            schema_version: SCHEMA_VERSION,
            reservations: reservations.collect(),
        })
    };
    let reply = ask(request([70, 40])).await;
    assert_eq!(reply.grants.iter().map(|grant| grant.granted).collect::<Vec<_>>(), [true, false]);
    assert!(ask(b"garbage".to_vec()).await.error.is_some());
    // As a router of release 0.1.0 asks. What no router asks for gets nothing, and does not delay the others.
    let reply = ask_on(subjects::FLEET_RESERVE_BEFORE, request([0, 30])).await;
    assert_eq!(reply.grants.iter().map(|grant| grant.granted).collect::<Vec<_>>(), [false, true]);
    let refusal = reply.grants[0].refusal.as_deref().unwrap_or_default();
    assert!(refusal.starts_with("amount_micro_usd is $0.000000"), "{refusal}");
    let reply = ask(request([70, i64::MAX])).await;
    assert_eq!(reply.grants.iter().map(|grant| grant.granted).collect::<Vec<_>>(), [true, false]);

    config.send_modify(|config| {
        let mut wider = (*config.tenants).clone();
        wider.default.daily_micro_usd = Some(MicroUsd(200));
        config.tenants = Arc::new(wider);
    });
    assert!(ask(request([70, 40])).await.grants[1].granted, "a new budget holds at once");
    let noted = "select daily_micro_usd from budgets where scope = 'default'";
    assert_eq!(database.number(noted).await, 200);

    database.store.close().await;
    let reply = ask(request([1, 1])).await;
    assert!(reply.grants.is_empty() && reply.error.is_some(), "{reply:?}");
    assert!(health.ready().is_err());
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().expect("it ends when asked");
}
