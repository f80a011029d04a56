//! One process of the fleet: its role, where it listens, and what may be done to it.

use anyhow::{Context as _, ensure};
use servers::process::{ProcessError, Spec, Supervised};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

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
        Ok(Self { role, simulated, child: Supervised::spawn(spec)?, port_file, address: None })
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
        listening(&self.port_file)
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
        let port_file = self.port_file.clone();
        let address =
            self.child.wait_until("write its port", within, async |_| listening(&port_file)).await?;
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
        self.child.restart()
    }
}

/// Several processes. Dropped together: all are asked to stop first, so that the drops that follow wait for the
/// slowest and not for the sum.
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
    }
}

/// The address in a port file.
#[must_use]
pub fn listening(port_file: &Path) -> Option<SocketAddr> {
    let port = std::fs::read_to_string(port_file).ok()?.trim().parse::<u16>().ok()?;
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// The port of an earlier start would be taken for this one's.
fn forget(port_file: &Path) {
    // Not there is as good as removed; anything else shows when the port never answers.
    let _ = std::fs::remove_file(port_file);
}
