//! What downloaded files are called, by a pattern; nothing is written over another file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use runtime::escape::is_steering;

/// The longest name without its ending, bytes.
const NAME_MAX_BYTES: usize = 200;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Job,
    N,
    File,
    Count,
    Tenant,
    Label(String),
}

/// What files are called, for example `{label.project}-{n}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern(Vec<Part>);

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name.split_once('.') {
                Some(("label", key)) if !key.is_empty() => Part::Label(key.to_owned()),
                _ => match name {
                    "job" => Part::Job,
                    "n" => Part::N,
                    "file" => Part::File,
                    "count" => Part::Count,
                    "tenant" => Part::Tenant,
                    _ => return Err(format!("{{{name}}} is not known: use {{job}}, {{n}}, {{file}}, {{count}}, {{tenant}} or {{label.KEY}}")),
                },
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.is_empty() {
            return Err("a name has at least one character".to_owned());
        }
        if parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains(['/', '\\']))) {
            return Err("a name has no folders: --out says where files go".to_owned());
        }
        Ok(Self(parts))
    }
}

/// What a file can be called by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileOf<'a> {
    pub(crate) job: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// Of the job's files, from 0.
    pub(crate) n: usize,
    /// Of all files, from 1.
    pub(crate) count: usize,
    /// What its workflow called it, where that is known.
    pub(crate) saved: Option<&'a str>,
}

impl NamePattern {
    /// The name of a file without its ending.
    ///
    /// # Errors
    /// The job lacks a label that the pattern names.
    pub(crate) fn stem(&self, file: FileOf<'_>) -> anyhow::Result<String> {
        let FileOf { job, tenant, labels, n, count, saved } = file;
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Job => name.push_str(job),
                Part::N => name.push_str(&n.to_string()),
                Part::File => match saved {
                    Some(saved) => name.push_str(saved.rsplit_once('.').map_or(saved, |(stem, _)| stem)),
                    None => name.push_str(&n.to_string()),
                },
                Part::Count => name.push_str(&count.to_string()),
                Part::Tenant => name.push_str(tenant),
                Part::Label(key) => match labels.get(key) {
                    Some(value) => name.push_str(value),
                    None => bail!("the job has no label `{key}`, which --name asks for"),
                },
            }
        }
        Ok(safe(&name))
    }
}

/// A name that leads to no other folder and that every system takes.
fn safe(name: &str) -> String {
    let is_odd = |c: char| is_steering(c) || "/\\:*?\"<>|".contains(c);
    let name: String = name.chars().map(|c| if is_odd(c) { '_' } else { c }).collect();
    let name = schemas::text::cut(name.trim_matches(['.', ' ']), NAME_MAX_BYTES);
    if name.is_empty() { "_".to_owned() } else { name.into_owned() }
}

/// Writes files into a folder.
#[derive(Debug)]
pub(crate) struct Naming {
    folder: PathBuf,
    written: usize,
}

impl Naming {
    /// Into this folder, which need not exist.
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder, written: 0 }
    }

    /// The number of the next file, from 1.
    pub(crate) const fn count(&self) -> usize {
        self.written + 1
    }

    /// Writes a file under a name, or under the next free one: `name-2`, `name-3`. A file that is there with the same content
    /// stays as it is.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn write(&mut self, stem: &str, ending: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        self.written += 1;
        let mut path = self.folder.join(format!("{stem}.{ending}"));
        let mut nth = 2;
        loop {
            if is_same(&path, bytes)? {
                return Ok(path);
            }
            match std::fs::File::create_new(&path) {
                Ok(mut file) => {
                    std::io::Write::write_all(&mut file, bytes)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                    return Ok(path);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    path = self.folder.join(format!("{stem}-{nth}.{ending}"));
                    nth += 1;
                }
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
        }
    }
}

/// Whether a file is there with this content.
fn is_same(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() == bytes.len() as u64 => {
            Ok(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))? == bytes)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_files_and_leads_nowhere_else() {
        let labels: BTreeMap<String, String> =
            [("scene".to_owned(), "../../etc/pass wd".to_owned()), ("take".to_owned(), "..".to_owned())]
                .into();
        let stem = |pattern: &str| {
            let pattern: NamePattern = pattern.parse().expect("a pattern");
            let saved = Some("boat_00001_.png");
            pattern.stem(FileOf { job: "j1", n: 3, count: 12, tenant: "acme", labels: &labels, saved })
        };
        let named = |pattern: &str| stem(pattern).expect("a name");
        assert_eq!(named("{job}-{n}"), "j1-3");
        assert_eq!(named("{tenant} {count}"), "acme 12");
        assert_eq!(named("{file}"), "boat_00001_");
        let unknown = FileOf { job: "j1", n: 3, count: 12, tenant: "acme", labels: &labels, saved: None };
        let by_number: NamePattern = "f{file}".parse().expect("a pattern");
        assert_eq!(by_number.stem(unknown).expect("a name"), "f3");
        assert_eq!(named("{label.scene}"), "_.._etc_pass wd");
        assert_eq!(named("{label.take}"), "_");
        assert_eq!(named("a\u{202e}gnp.exe\u{1b}[2J"), "a_gnp.exe_[2J");
        assert!(named(&"é".repeat(300)).len() <= NAME_MAX_BYTES);
        let missing = stem("{label.shot}").expect_err("no such label").to_string();
        assert!(missing.contains("`shot`"), "{missing}");
        for wrong in ["", "{", "{x}", "{label.}", "a/b", "a\\b"] {
            assert!(wrong.parse::<NamePattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_written_over_another_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut naming = Naming::new(folder.path().join("new"));
        let mut write = |bytes: &[u8]| {
            let path = naming.write("fox", "png", bytes).expect("written");
            path.file_name().expect("a name").to_string_lossy().into_owned()
        };
        assert_eq!(
            [write(b"one"), write(b"two"), write(b"one"), write(b"two")],
            ["fox.png", "fox-2.png", "fox.png", "fox-2.png"]
        );
        assert_eq!(naming.count(), 5);
        let kept = std::fs::read(folder.path().join("new/fox.png")).expect("a file");
        assert_eq!(kept, b"one");
    }
}
