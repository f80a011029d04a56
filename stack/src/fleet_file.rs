//! `.argosy/run/fleet.json`: where the fleet on this machine is, so that `argosy backends` in another
//! terminal needs no address. Written by `up`, `demo` and `drill`, by the first two anew when a process was started
//! again, and removed when they end; one whose writer is gone counts for nothing, also where its number is another process's by now.

use runtime::address::Address;
use serde::{Deserialize, Serialize};
use servers::process::{Holder, holder, started};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A fleet that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetFile {
    /// The process that supervises it.
    pub pid: u32,
    /// When that one started ([`servers::process::started`]); none in the file of an earlier release.
    #[serde(default)]
    pub started: Option<String>,
    /// The broker.
    pub nats_url: String,
    /// Where the broker tells about itself.
    #[serde(default)]
    pub monitor_url: Option<String>,
    /// The broker syncs every write, so that many go together ([`runtime::config::NatsConfig::group_writes`]).
    #[serde(default)]
    pub group_writes: bool,
    /// The ledger's database, with its password.
    pub database_url: String,
    /// Its processes.
    pub processes: Vec<FleetProcess>,
    /// The simulators among them, whose invoices the audit reads.
    pub simulators: Vec<FleetSimulator>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetProcess {
    /// What people call it.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// When it started ([`servers::process::started`]).
    #[serde(default)]
    pub started: Option<String>,
    /// Where it listens, if it does.
    pub address: Option<String>,
    /// Its log file.
    pub log: PathBuf,
    /// What it talks to is a simulator, or it is one.
    pub simulated: bool,
}

/// One simulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSimulator {
    /// Which backend's provider it simulates.
    pub backend: String,
    /// Where it is.
    pub url: String,
}

impl FleetProcess {
    /// Whose its process id is by now.
    #[must_use]
    pub fn holder(&self) -> Holder {
        holder(self.started.as_deref(), started(self.pid).as_deref())
    }
}

impl FleetFile {
    /// Where the file lies.
    #[must_use]
    pub fn path(root: &Path) -> PathBuf {
        root.join(".argosy").join("run").join("fleet.json")
    }

    /// The fleet whose supervisor still runs, if there is one.
    #[must_use]
    pub fn load(root: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(root)).ok()?;
        let fleet: Self = serde_json::from_str(&text).ok()?;
        let holder = holder(fleet.started.as_deref(), started(fleet.pid).as_deref());
        (holder == Holder::Same).then_some(fleet)
    }

    /// Writes the file whole, so that a reader never sees half of it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, root: &Path) -> std::io::Result<()> {
        let path = Self::path(root);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let temporary = path.with_extension("tmp");
        // The database's address holds its password. What another process left half written may be readable by others.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&temporary, &path)
    }

    /// The same without passwords: what may be printed.
    #[must_use]
    pub fn without_passwords(&self) -> Self {
        let database_url = Address::new(&self.database_url).to_string();
        let nats_url = Address::new(&self.nats_url).to_string();
        Self { database_url, nats_url, ..self.clone() }
    }

    /// Removes the file if it is this process's.
    pub fn remove(root: &Path) {
        if Self::load(root).is_some_and(|fleet| fleet.pid == std::process::id()) {
            // One that stays names a process that is gone, and is passed over.
            let _ = std::fs::remove_file(Self::path(root));
        }
    }
}

/// The nearest folder upwards that has a `.argosy` in it, else the folder itself.
#[must_use]
pub fn root_of(start: &Path) -> PathBuf {
    let found = start.ancestors().find(|folder| folder.join(".argosy").is_dir());
    found.unwrap_or(start).to_owned()
}
