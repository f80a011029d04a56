//! `argosy doctor`: is the fleet well, and is what it accepts safe?

mod gather;
mod without_router;

use super::session::Session;
use crate::doctor::{self, Asked, Finding, Varz, Verdict};
use crate::exit::DoesNotHold;
use crate::monitor;
use crate::say::{say, say_json};
use crate::table::{Align, Table};
use crate::tone;
use clap::Args;
use gather::within;
use runtime::broker::Broker;

/// Check broker, documents, database, routers, ledger, lanes, backends and clocks: what is not well or not safe is
/// named with its cure, and the exit code is 1. Each check runs whatever the others say. A broker that does not sync
/// every write is never called safe.
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
    fn urls(&self, session: &Session) -> Vec<String> {
        let given: Vec<String> = self.urls.iter().filter(|url| !url.is_empty()).cloned().collect();
        if given.is_empty() { session.monitor_urls() } else { given }
    }

    /// What the nodes say; nothing when no address is known.
    pub(crate) async fn nodes(&self, session: &Session) -> anyhow::Result<Vec<Varz>> {
        monitor::varz(&self.urls(session)).await
    }
}

impl Doctor {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let (connected, nodes, database, processes) = tokio::join!(
            within(session.broker()),
            within(self.monitor.nodes(session)),
            gather::database(session),
            gather::processes(session),
        );
        let mut findings = Vec::new();
        match connected {
            Ok(broker) => findings.extend(Box::pin(self.of_broker(session, &broker, nodes)).await),
            Err(error) => findings.extend(gather::without_broker(&error, &nodes)),
        }
        findings.push(database);
        findings.extend(processes);
        print(session, &findings)
    }

    /// Everything that is asked through the broker, at the same time.
    async fn of_broker(
        &self,
        session: &Session,
        broker: &Broker,
        nodes: Result<Vec<Varz>, String>,
    ) -> Vec<Finding> {
        let mut findings = vec![gather::connected(broker)];
        let nodes = match nodes {
            Ok(nodes) => nodes,
            Err(error) => {
                findings.push(gather::no_monitor(&error));
                Vec::new()
            }
        };
        let strange = doctor::identity(&gather::introduced(broker), &nodes);
        // What another broker says about itself says nothing of this one.
        let nodes = if strange.is_some() { Vec::new() } else { nodes };
        findings.extend(strange);
        findings.push(doctor::syncing(&nodes));
        let replicas = doctor::replicas(&nodes);
        let urls = if nodes.is_empty() { Vec::new() } else { self.monitor.urls(session) };
        let (
            topology,
            rooms,
            claims,
            documents,
            (store, kept_ms),
            fleet,
            lanes,
            parked,
            behind,
            ledger,
            clock,
        ) = tokio::join!(
            gather::topology(broker, replicas),
            gather::rooms(broker, replicas),
            gather::claims(broker),
            gather::documents(broker),
            gather::artifact_store(broker),
            gather::fleet(broker, &urls),
            gather::lanes(broker),
            gather::parked(broker),
            gather::behind(broker),
            gather::ledger(broker),
            within(async { Ok(runtime::clock::measure(&broker.client).await) }),
        );
        findings.push(topology);
        findings.extend(rooms);
        findings.push(claims);
        findings.extend(documents);
        findings.push(store);
        findings.push(doctor::routers(&fleet.asked, &fleet.routers, fleet.connections));
        if let Ok(lanes) = &lanes {
            findings.extend(doctor::inputs(lanes, kept_ms));
        }
        findings.push(match lanes {
            Ok(lanes) => doctor::queue(&lanes, &fleet.asked),
            Err(error) => gather::unknown("queue", &error),
        });
        findings.push(doctor::ledger(&ledger, behind));
        match &fleet.asked {
            Asked::Answered(reply) => {
                findings.extend(doctor::deliveries(&reply.stalled, reply.time_ms));
                findings.extend(doctor::backends(&reply.backends, reply.time_ms));
            }
            // No router says how the backends are; what routers know it from does.
            _ => match Box::pin(within(without_router::backends(broker))).await {
                Ok((backends, now_ms)) => findings.extend(doctor::backends(&backends, now_ms)),
                Err(error) => findings.push(gather::unknown("backend", &error)),
            },
        }
        findings.push(parked);
        match clock {
            Ok(Some(measured)) => {
                let broker_ms = runtime::clock::machine_ms() - measured.skew_ms;
                findings.extend(doctor::clocks(fleet.asked.answer(), &fleet.routers, &nodes, broker_ms));
            }
            Ok(None) => findings.push(gather::unknown("clock", "the broker does not say its time")),
            Err(error) => findings.push(gather::unknown("clock", &error)),
        }
        findings
    }
}

fn print(session: &Session, findings: &[Finding]) -> anyhow::Result<()> {
    if session.json {
        say_json(&serde_json::json!({ "findings": findings }))?;
    } else {
        let columns =
            [("check", Align::Left), ("", Align::Left), ("seen", Align::Flow), ("cure", Align::Flow)];
        let row = |finding: &Finding| {
            let cure = finding.cure.clone().unwrap_or_default();
            vec![finding.check.to_owned(), finding.verdict.as_str().to_owned(), finding.seen.clone(), cure]
        };
        say(Table::new(&columns, findings.iter().map(row).collect()).painted("", tone::of_verdict));
    }
    let unsafe_checks = findings.iter().filter(|finding| finding.verdict > Verdict::Warning).count();
    match unsafe_checks {
        0 => Ok(()),
        some => Err(DoesNotHold(format!("{some} of {} checks are not good", findings.len())).into()),
    }
}
