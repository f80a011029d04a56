//! One fleet at a time in a folder: the claim on it, the file that tells others, the signals that end it.

use crate::fleet_file::FleetFile;
use anyhow::{Context as _, bail};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// The claim on a folder; given back when dropped or when the process ends.
#[derive(Debug)]
pub struct Station {
    root: PathBuf,
    _lock: File,
}

impl Station {
    /// Claims the folder.
    ///
    /// # Errors
    /// Another `up` or `demo` runs there.
    pub fn claim(root: &Path) -> anyhow::Result<Self> {
        let run = root.join(".argosy").join("run");
        std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        let path = run.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {
                // What lies there is of one that was killed: the lock is ours, so no other runs.
                let _ = std::fs::remove_file(FleetFile::path(root));
                Ok(Self { root: root.to_owned(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => {
                bail!("a fleet runs in {} already: end that one first", root.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }

    /// Tells other terminals where the fleet is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self, fleet: &FleetFile) -> anyhow::Result<()> {
        fleet.write(&self.root).context("cannot write .argosy/run/fleet.json")
    }

    /// The fleet takes no more commands.
    pub fn withdraw(&self) {
        FleetFile::remove(&self.root);
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Completes at SIGINT or SIGTERM, with its name. Listening begins at once.
///
/// # Errors
/// The signals cannot be listened for.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = &'static str> + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}
