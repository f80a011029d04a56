//! Where a measurement takes place: servers of its own, and the processes that it needs.

use super::BenchOptions;
use super::commits::CommitTimes;
use super::cpu::Watched;
use anyhow::Context as _;
use client::documents::{self, Documents};
use futures::StreamExt as _;
use ledger_read::Reader;
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use schemas::Catalog;
use schemas::topology::{Topology, bucket};
use serde_json::{Value, json};
use servers::{Found, NatsCluster, NatsOptions, Postgres, PostgresOptions};
use stack::{Member, Members, Role, StackOptions};
use std::path::PathBuf;
use std::time::Duration;

/// A process of ours is ready within this.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether all are there.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What processes get to stop.
const GRACE: Duration = Duration::from_secs(10);
/// Waiting and running jobs that a slot may have: none is held back for want of room.
const BACKLOG_PER_SLOT: u32 = 10_000;
/// Connections of the benchmark to the database.
const CONNECTIONS: u32 = 2;

/// Every backend of the shipped documents.
const BACKENDS: [&str; 3] = ["local", "cloud", "gemini"];

/// Servers and processes of one measurement; all end with it.
pub(super) struct Ground {
    pub(super) members: Members,
    pub(super) broker: Broker,
    pub(super) catalog: Catalog,
    nats: NatsCluster,
    books: Option<(Postgres, String)>,
    options: StackOptions,
}

/// How a ground is laid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lay {
    /// Every write of the broker reaches the disk before it is acknowledged.
    pub(super) sync_always: bool,
    /// Nodes of the broker.
    pub(super) nodes: usize,
    /// The bound of a backend's queue; none for no bound that matters.
    pub(super) backlog_per_slot: Option<u32>,
}

impl Default for Lay {
    fn default() -> Self {
        Self { sync_always: false, nodes: 1, backlog_per_slot: None }
    }
}

impl Ground {
    /// A broker with our streams and documents, empty.
    pub(super) async fn lay(bench: &BenchOptions, lay: Lay) -> anyhow::Result<Self> {
        let dir = bench.dir.clone();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        let found = Found::load(&bench.root)?;
        let mut options = StackOptions::simulated(&bench.root, &dir)?;
        options.bin_dir.clone_from(&bench.bin_dir);
        options.log_filter = "warn".to_owned();
        let bound = lay.backlog_per_slot.unwrap_or(BACKLOG_PER_SLOT);
        options.documents = documents(&bench.documents, bound)?;
        let nats = NatsOptions { sync_always: lay.sync_always, ..NatsOptions::new(dir.join("nats")) };
        let nats = NatsCluster::start(&found, nats, lay.nodes).await?;
        let group_writes = lay.sync_always && lay.nodes == 1;
        options.env.push(("ARGOSY_NATS__GROUP_WRITES".to_owned(), group_writes.to_string()));
        let config = NatsConfig { url: nats.url().into(), group_writes, ..NatsConfig::default() };
        let broker = Broker::connect(&config, "bench").await?;
        stack::apply(&broker, &Topology::new(lay.nodes), &options.documents).await?;
        let catalog = serde_json::from_str(&options.documents.catalog).context("the shipped catalog")?;
        Ok(Self { members: Members::default(), broker, catalog, nats, books: None, options })
    }

    /// The same with a whole fleet: the ledger, a router, and a worker for each backend.
    pub(super) async fn lay_fleet(
        bench: &BenchOptions,
        lay: Lay,
        worker_env: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut ground = Self::lay(bench, lay).await?;
        ground.open_books().await?;
        ground.routers(1).await?;
        for backend in BACKENDS {
            ground.workers(backend, 1, worker_env).await?;
        }
        Ok(ground)
    }

    /// Starts the database, with safe writes, and the ledger.
    pub(super) async fn open_books(&mut self) -> anyhow::Result<()> {
        let found = Found::load(&self.options.root)?;
        let options = PostgresOptions {
            ephemeral: true,
            commit_times: true,
            ..PostgresOptions::new(self.options.dir.join("postgres"))
        };
        let postgres = Postgres::start(&found, options).await?;
        postgres.create_database("bench").await?;
        let url = postgres.url("bench");
        self.books = Some((postgres, url.clone()));
        let env = [("ARGOSY_LEDGER__DATABASE_URL", url)];
        self.start(Role::Ledger, "ledger", "ledger", &env).await
    }

