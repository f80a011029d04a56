//! The data directory: made by `initdb` when there is none, checked for its version when there is.

use super::Place;
use super::password::{self, Password};
use crate::process::{ProcessError, RunAs, Spec, Supervised};
use crate::{Found, ServerError};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The superuser of our clusters.
pub(super) const SUPERUSER: &str = "argosy";
/// A second or two on a laptop; a slow disk under load takes longer.
const INITDB_WITHIN: Duration = Duration::from_secs(120);

/// Recovery after a kill replays the log since the last checkpoint.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);

/// Whether what a server said at its end is that the children of a killed one still hold the data.
pub(super) fn still_held(log_tail: &str) -> bool {
    log_tail.contains("pre-existing shared memory block") || log_tail.contains("Is another postmaster")
}

pub(super) fn data_dir(place: &Place) -> PathBuf {
    place.dir.join("data")
}

/// Access rules: on loopback, with the password.
const ACCESS: &str = "# Written by argosy at each start.\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// Makes the cluster if there is none, and sees to it that only its password opens it. The caller holds the lock of the
/// directory.
pub(super) async fn ensure(
    found: &Found,
    place: &Place,
    user: Option<RunAs>,
    fsync: bool,
) -> Result<Password, ServerError> {
    let data = data_dir(place);
    let major = found.postgres_version.major.to_string();
    match std::fs::read_to_string(data.join("PG_VERSION")) {
        Ok(version) if version.trim() == major => {
            let (password, is_new) = Password::of(place, user)?;
            // An earlier release trusted every local user.
            if is_new || !is_closed(&data)? {
                set_password(place, user, &password).await?;
                close(&data, user)?;
            }
            return Ok(password);
        }
        Ok(version) => {
            let written_by = version.trim().to_owned();
            return Err(ServerError::OtherVersion { data, written_by, found: major });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(ServerError::Files { path: data, source }),
    }
    // Beside and renamed: an initdb that was interrupted leaves no half cluster.
    let (password, _) = Password::of(place, user)?;
    let half = place.dir.join("data.new");
    if half.exists() {
        std::fs::remove_dir_all(&half).map_err(ServerError::files(&half))?;
    }
    // The C locale is everywhere and sorts alike everywhere; UTF-8 is named because C does not imply it.
    let mut spec = Spec::new("initdb", place.bin_dir.join("initdb"), place.dir.join("initdb.log"))
        .env("LC_ALL", "C")
        .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--username", SUPERUSER, "--pgdata"])
        .args([half.clone()])
        .args(["--pwfile".into(), password::file(place)]);
    if !fsync {
        spec = spec.args(["--no-sync"]);
    }
    spec.working_dir = Some(place.dir.clone());
    spec.run_as = user;
    let mut child = Supervised::spawn(spec)?;
    let status = child.wait_exit(INITDB_WITHIN).await?;
    if !status.success() {
        let (name, log, tail) = (child.name().to_owned(), child.log_path().to_owned(), child.log_tail());
        return Err(ProcessError::Ended { name, status, log, tail }.into());
    }
    close(&half, user)?;
    std::fs::rename(&half, &data).map_err(ServerError::files(&data))?;
    Ok(password)
}

fn access_file(data: &Path) -> PathBuf {
    data.join("pg_hba.conf")
}

fn is_closed(data: &Path) -> Result<bool, ServerError> {
    let path = access_file(data);
    let text = std::fs::read_to_string(&path).map_err(ServerError::files(&path))?;
    Ok(text == ACCESS)
}

/// Lets in by password alone.
fn close(data: &Path, user: Option<RunAs>) -> Result<(), ServerError> {
    let (path, half) = (access_file(data), data.join("pg_hba.conf.new"));
    let write = || {
        let mut file =
            std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        file.write_all(ACCESS.as_bytes())?;
        if let Some(user) = user {
            chown(&half, Some(user.uid), Some(user.gid))?;
        }
        std::fs::rename(&half, &path)
    };
    write().map_err(ServerError::files(&path))
}

/// Sets the superuser's password in PostgreSQL's single-user mode, which accepts no connections and asks for no password.
async fn set_password(place: &Place, user: Option<RunAs>, password: &Password) -> Result<(), ServerError> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let said = match single_user(place, user, password) {
            Ok(None) => return Ok(()),
            Ok(Some(said)) => said,
            Err(source) => return Err(ServerError::Files { path: place.bin_dir.join("postgres"), source }),
        };
        // The children of a killed server still hold the data.
        if !still_held(&said) || Instant::now() >= deadline {
            let source = std::io::Error::other(format!("its password cannot be set: {said}"));
            return Err(ServerError::Files { path: data_dir(place), source });
        }
        tokio::time::sleep(crate::process::POLL_INTERVAL).await;
    }
}

/// None when it is done; else what the server said.
fn single_user(place: &Place, user: Option<RunAs>, password: &Password) -> std::io::Result<Option<String>> {
    let mut command = Command::new(place.bin_dir.join("postgres"));
    command.args(["--single", "-c", "password_encryption=scram-sha-256", "-D"]).arg(data_dir(place));
    command.arg("postgres").env("LC_ALL", "C");
    command.current_dir(&place.dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let mut child = command.spawn()?;
    // It may have ended already; then its words say why.
    let statement = format!("ALTER ROLE {SUPERUSER} PASSWORD '{}';\n", password.expose());
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(statement.as_bytes()));
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).replace(password.expose(), "***");
    let is_done = output.status.success() && !said.contains("ERROR");
    Ok((!is_done).then_some(said))
}
