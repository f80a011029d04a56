//! A nats-server of our own: JetStream with file storage, on loopback unless told otherwise, its monitoring page too.

use super::ports::reached_at;
use super::{Found, ServerError, free_port, place};
use crate::process::{ProcessError, Spec, Supervised};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

/// Recovery of a large store happens before the port opens.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// One look: connect and read the greeting.
const LOOK: Duration = Duration::from_secs(1);
/// Ports tried when the choice is ours and somebody is quicker.
const PORT_TRIES: u32 = 5;

/// What the streams' limits may add up to. The server's own bound is a share of the disk that is free just now,
/// so that the same fleet would start on one day and not on the next; limits take no room until they are used.
const MAX_FILE_STORE_BYTES: u64 = 256 * 1024 * 1024 * 1024;

/// Servers started by this process, to tell their names apart.
static STARTS: AtomicU32 = AtomicU32::new(0);

/// How a nats-server is run.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// What people call it.
    pub name: String,
    /// Its configuration, log and data.
    pub dir: PathBuf,
    /// Where it listens: an address of this machine, or all of them where it is unspecified.
    pub listen: IpAddr,
    /// The port; a free one when absent, the same again at a restart.
    pub port: Option<u16>,
    /// The port of its monitoring page; a free one when absent.
    pub monitor_port: Option<u16>,
    /// Every write reaches the disk before it is acknowledged: survives power loss, costs speed.
    pub sync_always: bool,
    /// The largest message; publishers of larger ones get an error.
    pub max_payload_bytes: u32,
    /// The cluster it is a node of; alone when absent.
    pub peers: Option<Peers>,
}

/// A node's way to the others of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// Where the others reach it, on 127.0.0.1.
    pub port: u16,
    /// Where it reaches the others, on 127.0.0.1. It learns of no other way.
    pub routes: Vec<u16>,
}

impl NatsOptions {
    /// Free ports on loopback, the server's own sync interval, messages up to 1 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            name: "nats-server".to_owned(),
            dir: dir.into(),
            listen: Ipv4Addr::LOCALHOST.into(),
            port: None,
            monitor_port: None,
            sync_always: false,
            max_payload_bytes: 1024 * 1024,
            peers: None,
        }
    }
}

/// Where a server is reached.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    clients: SocketAddr,
    monitor: SocketAddr,
}

/// A running nats-server; stopped when dropped.
#[derive(Debug)]
pub struct NatsServer {
    child: Supervised,
    at: Addresses,
    server_name: String,
    _lock: File,
}

impl NatsServer {
    /// Starts it and waits until it answers with JetStream on.
    ///
    /// # Errors
    /// The directory or the port is in use; the server ends or does not answer (its log's end is shown).
    pub async fn start(found: &Found, options: NatsOptions) -> Result<Self, ServerError> {
        let dir = std::path::absolute(&options.dir).map_err(ServerError::files(&options.dir))?;
        let lock = place::lock(&dir)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = options.port.map_or_else(free_port, Ok).map_err(ServerError::files(&dir))?;
            // Unlike any other: whoever answers on the port is known by it.
            let start = STARTS.fetch_add(1, Ordering::Relaxed);
            let server_name = format!("argosy-{}-{start}", std::process::id());
            let config = dir.join("nats-server.conf");
            let monitor_port =
                options.monitor_port.map_or_else(free_port, Ok).map_err(ServerError::files(&dir))?;
            std::fs::write(&config, config_text(&dir, &options, (port, monitor_port), &server_name))
                .map_err(ServerError::files(&config))?;
            let spec = Spec::new(&options.name, &found.nats_server, dir.join("nats-server.log"))
                .args(["--config".into(), config.into_os_string()]);
            let mut child = Supervised::spawn(spec)?;
            let host = reached_at(options.listen);
            let at = Addresses {
                clients: SocketAddr::new(host, port),
                monitor: SocketAddr::new(host, monitor_port),
            };
            match ready(&mut child, at, &server_name).await {
                Ok(()) => return Ok(Self { child, at, server_name, _lock: lock }),
                Err(ServerError::PortInUse { .. }) if options.port.is_none() && tries < PORT_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// `nats://127.0.0.1:<port>`; where it listens on one other address, that one.
    pub fn url(&self) -> String {
        format!("nats://{}", self.at.clients)
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.at.clients.port()
    }

    /// Where it tells about itself: `http://127.0.0.1:<port>`, or as [`NatsServer::url`].
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.at.monitor)
    }

