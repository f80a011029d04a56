//! How a process ends: one clear line, and a code that tells a supervisor what to do about it.

use std::fmt;
use std::process::ExitCode;

/// Why a process ended. The numbers follow `sysexits.h` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to stop and everything was finished or handed back.
    Stopped = 0,
    /// A defect: a task ended that never should.
    Crashed = 70,
    /// The address is in use.
    PortOccupied = 71,
    /// The database does not answer or refuses us.
    DatabaseAbsent = 72,
    /// Streams or buckets are missing: `argosy topology apply` makes them.
    TopologyMissing = 73,
    /// It was asked to stop and the grace period ran out; what it held is redelivered.
    DrainIncomplete = 75,
    /// The broker is older than we need.
    BrokerTooOld = 76,
    /// The broker does not answer or refuses us.
    BrokerAbsent = 69,
    /// The configuration is wrong. Nothing was connected.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A reason to end the process, with its line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The code.
    pub exit: Exit,
    /// What is wrong, and the cure.
    pub message: String,
}

impl Fault {
    /// A fault.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
