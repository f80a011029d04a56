//! The running API: its two ports, its state, its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::store::Store;
use super::{Config, FAULTS, Gemini, files, routes};
use crate::clock::Scale;
use crate::host::Gate;
use crate::journal::StateDir;
use crate::{Admin, Error, admin, host};

/// A running simulator; stops when dropped.
pub struct Server {
    addr: SocketAddr,
    gemini: Arc<Gemini>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("gemini::Server").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts listening, on two ports: the API's and the download host's.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address is taken; [`Error::State`] or [`Error::Journal`] for the state directory.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let gate = Arc::new(Gate::default());
        let bound = host::bind(config.listen, Arc::clone(&gate)).await?;
        let elsewhere = SocketAddr::new(config.listen.ip(), 0);
        let downloads = host::bind(elsewhere, Arc::clone(&gate)).await?;
        let addr = bound.addr;
        let state_dir = StateDir::open(config.state_dir.as_deref())?;
        let admin = Admin::new("gemini", FAULTS, config.seed, state_dir.path(), gate)?;
        let gemini = Arc::new(Gemini {
            scale: Scale::new(config.time_scale),
            store: Store::open(state_dir.path())?,
            admin: admin.clone(),
            public_url: format!("http://{addr}"),
            download_url: format!("http://{}", downloads.addr),
            changed: watch::Sender::new(0),
            recent: Mutex::default(),
            work: Mutex::default(),
            config,
            _state_dir: state_dir,
        });
        let mut tasks = JoinSet::new();
        for id in gemini.store.open_ids() {
            gemini.spawn(Arc::clone(&gemini).finish(id));
        }
        bound.serve(admin::router(admin.clone(), routes::router(Arc::clone(&gemini))), &mut tasks);
        downloads.serve(files::download_host(Arc::clone(&gemini)), &mut tasks);
        Ok(Self { addr, gemini, _tasks: tasks })
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Faults, invoice and stats (`key_leaks` counts keys seen by the download host).
    pub fn admin(&self) -> Admin {
        self.gemini.admin.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gemini.admin.close();
        self.gemini.work.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
