//! A whole fleet on this machine: servers, simulators, routers, workers, ledger, as real processes.
//!
//! `up`, `demo` and the end-to-end tests start the same thing with other options. Everything ends when the
//! [`Stack`] is dropped, and when this process is killed.

pub mod audit;
mod drive;
pub mod fleet_file;
pub mod kept_ports;
mod layout;
mod member;
mod options;
pub mod ports;
mod simulator;
pub mod station;
mod supervise;
mod waiting;

pub use member::{Member, Members, Role, listening};
pub use options::{Provider, RunPodAccount, StackOptions};
pub use servers::process::Holder;
pub use servers::{is_free, reached_at};
pub use simulator::{Invoice, InvoiceEntry, Simulator};
pub use supervise::Supervisor;
pub use waiting::Waiting;

use crate::fleet_file::{FleetFile, FleetProcess, FleetSimulator};
use anyhow::{Context as _, bail};
use client::documents::{self, Documents};
use runtime::address::Address;
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use schemas::topology::Topology;
use servers::process::Supervised;
use servers::{Found, NatsCluster, Postgres};
use std::path::Path;
use std::time::{Duration, Instant};

/// A process of ours connects and registers in moments; a loaded machine takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Migrations of an empty database take a second.
const MIGRATED_WITHIN: Duration = Duration::from_secs(60);

/// A cluster elects its leader in seconds.
const LED_WITHIN: Duration = Duration::from_secs(60);
/// How soon a cluster is asked again.
const APPLY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A running fleet.
pub struct Stack {
    options: StackOptions,
    /// Our processes and the simulators, in the order they were started. Before the servers: what is dropped
    /// first can still say goodbye to them.
    pub members: Members,
    /// The broker: one node, or several.
    pub nats: NatsCluster,
    /// The ledger's database server.
    pub postgres: Postgres,
    /// The simulators' back doors.
    pub simulators: Vec<Simulator>,
    /// A connection to the broker.
    pub broker: Broker,
    database_url: String,
}

impl Stack {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// A server is missing, a binary is not built, or something did not become ready; the end of its log
    /// is in the error. What was started by then is stopped.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        Box::pin(Self::start_telling(options, &Waiting::default())).await
    }

    /// As [`Stack::start`]; what it waits for is known there.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub async fn start_telling(options: StackOptions, waiting: &Waiting) -> anyhow::Result<Self> {
        options.check_binaries()?;
        let found = Found::load(&options.root)?;
        let (nats, postgres) = tokio::join!(
            waiting.during("the broker", NatsCluster::start(&found, options.nats_options(), options.nodes)),
            waiting.during("the database", Postgres::start(&found, options.postgres_options())),
        );
        let (nats, postgres) = (nats?, postgres?);
        let name = &options.database;
        postgres.create_database(name).await.with_context(|| format!("database {name}"))?;
        let database_url = postgres.url(name);
        let group_writes = options.group_writes();
        let config = NatsConfig { url: nats.url().into(), group_writes, ..NatsConfig::default() };
        let broker = Broker::connect(&config, "stack").await?;
        let topology = Topology::new(options.nodes);
        let set_up = async {
            match &options.release_dir {
                None => apply(&broker, &topology, &options.documents).await,
                Some(release) => apply_as(release, &broker, &options, &nats.url()).await,
            }
        };
        let (applied, migrated) = tokio::join!(
            waiting.during("the broker's streams and documents", set_up),
            waiting.during("the ledger's tables", migrate(&options, &database_url)),
        );
        applied?;
        migrated?;
        let (mut simulators, mut members) = (Vec::new(), Members::default());
        for (simulator, member) in layout::simulators(&options)? {
            simulators.push(simulator);
            members.push(member);
        }
        ready(&mut members, waiting).await?;
        let mut ours = Members::from(layout::ours(&options, &nats.url(), &database_url, &simulators)?);
        ready(&mut ours, waiting).await?;
        members.append(&mut ours);
        Ok(Self { options, nats, postgres, members, simulators, broker, database_url })
    }

    /// What is free on the disk of the fleet's folder, bytes; none where the system does not say.
    #[must_use]
    pub fn free_disk_bytes(&self) -> Option<i64> {
        let disk = rustix::fs::statvfs(self.options.dir.as_path()).ok()?;
        i64::try_from(disk.f_bavail.saturating_mul(disk.f_frsize)).ok()
    }

    /// The broker's address.
    #[must_use]
    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    /// The ledger's database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The options it was started with.
    #[must_use]
    pub const fn options(&self) -> &StackOptions {
        &self.options
    }

    /// A process by name: `router-1`, `worker-local-2`, `worker-cloud`, `worker-gemini`, `ledger`,
    /// `simulator-comfyui-1`, `simulator-runpod`, `simulator-gemini`.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn member(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        let names: Vec<String> = self.members.iter().map(|member| member.name().to_owned()).collect();
        match self.members.iter_mut().find(|member| member.name() == name) {
            Some(member) => Ok(member),
            None => bail!("no process `{name}`: there are {}", names.join(", ")),
        }
    }

    /// The simulator of a backend's provider; the first where there are several.
    ///
    /// # Errors
    /// It is not simulated.
    pub fn simulator(&self, backend: &str) -> anyhow::Result<&Simulator> {
        let mut all = self.simulators.iter();
        all.find(|one| one.backend == backend).with_context(|| format!("{backend} is not simulated"))
    }

    /// Starts one more worker or router beside the others and waits for it.
    ///
    /// # Errors
    /// It did not become ready.
    pub async fn add(&mut self, mut member: Member) -> anyhow::Result<()> {
        member.ready(READY_WITHIN).await?;
        self.members.push(member);
        Ok(())
    }

    /// What other terminals read.
    #[must_use]
    pub fn fleet_file(&self) -> FleetFile {
        self.fleet_file_with(&self.members)
    }

    /// The same while its processes are apart from it.
    #[must_use]
    pub fn fleet_file_with(&self, members: &[Member]) -> FleetFile {
        let process = |member: &Member| FleetProcess {
            name: member.name().to_owned(),
            pid: member.pid(),
            started: member.started().map(str::to_owned),
            address: member.listening().map(|address| format!("http://{address}")),
            log: member.log_path().to_owned(),
            simulated: member.simulated,
        };
        let nodes = self.nats.nodes.iter().map(|node| FleetProcess {
            name: node.name().to_owned(),
            pid: node.pid(),
            started: node.started().map(str::to_owned),
            address: Some(node.url()),
            log: node.log_path().to_owned(),
            simulated: false,
        });
        let postgres = FleetProcess {
            name: "postgres".to_owned(),
            pid: self.postgres.pid(),
            started: self.postgres.started().map(str::to_owned),
            address: Some(Address::new(&self.database_url).to_string()),
            log: self.postgres.log_path().to_owned(),
            simulated: false,
        };
        FleetFile {
            pid: std::process::id(),
            started: servers::process::started(std::process::id()),
            nats_url: self.nats.url(),
            monitor_url: Some(self.nats.monitor_url()),
            group_writes: self.options.group_writes(),
            database_url: self.database_url.clone(),
            processes: nodes.chain([postgres]).chain(members.iter().map(process)).collect(),
            simulators: self
                .simulators
                .iter()
                .map(|one| FleetSimulator { backend: one.backend.clone(), url: one.url.clone() })
                .collect(),
        }
    }

    /// Stops everything in order: workers and routers drain, then the ledger books what they said, then
    /// simulators and servers. What does not stop within `grace` is killed.
    ///
    /// # Errors
    /// A process could not be signalled.
    pub async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        for roles in [
            &[Role::WorkerLocal, Role::WorkerCloud, Role::WorkerGemini, Role::Router][..],
            &[Role::Ledger],
            &[Role::Simulator],
        ] {
            for member in self.members.iter_mut().filter(|member| roles.contains(&member.role)) {
                member.ask_to_stop()?;
            }
            for member in self.members.iter_mut().filter(|member| roles.contains(&member.role)) {
                member.terminate(grace).await?;
            }
        }
        // A drop waits for the servers without giving way to others.
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }
}

