//! What goes wrong with a child process, said with the end of its log.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use thiserror::Error;

/// A child process did not do what was asked.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The executable is missing, not executable, or the system has no room for another process.
    #[error("{name}: cannot start {}: {source}", program.display())]
    Spawn {
        /// What people call it.
        name: String,
        /// The executable.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A signal could not be sent, or the exit status not be read.
    #[error("{name}: cannot signal or wait: {source}")]
    Wait {
        /// What people call it.
        name: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Its log file cannot be written or read.
    #[error("log file {}: {source}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It ended while somebody waited for it to become ready.
    #[error("{name} ended ({status}) before it was ready; log {}:\n{tail}", log.display())]
    Ended {
        /// What people call it.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// It runs, but what was waited for did not come.
    #[error("{name} did not {awaited} within {:.1} s; log {}:\n{tail}", within.as_secs_f64(), log.display())]
    Deadline {
        /// What people call it.
        name: String,
        /// What was waited for, as a verb phrase.
        awaited: String,
        /// How long.
        within: Duration,
        /// The log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
}

impl ProcessError {
    pub(super) fn wait(name: &str, source: std::io::Error) -> Self {
        ProcessError::Wait { name: name.to_owned(), source }
    }

    pub(super) fn log(path: &Path, source: std::io::Error) -> Self {
        ProcessError::Log { path: path.to_owned(), source }
    }
}
