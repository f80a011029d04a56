//! What is started, and how it is asked to stop.

use super::log::LogFile;
use super::{ProcessError, RunAs};
use rustix::process::Signal;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The signal that asks a child to stop, and the one it gets when we die without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM: drain and leave.
    Terminate,
    /// SIGINT: for PostgreSQL a fast shutdown, which does not wait for its clients.
    Interrupt,
    /// SIGKILL: no goodbye.
    Kill,
}

impl StopSignal {
    pub(super) fn raw(self) -> Signal {
        match self {
            StopSignal::Terminate => Signal::TERM,
            StopSignal::Interrupt => Signal::INT,
            StopSignal::Kill => Signal::KILL,
        }
    }
}

/// What to start, kept so that [`Supervised::restart`] can start it again.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What people call it: `router-1`, `postgres`.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables set on top of ours.
    pub env: Vec<(OsString, OsString)>,
    /// Variables of ours that it must not see.
    pub env_remove: Vec<OsString>,
    /// Where it runs; ours when absent.
    pub working_dir: Option<PathBuf>,
    /// Gets its standard output and error, appended.
    pub log: PathBuf,
    /// The account it runs under; ours when absent.
    pub run_as: Option<RunAs>,
    /// Its own process group: Ctrl-C at the terminal then reaches only us, and we decide the order of the stops.
    pub own_group: bool,
    /// Asks it to stop.
    pub stop_signal: StopSignal,
    /// What it gets when we die (Linux; other systems have no such thing, see `process/spawner.rs`).
    pub death_signal: StopSignal,
}

impl Spec {
    /// A program with its log file; own group, SIGTERM to stop, SIGKILL when we die.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            working_dir: None,
            log: log.into(),
            run_as: None,
            own_group: true,
            stop_signal: StopSignal::Terminate,
            death_signal: StopSignal::Kill,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    pub(super) fn command(&self, log: &LogFile) -> Result<Command, ProcessError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        command.stdout(log.writer()?).stderr(log.writer()?);
        self.env_remove.iter().for_each(|key| {
            command.env_remove(key);
        });
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.working_dir {
            command.current_dir(dir);
        }
        if let Some(user) = self.run_as {
            command.uid(user.uid).gid(user.gid);
        }
        if self.own_group {
            command.process_group(0);
        }
        Ok(command)
    }
}
