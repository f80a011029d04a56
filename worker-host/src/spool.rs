//! Results that came in a provider's answer, on this machine's disk until they are in the artifact store.
//!
//! One file per attempt, named by it: a header that says what was delivered, then the bytes. It is complete and
//! synced before the claim speaks of it, and outlives the process. Whoever works on a file holds its lock, which
//! the system lets go of when the process dies; so workers may share a folder, and a worker that starts takes up
//! what one before it left.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use schemas::{AttemptId, DeliveredResult, Tenant};
use serde::{Deserialize, Serialize};

use crate::attempt::Made;
use runtime::artifacts::sha256_hex;

/// How much a spool holds by default, bytes.
pub(crate) const DEFAULT_BYTES: u64 = 1024 * 1024 * 1024;

/// The end of a complete file's name.
const ENDING: &str = "spool";
/// The same while it is being written.
const WRITING: &str = "writing";
/// The longest header that is believed, bytes.
const HEADER_MAX_BYTES: usize = 1024 * 1024;

/// The spool of one process.
pub(crate) struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    /// What this process works on, with its lock.
    held: Mutex<HashMap<AttemptId, File>>,
}

/// What one file holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spooled {
    /// Whose it is; none in a file that release 0.1.0 wrote.
    pub(crate) tenant: Option<Tenant>,
    pub(crate) delivered: DeliveredResult,
    pub(crate) files: Vec<Made>,
}

impl AsRef<DeliveredResult> for Spooled {
    fn as_ref(&self) -> &DeliveredResult {
        &self.delivered
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Tenant>,
    delivered: DeliveredResult,
    files: Vec<FileHeader>,
}

#[derive(Serialize, Deserialize)]
struct FileHeader {
    media_type: String,
    bytes: usize,
    sha256: String,
}

impl Spool {
    /// The spool in a folder, which is made when it is first used.
    pub(crate) fn new(dir: PathBuf, max_bytes: u64) -> Self {
        Self { dir, max_bytes, held: Mutex::default() }
    }

    /// Where it is when the configuration does not say.
    pub(crate) fn default_dir() -> PathBuf {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = var("STATE_DIRECTORY")
            .or_else(|| var("XDG_STATE_HOME").map(|dir| dir.join("argosy")))
            .or_else(|| var("HOME").map(|dir| dir.join(".local/state/argosy")));
        state.unwrap_or_else(|| std::env::temp_dir().join("argosy")).join("spool")
    }

    /// Makes the folder, for nobody but us.
    pub(crate) fn make_dir(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let metadata = fs::metadata(&self.dir)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AttemptId, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, attempt: AttemptId, ending: &str) -> PathBuf {
        self.dir.join(format!("{attempt}.{ending}"))
    }

    /// Bytes that lie in it.
    fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&self.dir)? {
            bytes = bytes.saturating_add(entry?.metadata().map_or(0, |metadata| metadata.len()));
        }
        Ok(bytes)
    }

    /// Writes what was delivered, durably; we hold it until it is removed or released.
    ///
    /// # Errors
    /// The spool's bound or the disk does not allow it: nothing is there then.
    pub(crate) fn write(&self, attempt: AttemptId, spooled: &Spooled) -> io::Result<()> {
        self.make_dir()?;
        let length: u64 = spooled.files.iter().map(|file| file.bytes.len() as u64).sum();
        let there = self.bytes()?;
        if there.saturating_add(length) > self.max_bytes {
            let bound = self.max_bytes;
            let words = format!(
                "the spool has {there} bytes and may have {bound}; {length} more do not fit: raise worker.spool_bytes"
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, words));
        }
        let writing = self.path(attempt, WRITING);
        let written = self.write_to(&writing, attempt, spooled);
        if written.is_err() {
            let _ = fs::remove_file(&writing);
        }
        let file = written?;
        self.held().insert(attempt, file);
        Ok(())
    }

    fn write_to(&self, writing: &Path, attempt: AttemptId, spooled: &Spooled) -> io::Result<File> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(writing)?;
        file.try_lock()?;
        let header = Header {
            tenant: spooled.tenant.clone(),
            delivered: spooled.delivered.clone(),
            files: spooled.files.iter().map(FileHeader::of).collect(),
        };
        let header = serde_json::to_vec(&header)?;
        let length = u32::try_from(header.len()).map_err(io::Error::other)?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&header)?;
        for made in &spooled.files {
            file.write_all(&made.bytes)?;
        }
        file.sync_all()?;
        fs::rename(writing, self.path(attempt, ENDING))?;
        // The name is durable with its folder.
        File::open(&self.dir)?.sync_all()?;
        Ok(file)
    }

    /// What lies in it, and what was not finished is taken away.
    pub(crate) fn attempts(&self) -> Vec<AttemptId> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut attempts = Vec::new();
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let ending = path.extension().and_then(|ending| ending.to_str());
            let attempt = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            match (ending, attempt) {
                (Some(ENDING), Some(attempt)) => attempts.push(attempt),
                (Some(WRITING), Some(_)) => {
                    // Nobody writes it any more, and no claim speaks of it.
                    let abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
                    if abandoned {
                        let _ = fs::remove_file(&path);
                    }
                }
                _ => {}
            }
        }
        attempts.sort_unstable();
        attempts
    }

    /// Takes one up that nobody works on, in this process or another. None where somebody does or it is gone.
    ///
    /// # Errors
    /// It cannot be read: it is released again.
    pub(crate) fn take(&self, attempt: AttemptId) -> io::Result<Option<Spooled>> {
        if self.held().contains_key(&attempt) {
            return Ok(None);
        }
        let path = self.path(attempt, ENDING);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Removed between opening and locking.
        if !path.exists() {
            return Ok(None);
        }
        let spooled = read(&mut file)?;
        self.held().insert(attempt, file);
        Ok(Some(spooled))
    }

    /// It is done with: stored, or given up.
    pub(crate) fn remove(&self, attempt: AttemptId) {
        let held = self.held().remove(&attempt);
        if held.is_some()
            && let Err(error) = fs::remove_file(self.path(attempt, ENDING))
        {
            tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "a file stays in the spool");
        }
    }

    /// A file that cannot be read is of no use to anybody.
    pub(crate) fn discard(&self, attempt: AttemptId) {
        let _ = fs::remove_file(self.path(attempt, ENDING));
    }

    /// Leaves it to whoever comes next.
    pub(crate) fn release(&self, attempt: AttemptId) {
        self.held().remove(&attempt);
    }
}

