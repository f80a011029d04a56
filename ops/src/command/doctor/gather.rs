//! What `argosy doctor` looks at. Each look has a time limit of its own and comes to a row, whatever the others say.

use crate::command::session::Session;
use crate::doctor::{self, Asked, Connected, Filling, Finding, Varz, Verdict};
use crate::monitor;
use anyhow::Context as _;
use async_nats::client::RequestErrorKind;
use client::documents;
use futures::StreamExt as _;
use futures::future::join_all;
use runtime::broker::Broker;
use runtime::claims::Claims;
use runtime::clock::now_ms;
use runtime::store_room::StoreRoom;
use runtime::{lanes, telemetry};
use schemas::api::{BackendsReply, LaneStatus, RouterPresence};
use schemas::reserve::{ReserveReply, ReserveRequest};
use schemas::topology::{self, Topology, bucket, stream};
use schemas::{SCHEMA_VERSION, codec, subjects};
use std::time::Duration;

/// How long one check may take: what is frozen does not answer, and the others have their say all the same.
const CHECK_WITHIN: Duration = Duration::from_secs(4);

/// How long routers may take to answer for themselves.
const PRESENCE_WITHIN: Duration = Duration::from_secs(1);

/// How long a process may take to answer on its page.
const PAGE_WITHIN: Duration = Duration::from_secs(2);

/// Waits for one look.
pub(super) async fn within<T>(look: impl Future<Output = anyhow::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(CHECK_WITHIN, look).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer within {} s", CHECK_WITHIN.as_secs())),
    }
}

/// A check that could not be made.
pub(super) fn unknown(check: &'static str, error: &str) -> Finding {
    Finding::unknown(check, format!("it cannot be looked at: {error}"), "mend the broker first")
}

/// The rows of a broker that does not answer.
pub(super) fn without_broker(error: &str, nodes: &Result<Vec<Varz>, String>) -> Vec<Finding> {
    let cure = "start the broker, or kill and start it if it is frozen; is --nats its address?";
    let seen = format!("it does not answer: {error}; nothing is accepted meanwhile");
    let mut findings = vec![Finding { verdict: Verdict::Bad, ..Finding::unknown("broker", seen, cure) }];
    findings.extend(nodes.as_ref().err().map(|error| no_monitor(error)));
    let checks = [
        "topology",
        "room",
        "claims",
        "documents",
        "artifact store",
        "router",
        "queue",
        "ledger",
        "backend",
        "parked",
    ];
    findings.extend(checks.map(|check| unknown(check, "the broker does not answer")));
    findings
}

/// The row of a broker that answers.
pub(super) fn connected(broker: &Broker) -> Finding {
    let info = broker.client.server_info();
    Finding::good("broker", format!("{} answers, nats-server {}", info.server_name, info.version))
}

/// A monitoring page that does not answer.
pub(super) fn no_monitor(error: &str) -> Finding {
    let cure = "give --monitor the addresses of the broker's monitoring pages";
    Finding::unknown("broker page", format!("the broker's page does not answer: {error}"), cure)
}

/// How the broker introduced itself.
pub(super) fn introduced(broker: &Broker) -> Connected {
    let info = broker.client.server_info();
    Connected { server_id: info.server_id, server_name: info.server_name, cluster: info.cluster }
}

/// Streams, consumers and buckets.
pub(super) async fn topology(broker: &Broker, replicas: usize) -> Finding {
    let expected = Topology::new(replicas);
    let look = async { Ok(runtime::topology::verify(&broker.jetstream, &expected).await?) };
    match within(look).await {
        Ok(differences) => doctor::topology(&differences, replicas),
        Err(error) => unknown("topology", &error),
    }
}

