//! `argosy doctor`: is the fleet well, and is what it accepts safe?

use super::session::Session;
use crate::doctor::{self, Finding, Verdict};
use crate::exit::DoesNotHold;
use crate::monitor;
use crate::table::{self, Align};
use clap::Args;
use client::api;
use client::documents;
use runtime::broker::Broker;
use runtime::store_room::StoreRoom;
use schemas::api::BackendsReply;
use schemas::topology::{self, Topology};

/// Check broker, documents, database, routers, ledger and backends: what is not well or not safe is named with its
/// cure, and the exit code is 1. A broker that does not sync every write is never called safe.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy doctor\n  \
    argosy doctor --monitor http://nats-1:8222,http://nats-2:8222,http://nats-3:8222\n  \
    argosy doctor --json | jq -r '.findings[] | select(.verdict != \"good\") | .cure'")]
pub(crate) struct Doctor {
    #[command(flatten)]
    monitor: Monitor,
}

/// Where the broker's nodes tell about themselves.
#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Monitoring addresses of all the broker's nodes; the running fleet's when absent
    #[arg(long = "monitor", env = "ARGOSY_NATS_MONITOR", value_delimiter = ',', value_name = "URL,URL")]
    urls: Vec<String>,
}

impl Monitor {
    /// What the nodes say; nothing when no address is known.
    pub(crate) async fn nodes(&self, session: &Session) -> anyhow::Result<Vec<doctor::Varz>> {
        let given = self.urls.iter().filter(|url| !url.is_empty()).cloned();
        let mut urls: Vec<String> = given.collect();
        if urls.is_empty() {
            urls.extend(session.monitor_urls());
        }
        monitor::varz(&urls).await
    }
}

impl Doctor {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let nodes = self.monitor.nodes(session).await?;
        let mut findings = vec![doctor::syncing(&nodes)];
        let replicas = doctor::replicas(&nodes);
        let differences = runtime::topology::verify(&broker.jetstream, &Topology::new(replicas)).await?;
        findings.push(doctor::topology(&differences, replicas));
        findings.extend(rooms(&broker, replicas).await?);
        findings.extend(judged_documents(&broker).await?);
        if let Ok(room) = StoreRoom::measure(&broker.jetstream, runtime::clock::now_ms()).await {
            findings.push(doctor::artifact_store(&room));
        }
        let fleet: Option<BackendsReply> = api::request_empty(&broker.client, "backends").await.ok();
        findings.push(doctor::ledger(fleet.as_ref(), behind(&broker).await));
        findings.extend(fleet.iter().flat_map(doctor::backends));
        let reader = match session.has_database() {
            true => Some(session.reader().await?),
            false => None,
        };
        let durability = match &reader {
            Some(reader) => Some(reader.durability().await?),
            None => None,
        };
        findings.push(doctor::database(durability.as_ref()));
        tell(session, &findings)
    }
}

async fn rooms(broker: &Broker, replicas: usize) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for spec in Topology::new(replicas).streams {
        // One that is missing was named by the topology's check.
        let Ok(stream) = broker.jetstream.get_stream(&spec.name).await else { continue };
        let info = stream.cached_info();
        findings.extend(doctor::room(&spec.name, info.state.bytes, info.config.max_bytes));
    }
    Ok(findings)
}

async fn judged_documents(broker: &Broker) -> anyhow::Result<Vec<Finding>> {
    let jetstream = &broker.jetstream;
    Ok(doctor::documents(
        &documents::stored(jetstream).await?,
        &documents::stored(jetstream).await?,
        &documents::stored(jetstream).await?,
        &documents::stored(jetstream).await?,
        runtime::clock::now_ms(),
    ))
}

/// Events that the ledger has not taken yet.
async fn behind(broker: &Broker) -> Option<u64> {
    let stream = topology::stream::EVENTS;
    let consumer = runtime::topology::consumer(&broker.jetstream, stream, topology::LEDGER_CONSUMER).await;
    consumer.ok().map(|consumer| consumer.cached_info().num_pending)
}

fn tell(session: &Session, findings: &[Finding]) -> anyhow::Result<()> {
    if session.json {
        table::say_json(&serde_json::json!({ "findings": findings }))?;
    } else {
        let columns =
            [("check", Align::Left), ("", Align::Left), ("seen", Align::Left), ("cure", Align::Left)];
        let row = |finding: &Finding| {
            let cure = finding.cure.clone().unwrap_or_default();
            vec![finding.check.to_owned(), finding.verdict.as_str().to_owned(), finding.seen.clone(), cure]
        };
        table::say(table::render(&columns, &findings.iter().map(row).collect::<Vec<_>>()));
    }
    let unsafe_checks = findings.iter().filter(|finding| finding.verdict > Verdict::Warning).count();
    match unsafe_checks {
        0 => Ok(()),
        some => Err(DoesNotHold(format!("{some} of {} checks are not good", findings.len())).into()),
    }
}
