//! Child processes that never outlive us: the servers, our own binaries, the simulators.
//!
//! `up`, `demo` and the tests start a dozen processes and promise that everything they started ends with
//! them, also when they are killed by SIGKILL. [`Supervised`] is one such child with a log file, signals,
//! a stop in two stages (signal, then SIGKILL after a grace) and waits with a deadline whose errors show
//! the end of the log.
//!
//! Rejected: `tokio::process` (its children are reaped by a runtime, and a drop cannot wait for them), a
//! supervisor process in between (one more thing that can be killed), killing by process group alone
//! (PostgreSQL's children leave the group).

mod error;
mod log;
mod ready;
mod spawner;
mod spec;
mod started;
mod user;

pub use error::ProcessError;
pub use spec::{Spec, StopSignal};
pub use started::{Holder, holder, started};
pub use user::RunAs;

use log::LogFile;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How often a wait looks again. Short beside anything a process does, long beside what a look costs.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long a dropped child may take to stop before it is killed.
const DROP_GRACE: Duration = Duration::from_secs(3);

/// A running (or ended) child. Dropping it stops it: stop signal, grace, SIGKILL.
#[derive(Debug)]
pub struct Supervised {
    spec: Spec,
    child: Child,
    started: Option<String>,
    log: LogFile,
}

impl Supervised {
    /// Starts a child. May be called from any thread: see `process/spawner.rs` for why that matters.
    pub fn spawn(spec: Spec) -> Result<Self, ProcessError> {
        let log = LogFile::open(&spec.log)?;
        let child = spawner::spawn(&spec, spec.command(&log)?)?;
        let started = started(child.id());
        Ok(Self { spec, child, started, log })
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When it started ([`started`]); another moment after a restart.
    pub fn started(&self) -> Option<&str> {
        self.started.as_deref()
    }

    /// The executable of its next start; the present one until [`Supervised::set_program`].
    pub fn program(&self) -> &Path {
        &self.spec.program
    }

    /// Another executable from the next [`Supervised::restart`] on; what runs goes on running.
    pub fn set_program(&mut self, program: PathBuf) {
        self.spec.program = program;
    }

    /// Where its output goes.
    pub fn log_path(&self) -> &Path {
        &self.spec.log
    }

    /// The last lines it has written, for error messages.
    pub fn log_tail(&self) -> String {
        self.log.tail()
    }

    /// Whether it runs (a stopped process runs too).
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| ProcessError::wait(&self.spec.name, source))
    }

    /// Asks it to stop; returns at once. `Ok` also when it has ended already.
    pub fn ask_to_stop(&mut self) -> Result<(), ProcessError> {
        self.signal(self.spec.stop_signal.raw())?;
        // A process stopped by SIGSTOP would sleep through the request.
        self.signal(Signal::CONT)
    }

    /// Asks it to stop, waits, and kills it when `grace` is over.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        self.ask_to_stop()?;
        match self.wait_exit(grace).await {
            Err(ProcessError::Deadline { .. }) => self.kill9(),
            other => other,
        }
    }

    /// Waits until it has ended by itself.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.deadline("end", within));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// SIGKILL, and waits for the end, which then is a matter of microseconds.
    pub fn kill9(&mut self) -> Result<ExitStatus, ProcessError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(|source| ProcessError::wait(&self.spec.name, source))
    }

    /// SIGSTOP: it keeps its sockets and does nothing, as on a machine that hangs.
    pub fn stop(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: the end of [`Supervised::stop`].
    pub fn cont(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::CONT)
    }

    /// Kills it if it still runs and starts the same again; the caller waits for its readiness.
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        if self.is_running() {
            self.kill9()?;
        }
        self.log = LogFile::open(&self.spec.log)?;
        self.child = spawner::spawn(&self.spec, self.spec.command(&self.log)?)?;
        self.started = started(self.child.id());
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        // Not yet reaped, hence the number cannot belong to another process.
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(|errno| ProcessError::wait(&self.spec.name, errno.into()))
    }
}

impl Supervised {
    /// What a drop does, for those who have something to do afterwards. Blocks for three seconds at most.
    pub(crate) fn stop_now(&mut self) {
        if !self.is_running() || self.ask_to_stop().is_err() {
            return;
        }
        let deadline = Instant::now() + DROP_GRACE;
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
        }
        if self.is_running() {
            // Nothing is left to do about a child that cannot be killed.
            let _ = self.kill9();
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop_now();
    }
}
