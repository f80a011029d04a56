//! A child's log file: appended to by the child, read by us for its end and for lines we wait for.

use super::ProcessError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of a log an error shows.
const TAIL_LINES: usize = 15;
/// Enough bytes for that many long lines.
const TAIL_BYTES: u64 = 8 * 1024;
/// How much of this start's output a search for a line reads: readiness comes early.
const SEARCH_BYTES: u64 = 1024 * 1024;

/// The log of one start of a child: output before `from_byte` belongs to earlier starts.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    from_byte: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> Result<Self, ProcessError> {
        let open = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            OpenOptions::new().create(true).append(true).open(path)?.metadata()
        };
        let metadata = open().map_err(|source| ProcessError::log(path, source))?;
        Ok(Self { path: path.to_owned(), from_byte: metadata.len() })
    }

    /// A handle for the child. Appending keeps standard output and error in order.
    pub(super) fn writer(&self) -> Result<File, ProcessError> {
        let open = OpenOptions::new().append(true).open(&self.path);
        open.map_err(|source| ProcessError::log(&self.path, source))
    }

    /// The first line of this start that contains `needle`.
    pub(super) fn line_with(&self, needle: &str) -> Result<Option<String>, ProcessError> {
        let text = self.read(self.from_byte, SEARCH_BYTES).map_err(|e| ProcessError::log(&self.path, e))?;
        // A line still being written has no end yet: the next look sees it whole.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(complete.lines().find(|line| line.contains(needle)).map(str::to_owned))
    }

    /// The last lines of this start; a note instead when there are none.
    pub(super) fn tail(&self) -> String {
        let length = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let from = self.from_byte.max(length.saturating_sub(TAIL_BYTES));
        let text = self.read(from, TAIL_BYTES).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return "  (nothing was logged)".to_owned();
        }
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines[first..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    fn read(&self, from: u64, limit: u64) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_start_sees_its_own_lines_and_only_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs").join("x.log");
        let first = LogFile::open(&path).unwrap();
        first.writer().unwrap().write_all(b"old ready\n").unwrap();
        let second = LogFile::open(&path).unwrap();
        assert_eq!(second.line_with("ready").unwrap(), None);
        assert!(second.tail().contains("nothing was logged"));
        second.writer().unwrap().write_all(b"starting\nnew rea").unwrap();
        assert_eq!(second.line_with("new rea").unwrap(), None);
        second.writer().unwrap().write_all(b"dy\n").unwrap();
        assert_eq!(second.line_with("ready").unwrap().as_deref(), Some("new ready"));
        assert_eq!(first.line_with("ready").unwrap().as_deref(), Some("old ready"));
        assert_eq!(second.tail(), "  starting\n  new ready");
    }
}
