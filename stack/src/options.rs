//! What a fleet is to consist of.

use super::ports::Ports;
use anyhow::Context as _;
use client::documents::Documents;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Somebody's real service, or a simulator in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider<T> {
    /// A simulator is started.
    Simulated,
    /// This one.
    Real(T),
}

impl<T> Provider<T> {
    /// A simulator takes its place.
    pub const fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated)
    }
}

/// An endpoint at RunPod.
#[derive(Clone, PartialEq, Eq)]
pub struct RunPodAccount {
    /// The endpoint's id.
    pub endpoint: String,
    /// The account's key.
    pub api_key: String,
}

impl std::fmt::Debug for RunPodAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunPodAccount").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The folder whose `.argosy/servers.json` names the servers.
    pub root: PathBuf,
    /// Data, logs and port files.
    pub dir: PathBuf,
    /// Where our binaries lie.
    pub bin_dir: PathBuf,
    /// The binaries of an earlier release: topology, tables, routers, workers and ledger are from there, until
    /// [`Member::set_bin_dir`] says otherwise. The simulators stay those of [`Self::bin_dir`].
    pub release_dir: Option<PathBuf>,
    /// Nodes of the broker: 1, or 3 for a cluster that keeps three copies of everything.
    pub nodes: usize,
    /// Where the broker and the pages of our processes listen: an address of this machine, or all of them where it is
    /// unspecified. The database and the simulators listen on loopback, whatever this is.
    pub listen: IpAddr,
    /// What listens on which port; what is not named takes a free one.
    pub ports: Ports,
    /// How many routers.
    pub routers: usize,
    /// A worker for each ComfyUI, by its URL.
    pub comfyui: Vec<Provider<String>>,
    /// The cloud worker, if any.
    pub runpod: Option<Provider<RunPodAccount>>,
    /// The Gemini worker, if any, by its API key.
    pub gemini: Option<Provider<String>>,
    /// What the simulators draw their chances from.
    pub seed: u64,
    /// Simulators: wall time per provider time; 0.05 is twenty times faster than life.
    pub time_scale: f64,
    /// The configuration where none is set yet.
    pub documents: Documents,
    /// The database's name.
    pub database: String,
    /// Broker and database may forget on a power failure: their data go with the fleet.
    pub ephemeral: bool,
    /// Log filter of our processes.
    pub log_filter: String,
    /// How long our processes may drain, milliseconds.
    pub grace_ms: u64,
    /// Processes, by name, whose clocks are off: ahead by so many milliseconds, or behind where negative.
    pub clock_shifts_ms: Vec<(String, i64)>,
    /// More settings for our processes, as `ARGOSY_<SECTION>__<KEY>`: the last word.
    pub env: Vec<(String, String)>,
    /// More arguments for each kind of simulator: `("comfyui", "--mode=old")`.
    pub simulator_args: Vec<(String, String)>,
}

impl StackOptions {
    /// Two routers, the ledger, and four workers on simulators: two ComfyUI, one RunPod, one Gemini.
    ///
    /// # Errors
    /// Where this executable lies is not known.
    pub fn simulated(root: &Path, dir: &Path) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("the path of this executable")?;
        let mut bin_dir = executable.parent().context("the folder of this executable")?.to_owned();
        // A test's executable lies one folder deeper.
        if bin_dir.ends_with("deps") {
            bin_dir.pop();
        }
        Ok(Self {
            root: root.to_owned(),
            dir: std::path::absolute(dir)?,
            bin_dir,
            release_dir: None,
            nodes: 1,
            listen: Ipv4Addr::LOCALHOST.into(),
            ports: Ports::default(),
            routers: 2,
            comfyui: vec![Provider::Simulated, Provider::Simulated],
            runpod: Some(Provider::Simulated),
            gemini: Some(Provider::Simulated),
            seed: 1,
            time_scale: 0.05,
            documents: Documents::simulated(),
            database: "argosy".to_owned(),
            ephemeral: true,
            log_filter: "info".to_owned(),
            grace_ms: 10_000,
            clock_shifts_ms: Vec::new(),
            env: Vec::new(),
            simulator_args: Vec::new(),
        })
    }

    /// Everything of the fleet that listens, by the names of the plan of ports.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let mut all: Vec<String> = ["broker", "monitor", "database", "ledger"].map(str::to_owned).to_vec();
        all.extend((1..=self.routers).map(|nth| format!("router-{nth}")));
        all.extend((1..=self.comfyui.len()).map(|nth| format!("worker-local-{nth}")));
        let simulated = self.comfyui.iter().enumerate().filter(|(_, one)| one.is_simulated());
        all.extend(simulated.map(|(index, _)| format!("simulator-comfyui-{}", index + 1)));
        let runpod = self.runpod.as_ref().map(|provider| ("cloud", "runpod", provider.is_simulated()));
        let gemini = self.gemini.as_ref().map(|provider| ("gemini", "gemini", provider.is_simulated()));
        for (worker, provider, is_simulated) in [runpod, gemini].into_iter().flatten() {
            all.push(format!("worker-{worker}"));
            if is_simulated {
                all.extend([format!("worker-{worker}-reports"), format!("simulator-{provider}")]);
            }
        }
        all
    }

    /// How many workers the fleet has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.comfyui.len() + usize::from(self.runpod.is_some()) + usize::from(self.gemini.is_some())
    }
}
