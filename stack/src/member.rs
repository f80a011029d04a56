//! One process of the fleet: its role, where it listens, and what may be done to it.

use anyhow::{Context as _, ensure};
use servers::process::{ProcessError, Spec, Supervised};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long dropped processes may take to stop, all together.
const DROP_GRACE: Duration = Duration::from_secs(3);
/// How often they are looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A simulated provider.
    Simulator,
    /// Decides.
    Router,
    /// Runs jobs on a ComfyUI.
    WorkerLocal,
    /// Runs jobs on RunPod.
    WorkerCloud,
    /// Runs jobs on Gemini.
    WorkerGemini,
    /// Keeps the books.
    Ledger,
}

impl Role {
    /// Answers 200 when it can do its work.
    const fn ready_path(self) -> &'static str {
        match self {
            Self::Simulator => "/",
            _ => "/readyz",
        }
    }
}

/// A process of the fleet; stopped when dropped.
#[derive(Debug)]
pub struct Member {
    /// What it is.
    pub role: Role,
    /// It is a simulator, or talks to one.
    pub simulated: bool,
    child: Supervised,
    host: IpAddr,
    port_file: PathBuf,
    address: Option<SocketAddr>,
}

impl Member {
    /// Starts a process that writes its port to a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(role: Role, simulated: bool, spec: Spec, port_file: PathBuf) -> Result<Self, ProcessError> {
        forget(&port_file);
        let (child, host) = (Supervised::spawn(spec)?, Ipv4Addr::LOCALHOST.into());
        Ok(Self { role, simulated, child, host, port_file, address: None })
    }

    /// Its pages are reached at another address than loopback.
    #[must_use]
    pub(crate) fn at_host(self, host: IpAddr) -> Self {
        Self { host, ..self }
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// Its process id; another one after a restart.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// When its process started ([`servers::process::started`]).
    #[must_use]
    pub fn started(&self) -> Option<&str> {
        self.child.started()
    }

    /// The executable of its next start, and of the present one unless [`Member::set_bin_dir`] changed it.
    #[must_use]
    pub fn program(&self) -> &Path {
        self.child.program()
    }

    /// The binary of the same name in another folder, from the next [`Member::restart`] on.
    ///
    /// # Errors
    /// The folder does not have it.
    pub fn set_bin_dir(&mut self, bin_dir: &Path) -> anyhow::Result<()> {
        let name = self.child.program().file_name().context("an executable has a name")?;
        let program = bin_dir.join(name);
        ensure!(program.is_file(), "{} is not there", program.display());
        self.child.set_program(program);
        Ok(())
    }

    /// Where its pages are, once it was ready.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where its pages are by now, ready or not; none before it has written its port.
    #[must_use]
    pub fn listening(&self) -> Option<SocketAddr> {
        port_in(&self.port_file).map(|port| SocketAddr::new(self.host, port))
    }

    /// The file it writes its port to.
    #[must_use]
    pub fn port_file(&self) -> &Path {
        &self.port_file
    }

    /// Its log file.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.child.log_path()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    /// Waits until it says that it can do its work.
    ///
    /// # Errors
    /// It ended, or the deadline passed.
    pub async fn ready(&mut self, within: Duration) -> Result<(), ProcessError> {
        let (port_file, host) = (self.port_file.clone(), self.host);
        let look = async |_: &Supervised| port_in(&port_file).map(|port| SocketAddr::new(host, port));
        let address = self.child.wait_until("write its port", within, look).await?;
        self.address = Some(address);
        self.child.wait_for_http(address, self.role.ready_path(), within).await
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not say.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait()
    }

    /// SIGKILL; gone when this returns.
    ///
    /// # Errors
    /// The system refused.
    pub fn kill9(&mut self) -> Result<ExitStatus, ProcessError> {
        self.child.kill9()
    }

    /// SIGTERM, and SIGKILL after `grace`.
    ///
    /// # Errors
    /// The system refused.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        self.child.terminate(grace).await
    }

    /// SIGTERM; returns at once.
    ///
    /// # Errors
    /// The system refused.
    pub fn ask_to_stop(&mut self) -> Result<(), ProcessError> {
        self.child.ask_to_stop()
    }

    /// SIGSTOP: as on a machine that hangs.
    ///
    /// # Errors
    /// The system refused.
    pub fn pause(&mut self) -> Result<(), ProcessError> {
        self.child.stop()
    }

    /// The end of [`Member::pause`].
    ///
    /// # Errors
    /// The system refused.
    pub fn resume(&mut self) -> Result<(), ProcessError> {
        self.child.cont()
    }

    /// Kills it if it still runs and starts the same again; [`Member::ready`] waits for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        if self.child.is_running() {
            self.child.kill9()?;
        }
        forget(&self.port_file);
        self.address = None;
        self.child.restart()
    }
}

/// Several processes. Dropped together: all are asked to stop first, and those that have not after three seconds are
/// killed, so that the end takes no longer than that, however many they are.
#[derive(Debug, Default)]
pub struct Members(Vec<Member>);

impl From<Vec<Member>> for Members {
    fn from(members: Vec<Member>) -> Self {
        Self(members)
    }
}

impl std::ops::Deref for Members {
    type Target = Vec<Member>;

    fn deref(&self) -> &Vec<Member> {
        &self.0
    }
}

impl std::ops::DerefMut for Members {
    fn deref_mut(&mut self) -> &mut Vec<Member> {
        &mut self.0
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in &mut self.0 {
            // One that cannot be asked is killed by its own drop.
            let _ = member.ask_to_stop();
        }
        let deadline = Instant::now() + DROP_GRACE;
        let is_running = |member: &mut Member| matches!(member.try_wait(), Ok(None));
        while self.0.iter_mut().any(is_running) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        for member in &mut self.0 {
            if is_running(member) {
                // One that cannot be killed is left to its own drop.
                let _ = member.kill9();
            }
        }
    }
}

/// The address in the port file of what listens on loopback.
#[must_use]
pub fn listening(port_file: &Path) -> Option<SocketAddr> {
    port_in(port_file).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn port_in(port_file: &Path) -> Option<u16> {
    std::fs::read_to_string(port_file).ok()?.trim().parse().ok()
}

/// The port of an earlier start would be taken for this one's.
fn forget(port_file: &Path) {
    // Not there is as good as removed; anything else shows when the port never answers.
    let _ = std::fs::remove_file(port_file);
}
