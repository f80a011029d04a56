//! Append-only JSON lines: what a provider remembers when its machine does not.
//!
//! A database was rejected: the simulators must start in milliseconds and be readable with `cat`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::Error;

/// Where a simulator keeps its state: a given directory that outlives it, or a temporary one that does not.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl StateDir {
    pub(crate) fn open(given: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = given else {
            let temporary = TempDir::with_prefix("simulator-")
                .map_err(|source| Error::State { path: std::env::temp_dir(), source })?;
            return Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        std::fs::create_dir_all(path).map_err(|source| Error::State { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), _temporary: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads all whole lines of a journal; none if there is no file. A last line torn by a kill is dropped.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::State { path: path.to_owned(), source }),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    if whole.len() < text.len() {
        // Appending after the torn half would spoil the next line as well.
        std::fs::write(path, whole).map_err(|source| Error::State { path: path.to_owned(), source })?;
    }
    whole
        .lines()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Journal { path: path.to_owned(), source })
}

/// Writes records to a journal.
#[derive(Debug)]
pub(crate) struct Journal(Mutex<File>);

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(Mutex::new(file.map_err(|source| Error::State { path: path.to_owned(), source })?)))
    }

    /// Appends one record; the operating system has it when this returns.
    pub(crate) fn append<T: Serialize>(&self, record: &T) {
        let written = serde_json::to_string(record).map_err(std::io::Error::from).and_then(|mut text| {
            text.push('\n');
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
        });
        if let Err(error) = written {
            tracing::error!(%error, "simulator: the journal cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_dropped_and_the_next_one_survives() {
        let dir = StateDir::open(None).unwrap();
        let path = dir.path().join("j.jsonl");
        std::fs::write(&path, "1\n2\n{\"half").unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), [1, 2]);
        Journal::open(&path).unwrap().append(&3);
        assert_eq!(read::<u32>(&path).unwrap(), [1, 2, 3]);
    }
}
