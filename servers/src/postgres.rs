//! A PostgreSQL of our own: a cluster in a directory, on loopback by password (scram-sha-256), no Unix socket.
//!
//! `kill -9` of the postmaster leaves its children, which end by themselves once they notice. Until then a new
//! postmaster refuses the directory ("pre-existing shared memory block"), so a start is repeated until they
//! are gone.

mod cluster;
mod password;

use self::cluster::{READY_WITHIN, SUPERUSER, still_held};
use super::place::{self, Place};
use super::{Found, ServerError, free_port};
use crate::process::{POLL_INTERVAL, ProcessError, RunAs, Spec, StopSignal, Supervised};
use password::Password;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Making a database copies a template of a few MiB.
const CREATE_DATABASE_WITHIN: Duration = Duration::from_secs(30);
/// Ports tried when the choice is ours and somebody is quicker.
const PORT_TRIES: u32 = 5;

/// How a PostgreSQL is run.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Its cluster (made when missing) and log. As root it may be kept elsewhere: see [`Postgres::note`].
    pub dir: PathBuf,
    /// The port; a free one when absent, the same again at a restart.
    pub port: Option<u16>,
    /// Commits reach the disk. Without, data survive `kill -9` but not power loss: for tests.
    pub fsync: bool,
    /// Connections accepted at once.
    pub max_connections: u16,
    /// The data are deleted when it is dropped: for tests.
    pub ephemeral: bool,
    /// Remembers when each transaction was committed: for measurements.
    pub commit_times: bool,
}

impl PostgresOptions {
    /// A free port, safe writes, 100 connections, data that stay.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port: None,
            fsync: true,
            max_connections: 100,
            ephemeral: false,
            commit_times: false,
        }
    }

    /// For tests: no waiting for the disk, and nothing left behind.
    pub fn for_test(dir: impl Into<PathBuf>) -> Self {
        Self { fsync: false, ephemeral: true, ..Self::new(dir) }
    }
}

/// A running PostgreSQL; stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    child: Supervised,
    place: Place,
    password: Password,
    port: u16,
    ephemeral: bool,
    _lock: File,
}

impl Postgres {
    /// Makes the cluster if there is none, starts the server and waits until it accepts connections.
    ///
    /// # Errors
    /// The directory or the port is in use, the data belong to another version, the server ends or does not
    /// become ready (its log's end is shown).
    pub async fn start(found: &Found, options: PostgresOptions) -> Result<Self, ServerError> {
        let user = RunAs::unprivileged(&options.dir);
        let place = place::for_postgres(found, &options.dir, user)?;
        if let Some(note) = &place.note {
            tracing::info!("{note}");
        }
        let lock = place::lock(&place.dir)?;
        match launch(found, &place, user, &options).await {
            Ok((child, port, password)) => {
                Ok(Self { child, place, password, port, ephemeral: options.ephemeral, _lock: lock })
            }
            Err(error) => {
                if options.ephemeral {
                    remove(&place);
                }
                Err(error)
            }
        }
    }

    /// `postgres://argosy:<password>@127.0.0.1:<port>/<database>`, for whoever connects and not to be printed; the
    /// database `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        let password = self.password.expose();
        format!("postgres://{SUPERUSER}:{password}@{}:{}/{database}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id; another one after a restart.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// When the postmaster started ([`crate::process::started`]).
    pub fn started(&self) -> Option<&str> {
        self.child.started()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_running()
    }

    /// Its log file.
    pub fn log_path(&self) -> &Path {
        self.child.log_path()
    }

    /// One line for people when the files are not where they were asked for.
    pub fn note(&self) -> Option<&str> {
        self.place.note.as_deref()
    }

    /// Makes a database; `false` when it is there already.
    ///
    /// # Errors
    /// The server's own words, in the log's end that the error shows.
    pub async fn create_database(&self, name: &str) -> Result<bool, ServerError> {
        let log = self.place.dir.join("createdb.log");
        let port = self.port.to_string();
        let host = Ipv4Addr::LOCALHOST.to_string();
        let createdb = Spec::new("createdb", self.place.bin_dir.join("createdb"), log);
        let spec = createdb.env("LC_ALL", "C").env("PGPASSWORD", self.password.expose()).args([
            "--no-password",
            "--host",
            &host,
            "--port",
            &port,
            "--username",
            SUPERUSER,
            "--",
            name,
        ]);
        let mut child = Supervised::spawn(spec)?;
        let status = child.wait_exit(CREATE_DATABASE_WITHIN).await?;
        let (name, log, tail) = (child.name().to_owned(), child.log_path().to_owned(), child.log_tail());
        match (status.success(), tail.contains("already exists")) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => Err(ProcessError::Ended { name, status, log, tail }.into()),
        }
    }

