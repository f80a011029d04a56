//! Where inputs start: golden files, recordings of a real server, inputs that once failed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fleet::root;

/// The golden bytes of a wire message, MessagePack and JSON.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn golden(name: &str) -> [Vec<u8>; 2] {
    let folder = root().join("schemas/golden/v1");
    let read = |ending: &str| {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let digits: Vec<u8> = read("msgpack.hex").into_iter().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hex digits");
    [digits.chunks(2).map(byte).collect(), read("json")]
}

/// Answers of a recorded ComfyUI to requests whose path begins so, or (path `ws`) its websocket messages.
/// Long answers are left out: what is changed at random should be read often.
///
/// # Panics
/// When there is no recording of such.
#[must_use]
pub fn recorded(path: &str) -> Vec<Vec<u8>> {
    const LONGEST_BYTES: usize = 16 * 1024;
    let mut found = Vec::new();
    for file in files(&root().join("tests/fixtures/comfyui")) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let body = if path == "ws" {
                line.get("json").filter(|_| line["kind"] == "ws" && line["dir"] == "recv")
            } else {
                let asked = line["path"].as_str().is_some_and(|asked| asked.starts_with(path));
                line.pointer("/response_body/json").filter(|_| asked)
            };
            found.extend(body.map(|body| body.to_string().into_bytes()));
        }
    }
    found.retain(|body| body.len() <= LONGEST_BYTES);
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "nothing recorded of {path}");
    found
}

/// Inputs that once failed a target.
#[must_use]
pub fn regressions(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("tests/fixtures/fuzz").join(target.replace(' ', "_"));
    files(&folder).iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// The files of a folder by name; none when there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}
