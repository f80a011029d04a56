//! The password of a cluster's superuser: random, made once, in a file that only its owner reads.

use super::Place;
use crate::ServerError;
use crate::process::RunAs;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

/// Random bytes of a password.
const BYTES: usize = 16;

/// A password, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(String);

impl Password {
    /// The text, only to connect.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// The cluster's password, and whether it was made just now. The file belongs to the account that the server runs
    /// under, which `initdb` reads it as.
    pub(super) fn of(place: &Place, user: Option<RunAs>) -> Result<(Self, bool), ServerError> {
        let path = file(place);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().len() == 2 * BYTES => return Ok((Self(text.trim().to_owned()), false)),
            // A write that was interrupted: it is made anew, and set anew in the cluster.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(ServerError::Files { path, source }),
        }
        let password = Self::random().map_err(ServerError::files(&path))?;
        password.write(&path, user).map_err(ServerError::files(&path))?;
        Ok((password, true))
    }

    fn random() -> std::io::Result<Self> {
        let mut bytes = [0; BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn write(&self, path: &Path, user: Option<RunAs>) -> std::io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", self.0)?;
        file.sync_all()?;
        user.map_or(Ok(()), |user| chown(path, Some(user.uid), Some(user.gid)))
    }
}

/// Where it lies: beside the data, not in them, so that a copy of the data gives nothing away.
pub(super) fn file(place: &Place) -> PathBuf {
    place.dir.join("password")
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
