//! Processes of a drill that are still there: found by what only they can mention, the drill's folders.

use std::path::{Path, PathBuf};

/// Processes other than this one whose command line, environment or working folder names one of the folders.
/// Where the system has no `/proc` there is nothing to be seen.
pub(super) fn of(dirs: &[PathBuf]) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let proc = Path::new("/proc").join(pid.to_string());
            let command = std::fs::read(proc.join("cmdline")).unwrap_or_default();
            // A process that has ended and waits for its parent has neither.
            let environment = std::fs::read(proc.join("environ")).unwrap_or_default();
            let folder = std::fs::read_link(proc.join("cwd")).unwrap_or_default();
            let names = |dir: &PathBuf| {
                let needle = dir.as_os_str().as_encoded_bytes();
                let within = |text: &[u8]| text.windows(needle.len()).any(|part| part == needle);
                within(&command) || within(&environment) || folder.starts_with(dir)
            };
            let shown = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            dirs.iter().any(names).then_some((pid, shown))
        })
        .collect()
}
