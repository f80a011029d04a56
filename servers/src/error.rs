//! What goes wrong with a server, each with its cure.

use super::Version;
use crate::process::ProcessError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A server could not be found, started or used.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Neither `.argosy/servers.json` nor the environment nor PATH has one.
    #[error("no {server} found: run ops/scripts/obtain, or set {variable}")]
    Missing {
        /// `nats-server` or `PostgreSQL`.
        server: &'static str,
        /// The variable that names one.
        variable: &'static str,
    },
    /// The binary does not run, or does not say which version it is.
    #[error("{} does not run: {reason}", path.display())]
    Unusable {
        /// The binary.
        path: PathBuf,
        /// The system's or the server's words.
        reason: String,
    },
    /// The server is older than what Argosy needs.
    #[error("{} is {server} {version}, too old: {at_least} or newer is needed", path.display())]
    TooOld {
        /// `nats-server` or `PostgreSQL`.
        server: &'static str,
        /// The binary.
        path: PathBuf,
        /// Its version.
        version: Version,
        /// The oldest version that will do.
        at_least: Version,
    },
    /// `.argosy/servers.json` cannot be understood.
    #[error("{}: {reason}; run ops/scripts/obtain", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The port that was asked for belongs to another process, or no free one was found.
    #[error("{server}: port {port} is in use; stop what uses it or choose another port")]
    PortInUse {
        /// `nats-server` or `PostgreSQL`.
        server: &'static str,
        /// The port.
        port: u16,
    },
    /// Another process of ours keeps its data there.
    #[error("{} is in use by another Argosy; stop that one first", dir.display())]
    DirInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The data were written by another major version of PostgreSQL.
    #[error(
        "{} was written by PostgreSQL {written_by}, the server found is {found}: set ARGOSY_PG_BIN to \
         version {written_by}, or delete that folder and lose its data", data.display()
    )]
    OtherVersion {
        /// The data directory.
        data: PathBuf,
        /// What wrote it.
        written_by: String,
        /// What would read it.
        found: String,
    },
    /// A file or directory of the server cannot be made or read.
    #[error("{}: {source}", path.display())]
    Files {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The process did not do what was asked.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl ServerError {
    /// For `map_err`: names the path.
    pub(super) fn files(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| ServerError::Files { path, source }
    }
}