    /// SIGKILL to the postmaster, gone when this returns; its children follow by themselves.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        self.child.kill9()?;
        Ok(())
    }

    /// SIGSTOP to the postmaster: no new connection is taken; those that are there go on.
    pub fn pause(&mut self) -> Result<(), ServerError> {
        Ok(self.child.stop()?)
    }

    /// The end of [`Postgres::pause`].
    pub fn resume(&mut self) -> Result<(), ServerError> {
        Ok(self.child.cont()?)
    }

    /// Starts it again (killing it first if it runs) on the same port and data, and waits for it.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.child.restart()?;
        ready(&mut self.child, &self.place, self.port).await
    }

    /// A fast shutdown, and SIGKILL after `grace`.
    pub async fn stop(mut self, grace: Duration) -> Result<ExitStatus, ServerError> {
        Ok(self.child.terminate(grace).await?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.child.stop_now();
        if self.ephemeral {
            remove(&self.place);
        }
    }
}

/// What cannot be deleted is no reason to fail: the system clears temporary folders.
fn remove(place: &Place) {
    let _ = std::fs::remove_dir_all(&place.dir);
}

/// The cluster, then the server on it; on another port when somebody is quicker and the choice is ours.
async fn launch(
    found: &Found,
    place: &Place,
    user: Option<RunAs>,
    options: &PostgresOptions,
) -> Result<(Supervised, u16, Password), ServerError> {
    let password = cluster::ensure(found, place, user, options.fsync).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        let port = options.port.map_or_else(free_port, Ok).map_err(ServerError::files(&place.dir))?;
        let mut child = Supervised::spawn(spec(place, user, port, options))?;
        match ready(&mut child, place, port).await {
            Ok(()) => return Ok((child, port, password)),
            Err(ServerError::PortInUse { .. }) if options.port.is_none() && tries < PORT_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

fn spec(place: &Place, user: Option<RunAs>, port: u16, options: &PostgresOptions) -> Spec {
    let settings = [
        format!("listen_addresses={}", Ipv4Addr::LOCALHOST),
        format!("port={port}"),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={}", options.max_connections),
        format!("fsync={}", if options.fsync { "on" } else { "off" }),
        format!("track_commit_timestamp={}", if options.commit_times { "on" } else { "off" }),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ];
    let mut spec = Spec::new("postgres", place.bin_dir.join("postgres"), place.dir.join("postgres.log"))
        .env("LC_ALL", "C")
        .args(["-D".into(), cluster::data_dir(place).into_os_string()])
        .args(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    spec.working_dir = Some(place.dir.clone());
    spec.run_as = user;
    spec.stop_signal = StopSignal::Interrupt;
    // A postmaster that is asked takes its children along at once.
    spec.death_signal = StopSignal::Interrupt;
    spec
}

/// Waits for the server, starting it anew while the children of a killed one still hold the data.
async fn ready(child: &mut Supervised, place: &Place, port: u16) -> Result<(), ServerError> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let look = async |child: &Supervised| accepts(place, port, child.pid()).await.then_some(());
        match child.wait_until("accept connections", left, look).await {
            Ok(()) => return Ok(()),
            Err(ProcessError::Ended { tail, .. }) if tail.contains("Address already in use") => {
                return Err(ServerError::PortInUse { server: "PostgreSQL", port });
            }
            Err(ProcessError::Ended { tail, .. }) if still_held(&tail) && !left.is_zero() => {
                tokio::time::sleep(POLL_INTERVAL).await;
                child.restart()?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The first line of `postmaster.pid` is whose it is, the eighth its state; another server may hold the port.
async fn accepts(place: &Place, port: u16, pid: u32) -> bool {
    let text = std::fs::read_to_string(cluster::data_dir(place).join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    let ours = lines.next().is_some_and(|line| line.trim() == pid.to_string());
    let is_ready = lines.nth(6).is_some_and(|line| line.trim() == "ready");
    ours && is_ready && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
}
