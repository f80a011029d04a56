//! The running endpoint: its socket, its state, its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::jobs::Store;
use super::sessions::Sessions;
use super::{Config, Endpoint, FAULTS, routes};
use crate::clock::{self, Scale};
use crate::comfyui::Catalog;
use crate::host::Gate;
use crate::journal::StateDir;
use crate::{Admin, Error, admin, host};

/// A running simulator; stops when dropped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    endpoint_id: String,
    admin: Admin,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts listening; jobs found in the state directory go on.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address is taken; [`Error::State`] or [`Error::Journal`] for the state directory.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let gate = Arc::new(Gate::default());
        let bound = host::bind(config.listen, Arc::clone(&gate)).await?;
        let addr = bound.addr;
        let state_dir = StateDir::open(config.state_dir.as_deref())?;
        let admin = Admin::new("runpod", FAULTS, config.seed, state_dir.path(), gate)?;
        let endpoint_id = config.endpoint_id.clone();
        let scale = Scale::new(config.time_scale);
        let warm_until_ms = clock::now_ms() + scale.wall(config.idle_timeout_ms).as_millis() as u64;
        let sessions = Sessions::open(state_dir.path(), warm_until_ms)?;
        let up = sessions.up(clock::now_ms());
        let endpoint = Arc::new(Endpoint {
            scale,
            sessions,
            catalog: Arc::new(Catalog::new(&config.models, false)),
            store: Store::open(state_dir.path(), config.workers, &up, warm_until_ms)?,
            admin: admin.clone(),
            wake: Notify::new(),
            changed: watch::Sender::new(0),
            public_url: format!("http://{addr}"),
            config,
            _state_dir: state_dir,
        });
        let mut tasks = JoinSet::new();
        bound.serve(admin::router(admin.clone(), routes::router(Arc::clone(&endpoint))), &mut tasks);
        tasks.spawn(endpoint.dispatch());
        Ok(Self { addr, endpoint_id, admin, _tasks: tasks })
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The endpoint's URL: `{url}/v2/{endpoint}`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}/v2/{}", self.addr, self.endpoint_id)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Faults, invoice and stats.
    pub fn admin(&self) -> Admin {
        self.admin.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.admin.close();
    }
}