/// Streams that are nearly full.
pub(super) async fn rooms(broker: &Broker, replicas: usize) -> Vec<Finding> {
    let look = async {
        let (mut findings, mut filling) = (Vec::new(), Vec::new());
        for spec in Topology::new(replicas).streams {
            // One that is missing was named by the topology's check.
            let Ok(stream) = broker.jetstream.get_stream(&spec.name).await else { continue };
            let info = stream.cached_info();
            findings.extend(doctor::room(&spec.name, info.state.bytes, info.config.max_bytes));
            if [stream::EVENTS, stream::PARKED].contains(&spec.name.as_str()) {
                filling.push(Filling { stream: spec.name, room: StoreRoom::of_stream(info, now_ms()) });
            }
        }
        for name in [bucket::KEYS, bucket::CANCELS] {
            let Ok(stream) = broker.jetstream.get_stream(format!("KV_{name}")).await else { continue };
            let info = stream.cached_info();
            findings.extend(doctor::guards(name, info.state.bytes, info.config.max_bytes));
        }
        findings.push(doctor::storage(&filling));
        Ok(findings)
    };
    within(look).await.unwrap_or_else(|error| vec![unknown("room", &error)])
}

/// The claims on paid attempts.
pub(super) async fn claims(broker: &Broker) -> Finding {
    let look = async {
        let bucket = runtime::topology::open_bucket(&broker.jetstream, bucket::ATTEMPTS).await?;
        let (store, room) = Claims::new(bucket).look().await?;
        Ok(doctor::claims(&store, &room))
    };
    within(look).await.unwrap_or_else(|error| unknown("claims", &error))
}

/// The configuration documents.
pub(super) async fn documents(broker: &Broker) -> Vec<Finding> {
    let jetstream = &broker.jetstream;
    let look = async {
        Ok(doctor::documents(
            &documents::stored(jetstream).await?,
            &documents::stored(jetstream).await?,
            &documents::stored(jetstream).await?,
            &documents::stored(jetstream).await?,
            now_ms(),
        ))
    };
    within(look).await.unwrap_or_else(|error| vec![unknown("documents", &error)])
}

/// The room for files, and for how long they are kept, milliseconds; 0 for ever.
pub(super) async fn artifact_store(broker: &Broker) -> (Finding, u64) {
    let look = async { StoreRoom::measure(&broker.jetstream, now_ms()).await.map_err(anyhow::Error::msg) };
    match within(look).await {
        Ok(room) => (doctor::artifact_store(&room), room.max_age_ms),
        Err(error) => (unknown("artifact store", &error), 0),
    }
}

/// The routers and what they see.
pub(super) struct Fleet {
    pub(super) asked: Asked<BackendsReply>,
    /// Those that answer for themselves.
    pub(super) routers: Vec<RouterPresence>,
    /// How many the broker has connections of; none when it does not say.
    pub(super) connections: Option<usize>,
}

/// Asks all routers for themselves and one of them for the fleet. One that is frozen may be the one that is asked, so the
/// question is put again while time is left.
pub(super) async fn fleet(broker: &Broker, monitor_urls: &[String]) -> Fleet {
    let connections = async {
        let names = within(monitor::connections(monitor_urls)).await.ok()?;
        let routers = names.iter().filter(|name| *name == "argosy router").count();
        (!monitor_urls.is_empty()).then_some(routers)
    };
    let (asked, routers, connections) = tokio::join!(backends(broker), presences(broker), connections);
    Fleet { asked, routers, connections }
}

async fn backends(broker: &Broker) -> Asked<BackendsReply> {
    const QUESTIONS: u32 = 4;
    let subject = subjects::api(None, "backends");
    for _ in 0..QUESTIONS {
        let asking = broker.client.request(subject.clone(), "".into());
        match tokio::time::timeout(CHECK_WITHIN / QUESTIONS, asking).await {
            Err(_) => {}
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => return Asked::Absent,
            Ok(Err(error)) => return Asked::Refused(telemetry::chain(&error)),
            Ok(Ok(reply)) => {
                return match codec::decode(None, &reply.payload) {
                    Ok(reply) => Asked::Answered(reply),
                    Err(error) => Asked::Refused(format!("its answer cannot be read: {error}")),
                };
            }
        }
    }
    Asked::Silent
}

async fn presences(broker: &Broker) -> Vec<RouterPresence> {
    let look = async {
        let inbox = broker.client.new_inbox();
        let mut answers = broker.client.subscribe(inbox.clone()).await?;
        broker.client.publish_with_reply(subjects::FLEET_PRESENCE, inbox, "".into()).await?;
        let mut routers = Vec::new();
        // There is no telling how many will answer.
        while let Ok(Some(answer)) = tokio::time::timeout(PRESENCE_WITHIN, answers.next()).await {
            match codec::decode::<RouterPresence>(None, &answer.payload) {
                Ok(router) => routers.push(router),
                // No router listens there.
                Err(_) => break,
            }
        }
        Ok(routers)
    };
    within(look).await.unwrap_or_default()
}

