//! Real processes: the two servers, killed and started again; children that end with their parent; the
//! scripts that obtain the servers and build a release.

mod bench;
mod children;
mod cluster;
mod command_line;
mod demo;
#[cfg(target_os = "linux")]
mod doomed;
mod drill;
mod drill_storage;
mod drill_upgrade;
mod obtain;
mod output;
mod release_binaries;
mod series;
mod servers;
mod simulate;
mod tables;

use std::path::{Path, PathBuf};

/// The repository, whose `.argosy/servers.json` names the servers.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("ops lies in the repository")
}

/// A fresh directory that other accounts can reach where the target directory can be reached.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = dir.path().to_owned();
    (dir, path)
}
