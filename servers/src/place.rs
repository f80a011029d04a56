//! Where a server keeps its files: a directory of its own, locked against a second Argosy, and reachable for
//! the account the server runs under.
//!
//! The last is a matter of PostgreSQL, which refuses to run as root. In a clone below `/root` the account it
//! runs under instead can reach neither the fetched binaries nor the data. Then both go below `/var/tmp`.
//! Rejected: opening up the user's directories, which are closed for a reason.

use super::{Found, ServerError};
use crate::process::RunAs;
use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Survives a reboot, as data should; every account reaches it.
const FALLBACK_PARENT: &str = "/var/tmp";

/// The directories a server of the given account really uses.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) bin_dir: PathBuf,
    /// One line for people when these are not the directories that were asked for.
    pub(super) note: Option<String>,
}

/// Makes `dir` (or its stand-in) for PostgreSQL run as `user`, and copies the binaries when they are out of
/// that account's reach.
pub(super) fn for_postgres(found: &Found, dir: &Path, user: Option<RunAs>) -> Result<Place, ServerError> {
    std::fs::create_dir_all(dir).map_err(ServerError::files(dir))?;
    let dir = std::path::absolute(dir).map_err(ServerError::files(dir))?;
    let bin_dir = found.postgres_bin_dir.clone();
    let Some(user) = user else { return Ok(Place { dir, bin_dir, note: None }) };
    let dir_in_reach = dir.parent().is_none_or(|parent| user.reaches(parent));
    let bin_in_reach = user.reaches(&bin_dir.join("postgres"));
    let mut place = Place { dir, bin_dir, note: None };
    if !dir_in_reach || !bin_in_reach {
        let fallback = fallback_dir(&found.root)?;
        place.note = Some(format!(
            "PostgreSQL cannot run as root, and user {} cannot reach {}: it is kept in {}",
            user.uid,
            if dir_in_reach { place.bin_dir.display() } else { place.dir.display() },
            fallback.display()
        ));
        if !bin_in_reach {
            place.bin_dir = copied_binaries(found, &fallback)?;
        }
        if !dir_in_reach {
            place.dir = fallback.join(format!("data-{:016x}", hash(&place.dir)));
            std::fs::create_dir_all(&place.dir).map_err(ServerError::files(&place.dir))?;
        }
    }
    chown(&place.dir, Some(user.uid), Some(user.gid)).map_err(ServerError::files(&place.dir))?;
    Ok(place)
}

/// Takes the directory for this process; the lock goes when the file is dropped or the process ends.
pub(super) fn lock(dir: &Path) -> Result<File, ServerError> {
    std::fs::create_dir_all(dir).map_err(ServerError::files(dir))?;
    let path = dir.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(ServerError::files(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::DirInUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(ServerError::Files { path, source }),
    }
}

/// `/var/tmp/argosy-<hash of the root>`. Anybody can make directories there, so one that is not ours is
/// refused: its owner could swap the binaries.
fn fallback_dir(root: &Path) -> Result<PathBuf, ServerError> {
    let dir = Path::new(FALLBACK_PARENT).join(format!("argosy-{:016x}", hash(root)));
    match DirBuilder::new().mode(0o755).create(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(ServerError::Files { path: dir, source: error });
        }
        _ => {}
    }
    let metadata = std::fs::symlink_metadata(&dir).map_err(ServerError::files(&dir))?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        let source = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "belongs to somebody else");
        return Err(ServerError::Files { path: dir, source });
    }
    std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).map_err(ServerError::files(&dir))?;
    Ok(dir)
}

/// Copies the whole installation the binaries belong to: they find libraries and time zones relative to
/// themselves. A fetched one is a folder of `.argosy/servers`; any other has its binaries in `<prefix>/bin`.
fn copied_binaries(found: &Found, fallback: &Path) -> Result<PathBuf, ServerError> {
    let fetched = found.root.join(".argosy").join("servers");
    let bin_dir = &found.postgres_bin_dir;
    let top = match bin_dir.strip_prefix(&fetched).ok().and_then(|inner| inner.iter().next()) {
        Some(name) => fetched.join(name),
        None => bin_dir.parent().unwrap_or(bin_dir).to_owned(),
    };
    let name = format!("postgresql-{}-{:016x}", found.postgres_version, hash(&top));
    let copy = fallback.join(name);
    let inner = bin_dir.strip_prefix(&top).unwrap_or(Path::new(""));
    if !copy.join(inner).join("postgres").exists() {
        // Beside the target and renamed: a copy that was interrupted is never taken for a whole one.
        let half = fallback.join(format!("copying-{}-{:?}", std::process::id(), std::thread::current().id()));
        copy_tree(&top, &half)?;
        if let Err(source) = std::fs::rename(&half, &copy) {
            std::fs::remove_dir_all(&half).map_err(ServerError::files(&half))?;
            // Another test of ours was faster; anything else is an error.
            if !copy.join(inner).join("postgres").exists() {
                return Err(ServerError::Files { path: copy, source });
            }
        }
    }
    Ok(copy.join(inner))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), ServerError> {
    DirBuilder::new().recursive(true).create(to).map_err(ServerError::files(to))?;
    std::fs::set_permissions(to, Permissions::from_mode(0o755)).map_err(ServerError::files(to))?;
    for entry in std::fs::read_dir(from).map_err(ServerError::files(from))? {
        let entry = entry.map_err(ServerError::files(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(ServerError::files(&source))?;
        }
    }
    Ok(())
}

/// FNV-1a: a name for a path that stays the same from build to build, which the standard hasher does not
/// promise.
fn hash(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(ServerError::DirInUse { .. })));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
