//! The data directory: made by `initdb` when there is none, checked for its version when there is.

use super::Place;
use crate::process::{ProcessError, RunAs, Spec, Supervised};
use crate::{Found, ServerError};
use std::path::PathBuf;
use std::time::Duration;

/// The superuser of our clusters. Whoever reaches the loopback port is trusted to be it.
pub(super) const SUPERUSER: &str = "argosy";
/// A second or two on a laptop; a slow disk under load takes longer.
const INITDB_WITHIN: Duration = Duration::from_secs(120);

pub(super) fn data_dir(place: &Place) -> PathBuf {
    place.dir.join("data")
}

/// Makes the cluster if there is none. The caller holds the lock of the directory.
pub(super) async fn ensure(
    found: &Found,
    place: &Place,
    user: Option<RunAs>,
    fsync: bool,
) -> Result<(), ServerError> {
    let data = data_dir(place);
    let major = found.postgres_version.major.to_string();
    match std::fs::read_to_string(data.join("PG_VERSION")) {
        Ok(version) if version.trim() == major => return Ok(()),
        Ok(version) => {
            let written_by = version.trim().to_owned();
            return Err(ServerError::OtherVersion { data, written_by, found: major });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(ServerError::Files { path: data, source }),
    }
    // Beside and renamed: an initdb that was interrupted leaves no half cluster.
    let half = place.dir.join("data.new");
    if half.exists() {
        std::fs::remove_dir_all(&half).map_err(ServerError::files(&half))?;
    }
    // The C locale is everywhere and sorts alike everywhere; UTF-8 is named because C does not imply it.
    let mut spec = Spec::new("initdb", place.bin_dir.join("initdb"), place.dir.join("initdb.log"))
        .env("LC_ALL", "C")
        .args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--username", SUPERUSER, "--pgdata"])
        .args([half.clone()]);
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
    std::fs::rename(&half, &data).map_err(ServerError::files(&data))
}
