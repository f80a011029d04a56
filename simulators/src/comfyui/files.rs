//! The server's three folders on disk, with ComfyUI's rules for names, numbering and escapes.

use std::path::{Component, Path, PathBuf};

use crate::Error;

/// Names of the folders, as `type` in requests.
const FOLDERS: [&str; 3] = ["output", "input", "temp"];

#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

/// Why a path is not served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    UnknownFolder,
    Escape,
}

impl Files {
    /// Opens the folders. `temp` is emptied, as at every start of the server.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let fail = |path: PathBuf| move |source| Error::State { path, source };
        let temp = root.join("temp");
        if temp.exists() {
            std::fs::remove_dir_all(&temp).map_err(fail(temp))?;
        }
        for folder in FOLDERS {
            std::fs::create_dir_all(root.join(folder)).map_err(fail(root.join(folder)))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The path of a file, if it lies inside its folder.
    pub(super) fn path(&self, folder: &str, subfolder: &str, name: &str) -> Result<PathBuf, Denied> {
        if !FOLDERS.contains(&folder) {
            return Err(Denied::UnknownFolder);
        }
        let inside = Path::new(subfolder).join(name);
        let mut depth = 0;
        for part in inside.components() {
            match part {
                Component::Normal(_) => depth += 1,
                Component::ParentDir if depth > 0 => depth -= 1,
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(Denied::Escape);
                }
            }
        }
        Ok(self.root.join(folder).join(inside))
    }

    /// Reads a file of the input folder by the name a graph uses (`sub/name.png`, maybe `name.png [input]`).
    pub(super) fn read_input(&self, name: &str) -> Option<Vec<u8>> {
        let (name, folder) = annotated(name, "input");
        std::fs::read(self.path(folder, "", name).ok()?).ok()
    }

    pub(super) fn input_exists(&self, name: &str) -> bool {
        let (name, folder) = annotated(name, "input");
        !name.is_empty() && self.path(folder, "", name).is_ok_and(|path| path.is_file())
    }

    /// Files directly in the input folder, sorted.
    pub(super) fn inputs(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.root.join("input"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Stores an upload. Without `overwrite`, other content under a taken name gets `name (1).ext` and so on.
    pub(super) fn upload(
        &self,
        (folder, subfolder, name): (&str, &str, &str),
        bytes: &[u8],
        overwrite: bool,
    ) -> std::io::Result<Result<String, Denied>> {
        let (stem, extension) =
            name.rsplit_once('.').map_or((name, String::new()), |(s, e)| (s, format!(".{e}")));
        let mut chosen = name.to_owned();
        for number in 1.. {
            let path = match self.path(folder, subfolder, &chosen) {
                Ok(path) => path,
                Err(denied) => return Ok(Err(denied)),
            };
            if !overwrite && path.exists() {
                if std::fs::read(&path)? == bytes {
                    break;
                }
                chosen = format!("{stem} ({number}){extension}");
                continue;
            }
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, bytes)?;
            break;
        }
        Ok(Ok(chosen))
    }

    /// Stores a result as `{prefix}_{counter:05}_.ext`; returns file name and subfolder. The counter goes on from
    /// what is on the disk, whatever the extension.
    pub(super) fn save(
        &self,
        folder: &str,
        prefix: &str,
        extension: &str,
        bytes: &[u8],
    ) -> std::io::Result<(String, String)> {
        let (subfolder, base) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        let directory = self
            .path(folder, subfolder, "")
            .map_err(|_| std::io::Error::other("Saving image outside the output folder is not allowed."))?;
        std::fs::create_dir_all(&directory)?;
        let taken = std::fs::read_dir(&directory)?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let rest = name.to_str()?.strip_prefix(base)?.strip_prefix('_')?;
                rest.split_once('_')?.0.parse::<u64>().ok()
            })
            .max();
        let name = format!("{base}_{:05}_.{extension}", taken.unwrap_or(0) + 1);
        std::fs::write(directory.join(&name), bytes)?;
        Ok((name, subfolder.to_owned()))
    }
}

/// Splits `name [folder]` as the server does: whatever stands before the bracket goes with it, blank or not.
pub(super) fn annotated<'a>(name: &'a str, default: &'a str) -> (&'a str, &'a str) {
    let cut = |folder: &str| {
        let rest = name.strip_suffix(&format!("[{folder}]"))?;
        Some(rest.char_indices().next_back().map_or("", |(at, _)| &rest[..at]))
    };
    FOLDERS.iter().find_map(|folder| Some((cut(folder)?, *folder))).unwrap_or((name, default))
}

/// By extension; what a browser could run is sent as plain bytes.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("gif") => "image/gif",
        Some("mp4") => "video/mp4",
        Some("webm") => "video/webm",
        Some("txt") => "text/plain",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}
