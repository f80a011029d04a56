//! Which server binaries to run. `ops/scripts/obtain` looks, fetches and writes the record; here it is read,
//! and where there is none (an installed `argosy` away from its repository) the environment and PATH decide.

use super::{ServerError, Version};
use serde::Deserialize;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

const NATS: &str = "nats-server";
const POSTGRES: &str = "PostgreSQL";
const NATS_VARIABLE: &str = "ARGOSY_NATS_SERVER";
const POSTGRES_VARIABLE: &str = "ARGOSY_PG_BIN";

/// The two servers, present and new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The directory whose `.argosy/` is used.
    pub root: PathBuf,
    /// The nats-server binary.
    pub nats_server: PathBuf,
    /// Its version.
    pub nats_server_version: Version,
    /// The directory with `postgres`, `initdb` and `createdb`.
    pub postgres_bin_dir: PathBuf,
    /// Its version.
    pub postgres_version: Version,
}

/// `.argosy/servers.json`, as `ops/scripts/obtain` writes it.
#[derive(Debug, Deserialize)]
struct Record {
    nats_server: PathBuf,
    postgres_bin_dir: PathBuf,
}

impl Found {
    /// The servers named by the environment, else by `<root>/.argosy/servers.json`, else those on PATH.
    ///
    /// # Errors
    /// One is missing, does not run or is too old; the record is not readable.
    pub fn load(root: &Path) -> Result<Self, ServerError> {
        let root = std::path::absolute(root).map_err(ServerError::files(root))?;
        let record = Record::read(&root.join(".argosy").join("servers.json"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let recorded = record.as_ref();
        let nats_server = variable(NATS_VARIABLE)
            .map(PathBuf::from)
            .or_else(|| recorded.map(|record| record.nats_server.clone()))
            .or_else(|| on_path(&path, "nats-server"))
            .ok_or(ServerError::Missing { server: NATS, variable: NATS_VARIABLE })?;
        let postgres_bin_dir = variable(POSTGRES_VARIABLE)
            .map(PathBuf::from)
            .or_else(|| recorded.map(|record| record.postgres_bin_dir.clone()))
            .or_else(|| bin_dir_on_path(&path))
            .ok_or(ServerError::Missing { server: POSTGRES, variable: POSTGRES_VARIABLE })?;
        let nats_server_version = checked(NATS, &nats_server, Version::NATS_AT_LEAST)?;
        let postgres = postgres_bin_dir.join("postgres");
        let postgres_version = checked(POSTGRES, &postgres, Version::POSTGRES_AT_LEAST)?;
        Ok(Self { root, nats_server, nats_server_version, postgres_bin_dir, postgres_version })
    }
}

impl Record {
    fn read(path: &Path) -> Result<Option<Self>, ServerError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ServerError::Files { path: path.to_owned(), source }),
        };
        let record: Self = serde_json::from_str(&text)
            .map_err(|error| ServerError::Record { path: path.to_owned(), reason: error.to_string() })?;
        let gone = [record.nats_server.clone(), record.postgres_bin_dir.join("postgres")];
        match gone.into_iter().find(|binary| !binary.exists()) {
            Some(binary) => {
                let reason = format!("{} is gone", binary.display());
                Err(ServerError::Record { path: path.to_owned(), reason })
            }
            None => Ok(Some(record)),
        }
    }
}

fn on_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

/// Where `postgres` really lies: PATH may hold a link, and `initdb` is wanted beside it.
fn bin_dir_on_path(path: &OsStr) -> Option<PathBuf> {
    let postgres = on_path(path, "postgres")?.canonicalize().ok()?;
    postgres.parent().filter(|dir| dir.join("initdb").is_file()).map(Path::to_owned)
}

fn checked(server: &'static str, binary: &Path, at_least: Version) -> Result<Version, ServerError> {
    let unusable = |reason: String| ServerError::Unusable { path: binary.to_owned(), reason };
    let output = Command::new(binary).arg("--version").output().map_err(|e| unusable(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = Version::parse(text.trim()).filter(|_| output.status.success()).ok_or_else(|| {
        unusable(format!("--version: {} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim()))
    })?;
    if version < at_least {
        return Err(ServerError::TooOld { server, path: binary.to_owned(), version, at_least });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(path: &Path, prints: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn record(root: &Path) {
        std::fs::create_dir_all(root.join(".argosy")).unwrap();
        let text = serde_json::json!({
            "nats_server": root.join("nats-server"), "nats_server_version": "2.15.1",
            "postgres_bin_dir": root.join("pg"), "postgres_version": "18.4",
        });
        std::fs::write(root.join(".argosy/servers.json"), text.to_string()).unwrap();
    }

    #[test]
    fn the_record_is_used_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path());
        let gone = Found::load(dir.path()).unwrap_err().to_string();
        assert!(gone.contains("nats-server is gone; run ops/scripts/obtain"), "{gone}");

        script(&dir.path().join("nats-server"), "nats-server: v2.13.0");
        script(&dir.path().join("pg/postgres"), "postgres (PostgreSQL) 16.3");
        let found = Found::load(dir.path()).unwrap();
        assert_eq!(found.nats_server_version, Version { major: 2, minor: 13 });
        assert_eq!(found.postgres_bin_dir, dir.path().join("pg"));

        script(&dir.path().join("nats-server"), "nats-server: v2.11.9");
        let old = Found::load(dir.path()).unwrap_err().to_string();
        assert!(old.ends_with("is nats-server 2.11, too old: 2.12 or newer is needed"), "{old}");

        script(&dir.path().join("nats-server"), "no version");
        assert!(matches!(Found::load(dir.path()), Err(ServerError::Unusable { .. })));
        std::fs::write(dir.path().join(".argosy/servers.json"), "{").unwrap();
        assert!(matches!(Found::load(dir.path()), Err(ServerError::Record { .. })));
    }

    #[test]
    fn on_path_a_link_leads_to_the_real_directory_and_initdb_is_required() {
        let dir = tempfile::tempdir().unwrap();
        let (links, real) = (dir.path().join("links"), dir.path().canonicalize().unwrap().join("real"));
        std::fs::create_dir(&links).unwrap();
        script(&real.join("postgres"), "postgres (PostgreSQL) 16.3");
        std::os::unix::fs::symlink(real.join("postgres"), links.join("postgres")).unwrap();
        assert_eq!(bin_dir_on_path(links.as_os_str()), None);
        script(&real.join("initdb"), "initdb (PostgreSQL) 16.3");
        assert_eq!(bin_dir_on_path(links.as_os_str()), Some(real));
    }
}
