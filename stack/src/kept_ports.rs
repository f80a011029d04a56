//! The file in a fleet's folder that remembers its ports, so that a restart has the same.

use super::ports::Ports;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

fn path(dir: &Path) -> PathBuf {
    dir.join("ports.json")
}

/// The ports that the fleet of this folder had; none where it is new.
///
/// # Errors
/// The file cannot be read.
pub fn load(dir: &Path) -> anyhow::Result<Ports> {
    let path = path(dir);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} cannot be read: delete it to plan the ports anew", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ports::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Remembers ports. The file is whole at any moment.
///
/// # Errors
/// The folder cannot be written.
pub fn save(dir: &Path, ports: &Ports) -> anyhow::Result<()> {
    let path = path(dir);
    let written = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, serde_json::to_vec_pretty(ports)?)?;
        std::fs::rename(&temporary, &path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