impl FileHeader {
    fn of(made: &Made) -> Self {
        Self { media_type: made.media_type.clone(), bytes: made.bytes.len(), sha256: sha256_hex(&made.bytes) }
    }
}

fn read(file: &mut File) -> io::Result<Spooled> {
    let torn = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a spooled result: {what}"));
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > HEADER_MAX_BYTES {
        return Err(torn("its header is too long"));
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header)?;
    let header: Header = serde_json::from_slice(&header)?;
    let mut body = Vec::new();
    file.read_to_end(&mut body)?;
    let mut body = Bytes::from(body);
    let mut files = Vec::with_capacity(header.files.len());
    for FileHeader { media_type, bytes, sha256 } in header.files {
        if body.len() < bytes {
            return Err(torn("bytes are missing"));
        }
        let bytes = body.split_to(bytes);
        if sha256_hex(&bytes) != sha256 {
            return Err(torn("bytes differ from their hash"));
        }
        files.push(Made { media_type, bytes });
    }
    Ok(Spooled { tenant: header.tenant, delivered: header.delivered, files })
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    fn spooled() -> Spooled {
        let made = |media_type: &str, bytes: &'static [u8]| Made {
            media_type: media_type.to_owned(),
            bytes: Bytes::from_static(bytes),
        };
        Spooled {
            tenant: Some(samples::job().tenant),
            delivered: DeliveredResult {
                at_ms: 1,
                kept_until_ms: 2,
                spooled_by: Some(samples::offer().worker),
                usage: Vec::new(),
                provider_id: Some("r".to_owned()),
            },
            files: vec![made("image/png", b"one"), made("image/webp", b""), made("image/jpeg", b"three")],
        }
    }

    #[test]
    fn what_is_spooled_is_found_by_the_next_process_and_not_by_two_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let attempt = samples::attempt_record().id();
        let path = dir.path().join("a/b");
        let first = Spool::new(path.clone(), 1_000);
        first.write(attempt, &spooled()).expect("it fits");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&first.path(attempt, ENDING))), (0o700, 0o600));
        let second = Spool::new(path.clone(), 1_000);
        assert_eq!(second.attempts(), [attempt]);
        assert_eq!(second.take(attempt).expect("readable"), None, "the first process works on it");
        assert_eq!(first.take(attempt).expect("readable"), None, "and it knows");
        // It dies: the system lets its locks go.
        drop(first);
        assert_eq!(second.take(attempt).expect("readable"), Some(spooled()));
        second.release(attempt);
        assert_eq!(second.take(attempt).expect("readable"), Some(spooled()));
        second.remove(attempt);
        assert!(second.attempts().is_empty() && second.take(attempt).expect("gone").is_none());
    }

    #[test]
    fn a_spool_is_bounded_and_leaves_nothing_half_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let attempt = samples::attempt_record().id();
        let small = Spool::new(dir.path().to_owned(), 7);
        let error = small.write(attempt, &spooled()).expect_err("eight bytes do not fit");
        assert!(error.to_string().contains("worker.spool_bytes"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
        // A process died while it wrote.
        fs::write(small.path(attempt, WRITING), b"half").expect("written");
        assert!(small.attempts().is_empty());
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0, "taken away");
    }

    #[test]
    fn bytes_that_are_not_what_was_delivered_are_not_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        let attempt = samples::attempt_record().id();
        let spool = Spool::new(dir.path().to_owned(), 1_000);
        spool.write(attempt, &spooled()).expect("it fits");
        spool.release(attempt);
        let path = spool.path(attempt, ENDING);
        let whole = fs::read(&path).expect("readable");
        let mut other = whole.clone();
        other.pop();
        for bytes in [&whole[..whole.len() - 1], &whole[..3], &[&other[..], b"E"].concat()] {
            fs::write(&path, bytes).expect("written");
            assert!(spool.take(attempt).is_err(), "{} bytes", bytes.len());
        }
    }
}
