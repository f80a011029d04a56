//! Where the fleet is, and connections to it.

use super::global::Global;
use crate::exit::Usage;
use anyhow::Context as _;
use ledger_read::Reader;
use runtime::address::Address;
use runtime::broker::Broker;
use runtime::config::{Common, NatsConfig, Secret, Source};
use serde::Deserialize;
use stack::Simulator;
use stack::fleet_file::{FleetFile, FleetProcess, root_of};
use std::path::PathBuf;

/// Connections to the database; a command reads one thing after the other.
const CONNECTIONS: u32 = 2;
/// A command that finds no broker says so soon.
const PATIENCE_MS: u64 = 2_000;

/// A command has no section of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSections {}

/// What a command works with.
pub(crate) struct Session {
    /// The folder with `.argosy`.
    pub(crate) root: PathBuf,
    /// JSON for programs.
    pub(crate) json: bool,
    nats: NatsConfig,
    database: Option<Secret>,
    fleet: Option<FleetFile>,
    named_database: Option<Address>,
    /// Somebody said where the broker is.
    is_configured: bool,
}

impl Session {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let root = match &global.root {
            Some(root) => std::path::absolute(root)?,
            None => root_of(&std::env::current_dir().context("the current folder")?),
        };
        let source = Source::from_process(None)?;
        let (Common { nats: configured, .. }, NoSections {}) = source.load(&[])?;
        let is_configured = global.nats.is_some() || source.has("nats", "url")?;
        // A broker that is named may be another fleet's: nothing of the folder's own is used with it.
        let fleet = if is_configured { None } else { FleetFile::load(&root) };
        let nats = match &fleet {
            // A fleet on this machine knows no users.
            Some(fleet) => NatsConfig {
                url: fleet.nats_url.as_str().into(),
                group_writes: global.group_writes || fleet.group_writes,
                ..NatsConfig::default()
            },
            None => NatsConfig {
                url: global.nats.clone().unwrap_or_else(|| configured.url.clone()),
                group_writes: global.group_writes || configured.group_writes,
                ..configured
            },
        };
        let nats = NatsConfig { connect_patience_ms: PATIENCE_MS, ..nats };
        let of_fleet = fleet.as_ref().map(|fleet| Secret::new(&fleet.database_url));
        let database = global.database.clone().or(of_fleet);
        let named_database = global.database.as_ref().map(|url| Address::new(url.expose()));
        Ok(Self { root, json: global.json, nats, database, fleet, named_database, is_configured })
    }

    pub(crate) async fn broker(&self) -> anyhow::Result<Broker> {
        let connected = Broker::connect(&self.nats, "command").await;
        if !self.is_configured && self.fleet.is_none() {
            let folder = self.root.display();
            return connected.with_context(|| {
                format!(
                    "no fleet runs in {folder}: start one there with `make up`, or name a broker with --nats"
                )
            });
        }
        Ok(connected?)
    }

    pub(crate) async fn reader(&self) -> anyhow::Result<Reader> {
        let url = self.database.as_ref().ok_or_else(|| {
            Usage("no database is known: give --database or ARGOSY_LEDGER__DATABASE_URL".to_owned())
        })?;
        let connected = Reader::connect(url.expose(), CONNECTIONS).await;
        // Not the URL itself: it may hold a password.
        connected.context("the ledger's database does not answer: check --database and the server")
    }

    /// The broker that somebody named.
    pub(crate) fn named_broker(&self) -> Option<&Address> {
        self.is_configured.then_some(&self.nats.url)
    }

    /// The database that somebody named.
    pub(crate) const fn named_database(&self) -> Option<&Address> {
        self.named_database.as_ref()
    }

    pub(crate) const fn has_database(&self) -> bool {
        self.database.is_some()
    }

    /// Where the running fleet's broker tells about itself.
    pub(crate) fn monitor_urls(&self) -> Vec<String> {
        let urls = self.fleet.as_ref().and_then(|fleet| fleet.monitor_url.as_deref());
        urls.into_iter().flat_map(|urls| urls.split(',')).map(str::to_owned).collect()
    }

    /// The processes of the running fleet.
    pub(crate) fn processes(&self) -> Vec<FleetProcess> {
        self.fleet.iter().flat_map(|fleet| fleet.processes.clone()).collect()
    }

    /// The simulators of the running fleet; none where everything is real.
    pub(crate) fn simulators(&self) -> anyhow::Result<Vec<Simulator>> {
        let all = self.fleet.iter().flat_map(|fleet| &fleet.simulators);
        all.map(|simulator| Simulator::at(&simulator.backend, &simulator.url)).collect()
    }
}