    /// A connection that reads when the ledger's rows were committed.
    pub(super) async fn commit_times(&self) -> anyhow::Result<CommitTimes> {
        let (_, url) = self.books.as_ref().context("the books are not open")?;
        CommitTimes::connect(url).await
    }

    /// The ledger's database, for reading.
    pub(super) async fn reader(&self) -> anyhow::Result<Reader> {
        let (_, url) = self.books.as_ref().context("the books are not open")?;
        Ok(Reader::connect(url, CONNECTIONS).await?)
    }

    /// Starts so many routers.
    pub(super) async fn routers(&mut self, count: usize) -> anyhow::Result<()> {
        for nth in 1..=count {
            self.start(Role::Router, &format!("router-{nth}"), "router", &[]).await?;
        }
        Ok(())
    }

    /// Starts so many null workers of a backend.
    pub(super) async fn workers(
        &mut self,
        backend: &str,
        count: usize,
        env: &[(&str, String)],
    ) -> anyhow::Result<()> {
        for nth in 1..=count {
            let name = format!("worker-null-{backend}-{nth}");
            let mut all = vec![
                ("ARGOSY_NULL__BACKEND", backend.to_owned()),
                ("ARGOSY_WORKER__NAME", format!("{backend}-{nth}")),
                ("ARGOSY_WORKER__SIMULATED", "true".to_owned()),
            ];
            all.extend(env.iter().cloned());
            self.start(Role::WorkerLocal, &name, "worker-null", &all).await?;
        }
        Ok(())
    }

    /// Waits until so many workers have told of themselves.
    pub(super) async fn joined(&self, workers: usize) -> anyhow::Result<()> {
        let offers = self.broker.jetstream.get_key_value(bucket::WORKERS).await?;
        let looking = async {
            while offers.keys().await?.count().await < workers {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(READY_WITHIN, looking).await.context("some workers did not join")?
    }

    async fn start(
        &mut self,
        role: Role,
        name: &str,
        binary: &str,
        env: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let mut member = self.options.member(role, false, name, binary, &self.nats.url(), env)?;
        member.ready(READY_WITHIN).await?;
        self.members.push(member);
        Ok(())
    }

    /// Messages in a stream.
    pub(super) async fn messages(&self, stream: &str) -> anyhow::Result<u64> {
        let stream = self.broker.jetstream.get_stream(stream).await?;
        Ok(stream.cached_info().state.messages)
    }

    /// All processes but this one, by what they are.
    pub(super) fn watched(&self) -> Watched {
        let mut watched = Watched::default();
        for node in &self.nats.nodes {
            watched.add("nats-server", node.pid());
        }
        if let Some((postgres, _)) = &self.books {
            watched.add("postgres", postgres.pid());
        }
        for member in self.members.iter() {
            watched.add(kind(member), member.pid());
        }
        watched
    }

    /// Where the logs are.
    pub(super) fn dir(&self) -> &PathBuf {
        &self.options.dir
    }

    /// Stops everything, the processes before their servers.
    pub(super) async fn clear(mut self) -> anyhow::Result<()> {
        for member in self.members.iter_mut() {
            member.ask_to_stop()?;
        }
        for member in self.members.iter_mut() {
            member.terminate(GRACE).await?;
        }
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }
}

fn kind(member: &Member) -> &'static str {
    match member.role {
        Role::Router => "router",
        Role::Ledger => "ledger",
        _ => "worker",
    }
}

/// With such a bound on the backends' queues.
fn documents(given: &Documents, backlog_per_slot: u32) -> anyhow::Result<Documents> {
    let mut policy: Value = serde_json::from_str(&given.policy).context("document policy")?;
    for backend in policy["backends"].as_array_mut().into_iter().flatten() {
        backend["backlog_per_slot"] = json!(backlog_per_slot);
    }
    let documents = Documents { policy: policy.to_string(), ..given.clone() };
    documents::check("policy", documents.policy.as_bytes())?;
    Ok(documents)
}