/// Makes streams and documents on a new broker.
pub async fn apply(broker: &Broker, topology: &Topology, documents: &Documents) -> anyhow::Result<()> {
    let deadline = Instant::now() + LED_WITHIN;
    // A cluster refuses everything until it has a leader and knows all its nodes.
    while let Err(error) = runtime::topology::apply(&broker.jetstream, topology).await {
        if topology.replicas == 1 || Instant::now() >= deadline {
            return Err(error).context("topology");
        }
        tokio::time::sleep(APPLY_AGAIN_AFTER).await;
    }
    documents::seed(&broker.jetstream, documents).await.context("configuration")?;
    Ok(())
}

/// Makes streams as an earlier release makes them, and sets the documents.
async fn apply_as(
    release: &Path,
    broker: &Broker,
    options: &StackOptions,
    nats_url: &str,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + LED_WITHIN;
    loop {
        let mut child = Supervised::spawn(layout::release_topology(options, release, nats_url))?;
        let status = child.wait_exit(LED_WITHIN).await?;
        if status.success() {
            break;
        }
        // A cluster without a leader refuses everything; a single node has no such excuse.
        if options.nodes == 1 || Instant::now() >= deadline {
            bail!("{} topology apply ended with {status}:\n{}", child.program().display(), child.log_tail());
        }
        tokio::time::sleep(APPLY_AGAIN_AFTER).await;
    }
    documents::replace(&broker.jetstream, &options.documents).await.context("configuration")
}

async fn migrate(options: &StackOptions, database_url: &str) -> anyhow::Result<()> {
    let mut child = Supervised::spawn(layout::migration(options, database_url))?;
    let status = child.wait_exit(MIGRATED_WITHIN).await?;
    if !status.success() {
        bail!("ledger migrate ended with {status}:\n{}", child.log_tail());
    }
    Ok(())
}

/// Waits for all at once.
async fn ready(members: &mut [Member], waiting: &Waiting) -> anyhow::Result<()> {
    let waits = members.iter_mut().map(|member| {
        let name = member.name().to_owned();
        waiting.during(name, member.ready(READY_WITHIN))
    });
    futures::future::try_join_all(waits).await?;
    Ok(())
}
