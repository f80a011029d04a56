//! The running server: its sockets, its state, its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::files::Files;
use super::sockets::Sockets;
use super::{Catalog, Comfy, Config, FAULTS, routes};
use crate::clock::{self, Scale};
use crate::host::Gate;
use crate::journal::StateDir;
use crate::{Admin, Error, admin, host};

/// A running simulator; stops when dropped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    admin: Admin,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts listening and working.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address is taken, [`Error::State`] if the state directory cannot be used.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let gate = Arc::new(Gate::default());
        let bound = host::bind(config.listen, Arc::clone(&gate)).await?;
        let addr = bound.addr;
        let state_dir = StateDir::open(config.state_dir.as_deref())?;
        let admin = Admin::new("comfyui", FAULTS, config.seed, state_dir.path(), gate)?;
        let mut models = config.models.clone();
        if config.acceptance_nodes {
            let checkpoints = models.entry("checkpoints".to_owned()).or_default();
            if !checkpoints.iter().any(|name| name == "tiny_sd15.safetensors") {
                checkpoints.push("tiny_sd15.safetensors".to_owned());
                checkpoints.sort();
            }
        }
        let comfy = Arc::new(Comfy {
            scale: Scale::new(config.time_scale),
            catalog: Arc::new(Catalog::new(&models, config.acceptance_nodes)),
            files: Arc::new(Files::open(state_dir.path())?),
            started_ms: clock::now_ms(),
            admin: admin.clone(),
            sockets: Sockets::default(),
            queue: Mutex::default(),
            life: Mutex::default(),
            wake: Notify::new(),
            config,
            _state_dir: state_dir,
        });
        let weak = Arc::downgrade(&comfy);
        admin.on_restart(Box::new(move || {
            if let Some(comfy) = weak.upgrade() {
                comfy.forget();
            }
        }));
        let mut tasks = JoinSet::new();
        bound.serve(admin::router(admin.clone(), routes::router(Arc::clone(&comfy))), &mut tasks);
        tasks.spawn(comfy.run_for_ever());
        Ok(Self { addr, admin, _tasks: tasks })
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Faults, invoice (always empty: own hardware) and stats.
    pub fn admin(&self) -> Admin {
        self.admin.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.admin.close();
    }
}