    /// When its process started ([`crate::process::started`]).
    pub fn started(&self) -> Option<&str> {
        self.child.started()
    }

    /// Its process id; another one after a restart.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_running()
    }

    /// Its log file.
    pub fn log_path(&self) -> &Path {
        self.child.log_path()
    }

    /// SIGKILL; gone when this returns.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        self.child.kill9()?;
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&mut self) -> Result<(), ServerError> {
        Ok(self.child.stop()?)
    }

    /// The end of [`NatsServer::pause`].
    pub fn resume(&mut self) -> Result<(), ServerError> {
        Ok(self.child.cont()?)
    }

    /// Starts it again (killing it first if it runs) on the same port and data, and waits for it.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.child.restart()?;
        ready(&mut self.child, self.at, &self.server_name).await
    }

    /// SIGTERM, and SIGKILL after `grace`.
    pub async fn stop(mut self, grace: Duration) -> Result<ExitStatus, ServerError> {
        Ok(self.child.terminate(grace).await?)
    }
}

fn config_text(
    dir: &Path,
    options: &NatsOptions,
    (port, monitor_port): (u16, u16),
    server_name: &str,
) -> String {
    let store = dir.join("jetstream");
    let sync = if options.sync_always { "\n  sync_interval: always" } else { "" };
    format!(
        "# Written by argosy at every start.\n\
         server_name: {server_name:?}\n\
         listen: \"{}\"\n\
         http: \"{}\"\n\
         max_payload: {}\n\
         jetstream {{\n  store_dir: {:?}\n  max_file_store: {MAX_FILE_STORE_BYTES}{sync}\n}}\n{}",
        SocketAddr::new(options.listen, port),
        SocketAddr::new(options.listen, monitor_port),
        options.max_payload_bytes,
        store.display().to_string(),
        options.peers.as_ref().map(cluster_text).unwrap_or_default(),
    )
}

fn cluster_text(peers: &Peers) -> String {
    let host = Ipv4Addr::LOCALHOST;
    let routes: Vec<String> = peers.routes.iter().map(|port| format!("\"nats://{host}:{port}\"")).collect();
    format!(
        "cluster {{\n  name: argosy\n  listen: \"{host}:{}\"\n  no_advertise: true\n  routes: [{}]\n}}\n",
        peers.port,
        routes.join(", ")
    )
}

async fn ready(child: &mut Supervised, at: Addresses, server_name: &str) -> Result<(), ServerError> {
    let look = async |_: &Supervised| {
        let greeting = tokio::time::timeout(LOOK, greeting(at.clients)).await.ok()?.ok()?;
        is_ours(&greeting, server_name).then_some(())
    };
    child.wait_until("answer with JetStream on", READY_WITHIN, look).await.map_err(|error| match error {
        ProcessError::Ended { ref tail, .. } if tail.contains("address already in use") => {
            let is_monitor = tail.contains(&format!(":{}: bind", at.monitor.port()));
            let port = if is_monitor { at.monitor.port() } else { at.clients.port() };
            ServerError::PortInUse { server: "nats-server", port }
        }
        other => other.into(),
    })
}

/// The line a nats-server sends first: `INFO {…}`.
async fn greeting(at: SocketAddr) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(TcpStream::connect(at).await?).read_line(&mut line).await?;
    Ok(line)
}

/// Another server may hold the port while ours is about to give up on it.
fn is_ours(greeting: &str, server_name: &str) -> bool {
    let info: Option<serde_json::Value> =
        greeting.strip_prefix("INFO ").and_then(|info| serde_json::from_str(info).ok());
    info.is_some_and(|info| info["server_name"] == server_name && info["jetstream"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_server_with_jetstream_counts() {
        assert!(is_ours("INFO {\"server_name\":\"a\",\"jetstream\":true}\r\n", "a"));
        assert!(!is_ours("INFO {\"server_name\":\"b\",\"jetstream\":true}\r\n", "a"));
        assert!(!is_ours("INFO {\"server_name\":\"a\"}\r\n", "a"));
        assert!(!is_ours("HTTP/1.1 400 Bad Request\r\n", "a"));
    }
}
