//! `argosy topology`: the broker as it should be.

use super::doctor::Monitor;
use super::session::Session;
use crate::doctor::{self, Verdict};
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::storage;
use clap::{Args, Subcommand};
use client::documents::{self, Documents};
use runtime::topology::Limit;
use schemas::topology::Topology;

/// Create, update or compare the broker's streams, consumers and buckets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy topology apply\n  argosy topology apply --replicas 3\n  \
    argosy topology apply --storage-bytes 107374182400\n  \
    argosy topology apply --artifacts-bytes 17179869184\n  \
    argosy topology apply --replicas 1 --lower replicas\n  \
    argosy topology verify --monitor http://127.0.0.1:8222 || echo differs")]
pub(crate) struct TopologyCommand {
    /// Copies of each stream: 1 on a single node, 3 on a cluster; as many as there are when absent
    #[arg(long, global = true)]
    replicas: Option<usize>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create what is missing, update what differs, and put the shipped configuration where none is set
    Apply {
        /// Room for files, bytes; a store that is larger stays as it is
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
        artifacts_bytes: Option<i64>,
        /// Room for everything, bytes, in fixed shares; what is larger stays as it is. At the first apply half of the
        /// broker's free disk, where that can be known (--monitor)
        #[arg(long, env = "ARGOSY_STORAGE__BYTES", value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
        storage_bytes: Option<i64>,
        #[command(flatten)]
        monitor: Monitor,
        /// Days for which files are kept; jobs that wait for longer end, since their inputs go
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
        artifacts_days: Option<u64>,
        /// Days for which claims on paid attempts are kept: a fleet that is off for longer books what was under way as
        /// possibly paid
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
        claims_days: Option<u64>,
        /// Limits that may be lowered to what this version or --replicas says, for example replicas,max_bytes; without
        /// this word no limit of what is there is lowered
        #[arg(long, value_delimiter = ',', value_name = "LIMIT,LIMIT")]
        lower: Vec<Limit>,
    },
    /// Compare; exit code 1 when something differs, or when the broker does not sync every write
    Verify(Monitor),
}

impl TopologyCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let replicas = match self.replicas {
            Some(replicas) => replicas,
            None => runtime::topology::replicas(&broker.jetstream).await?,
        };
        let topology = Topology::new(replicas);
        match self.action {
            Action::Apply { artifacts_bytes, storage_bytes, monitor, artifacts_days, claims_days, lower } => {
                let storage_bytes = match storage_bytes {
                    Some(bytes) => Some(bytes),
                    None if runtime::topology::is_new(&broker.jetstream).await? => {
                        // A page that does not answer is no reason to apply nothing.
                        let nodes = monitor.nodes(session).await.unwrap_or_default();
                        storage::half_of_free(&broker.jetstream, &nodes).await
                    }
                    None => None,
                };
                let mut topology = topology;
                if let Some(bytes) = storage_bytes {
                    topology = topology.with_storage_bytes(bytes);
                }
                if let Some(bytes) = artifacts_bytes {
                    topology = topology.with_artifacts_bytes(bytes);
                }
                if let Some(days) = artifacts_days {
                    topology = topology.with_artifacts_days(days);
                }
                if let Some(days) = claims_days {
                    topology = topology.with_claims_days(days);
                }
                let mut done =
                    runtime::topology::apply_lowering(&broker.jetstream, &topology, &lower).await?;
                let seeded = documents::seed(&broker.jetstream, &Documents::default()).await?;
                done.extend(seeded.into_iter().map(|key| format!("document {key}, as shipped")));
                tell(session, "applied", &done)
            }
            Action::Verify(monitor) => {
                let mut differences = runtime::topology::verify(&broker.jetstream, &topology).await?;
                let syncing = doctor::syncing(&monitor.nodes(session).await?);
                let set_up = differences.is_empty();
                if syncing.verdict != Verdict::Good {
                    differences.push(format!("{}: {}", syncing.seen, syncing.cure.unwrap_or_default()));
                }
                tell(session, "differences", &differences)?;
                if differences.is_empty() {
                    return Ok(());
                }
                let words = match set_up {
                    true => "the topology agrees, and the broker cannot be called safe".to_owned(),
                    false => format!("{} differences; run `argosy topology apply`", differences.len()),
                };
                Err(DoesNotHold(words).into())
            }
        }
    }
}

fn tell(session: &Session, what: &str, lines: &[String]) -> anyhow::Result<()> {
    if session.json {
        return say_json(&serde_json::json!({ what: lines }));
    }
    lines.iter().for_each(|line| say(line.as_str()));
    Ok(())
}
