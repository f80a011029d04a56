//! Claims that the broker does not take, on this machine's disk beside the spooled results.
//!
//! A provider's id that is not in the claim would be lost with the process, and the work with it. One file per attempt,
//! synced before the work goes on. The process that works on an attempt holds the file's lock, as in [`crate::spool`].

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::{AttemptId, AttemptRecord, codec};

/// The end of a complete file's name.
const ENDING: &str = "claim";
/// The same while it is being written.
const WRITING: &str = "claim-writing";

/// The claims on the disk of one process.
pub(crate) struct KeptClaims {
    dir: PathBuf,
    /// What this process works on, with its lock.
    held: Mutex<HashMap<AttemptId, File>>,
}

impl KeptClaims {
    /// The claims in a folder, which is there when the first is written.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AttemptId, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, attempt: AttemptId, ending: &str) -> PathBuf {
        self.dir.join(format!("{attempt}.{ending}"))
    }

    /// Writes a claim durably; this process works on it until it is released or removed.
    pub(crate) fn write(&self, record: &AttemptRecord) -> io::Result<()> {
        let attempt = record.id();
        let (writing, path) = (self.path(attempt, WRITING), self.path(attempt, ENDING));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&writing)?;
        file.try_lock()?;
        file.write_all(&codec::encode(record))?;
        file.sync_all()?;
        fs::rename(&writing, &path)?;
        // The name is durable with its folder.
        File::open(&self.dir)?.sync_all()?;
        self.held().insert(attempt, file);
        Ok(())
    }

    /// The claims that no process works on. One that cannot be read is left out.
    pub(crate) fn all(&self) -> Vec<AttemptRecord> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut records = Vec::new();
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let attempt = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let Some(attempt) = attempt.filter(|_| path.extension().is_some_and(|found| found == ENDING))
            else {
                continue;
            };
            let is_free = !self.held().contains_key(&attempt)
                && File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            let read = fs::read(&path).ok().filter(|_| is_free);
            records.extend(read.and_then(|bytes| codec::decode::<AttemptRecord>(None, &bytes).ok()));
        }
        records.sort_unstable_by_key(AttemptRecord::id);
        records
    }

    /// The broker has it.
    pub(crate) fn remove(&self, attempt: AttemptId) {
        self.held().remove(&attempt);
        match fs::remove_file(self.path(attempt, ENDING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "a claim stays on disk");
            }
            _ => {}
        }
    }

    /// Leaves it to the next process.
    pub(crate) fn release(&self, attempt: AttemptId) {
        self.held().remove(&attempt);
    }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn a_kept_claim_is_found_by_the_next_process_and_not_while_its_work_runs() {
        let dir = tempfile::tempdir().expect("a folder");
        let record = samples::attempt_record();
        let first = KeptClaims::new(dir.path().to_owned());
        first.write(&record).expect("written");
        let second = KeptClaims::new(dir.path().to_owned());
        assert!(first.all().is_empty() && second.all().is_empty(), "its work runs");
        // It dies: the system lets its locks go.
        drop(first);
        assert_eq!(second.all(), std::slice::from_ref(&record));
        let newer = AttemptRecord { provider_id: Some("another".to_owned()), ..record.clone() };
        second.write(&newer).expect("written over");
        second.release(record.id());
        assert_eq!(second.all(), [newer]);
        second.remove(record.id());
        second.remove(record.id());
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_is_no_claim_is_left_out_and_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let kept = KeptClaims::new(dir.path().to_owned());
        let attempt = samples::attempt_record().id();
        for (name, bytes) in [
            (format!("{attempt}.claim"), &b"half of"[..]),
            (format!("{attempt}.spool"), b"a result"),
            ("notes.claim".to_owned(), b"{}"),
            (format!("{attempt}.claim-writing"), b"{"),
        ] {
            fs::write(dir.path().join(name), bytes).expect("written");
        }
        assert!(kept.all().is_empty());
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 4);
    }
}