/// What lies in the lanes.
pub(super) async fn lanes(broker: &Broker) -> Result<Vec<LaneStatus>, String> {
    within(async { Ok(lanes::status(&broker.jetstream).await?) }).await
}

/// What is parked.
pub(super) async fn parked(broker: &Broker) -> Finding {
    let look = async {
        let parked = broker.jetstream.get_stream(stream::PARKED).await?;
        let state = &parked.cached_info().state;
        let count = client::parked::count(&broker.jetstream).await?;
        let newest = match count {
            0 => None,
            _ => parked.get_raw_message(state.last_sequence).await.ok(),
        };
        let newest = newest.and_then(|message| {
            let at_ms = runtime::clock::ms_of_ns(message.time.unix_timestamp_nanos());
            let code = message.subject.split('.').nth(3).unwrap_or("unknown").to_owned();
            // The record of a discard is not what failed last.
            (code != client::parked::DISCARDED)
                .then(|| format!("{code}, {}", crate::words::ago(now_ms(), at_ms)))
        });
        Ok(doctor::parked(count, newest.as_deref()))
    };
    within(look).await.unwrap_or_else(|error| unknown("parked", &error))
}

/// Events that the ledger has not taken yet.
pub(super) async fn behind(broker: &Broker) -> Option<u64> {
    let consumer = runtime::topology::consumer(&broker.jetstream, stream::EVENTS, topology::LEDGER_CONSUMER);
    let consumer = within(async { Ok(consumer.await?) }).await.ok()?;
    Some(consumer.cached_info().num_pending)
}

/// Asks the ledger for nothing, as routers do to see whether it is there: why it cannot reserve, if it cannot.
pub(super) async fn ledger(broker: &Broker) -> Asked<Option<String>> {
    let question = ReserveRequest { schema_version: SCHEMA_VERSION, reservations: Vec::new() };
    let asking = runtime::ledger::ask(&broker.client, codec::encode(&question).into());
    match tokio::time::timeout(CHECK_WITHIN, asking).await {
        Err(_) => Asked::Silent,
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Asked::Absent,
        Ok(Err(error)) => Asked::Refused(telemetry::chain(&error)),
        Ok(Ok(reply)) => match codec::decode::<ReserveReply>(None, &reply.payload) {
            Ok(reply) => Asked::Answered(reply.error),
            Err(error) => Asked::Refused(format!("its answer cannot be read: {error}")),
        },
    }
}

/// The ledger's database.
pub(super) async fn database(session: &Session) -> Finding {
    if !session.has_database() {
        return doctor::database(None);
    }
    let look = async {
        let reader = session.reader().await?;
        reader.durability().await.context("the database")
    };
    doctor::database(Some(within(look).await))
}

/// The processes of the folder's own fleet that have a page.
pub(super) async fn processes(session: &Session) -> Vec<Finding> {
    let Ok(http) = reqwest::Client::builder().timeout(PAGE_WITHIN).no_proxy().build() else {
        return Vec::new();
    };
    let look = |process: stack::fleet_file::FleetProcess| {
        let http = http.clone();
        async move {
            let address = process.address.as_ref().filter(|address| address.starts_with("http"))?;
            let path = if process.name.starts_with("simulator-") { "/" } else { "/readyz" };
            let page = page(http.get(format!("{address}{path}"))).await;
            doctor::process(&process.name, process.pid, process.holder(), &page)
        }
    };
    join_all(session.processes().into_iter().map(look)).await.into_iter().flatten().collect()
}

async fn page(asking: reqwest::RequestBuilder) -> Asked<()> {
    match asking.send().await {
        Ok(answer) if answer.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE => {
            Asked::Refused(answer.text().await.unwrap_or_default().trim().to_owned())
        }
        Ok(_) => Asked::Answered(()),
        Err(error) if error.is_connect() => Asked::Absent,
        Err(_) => Asked::Silent,
    }
}
