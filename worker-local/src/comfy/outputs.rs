//! Which files a finished job left. Nodes report them under keys of their own choosing (`images`,
//! `gifs`, `audio`, …), so every key of every node is searched for objects that name a file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A file at the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputFile {
    /// Its name; its ending tells what it is.
    pub filename: String,
    /// The folder below its kind's.
    pub subfolder: String,
    /// `output` or `temp`.
    pub kind: String,
}

/// The files of a finished job in a stable order: saved ones, or previews where nothing was saved.
#[must_use]
pub fn files(outputs: &BTreeMap<String, Value>) -> Vec<OutputFile> {
    let mut nodes: Vec<_> = outputs.iter().collect();
    // Node ids are numbers in strings; sub-graphs add a prefix.
    nodes.sort_by_key(|(id, _)| (id.parse::<u64>().unwrap_or(u64::MAX), id.as_str()));
    let mut seen = BTreeSet::new();
    let found: Vec<OutputFile> = nodes
        .into_iter()
        .filter_map(|(_, output)| output.as_object())
        .flat_map(|output| output.values())
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(file)
        .filter(|file| seen.insert(file.clone()))
        .collect();
    let (saved, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|file| file.kind == "output");
    if saved.is_empty() { rest.into_iter().filter(|file| file.kind == "temp").collect() } else { saved }
}

fn file(item: &Value) -> Option<OutputFile> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let filename = text("filename").filter(|name| !name.is_empty())?.to_owned();
    let subfolder = text("subfolder").unwrap_or_default().to_owned();
    Some(OutputFile { filename, subfolder, kind: text("type").unwrap_or("output").to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(outputs: Value) -> Vec<String> {
        let outputs = serde_json::from_value(outputs).expect("a map");
        files(&outputs)
            .into_iter()
            .map(|file| format!("{}:{}/{}", file.kind, file.subfolder, file.filename))
            .collect()
    }

    #[test]
    fn files_are_found_under_any_key() {
        let image = |name: &str, kind: &str| json!({"filename": name, "subfolder": "", "type": kind});
        let cases = [
            ("nothing", json!({}), vec![]),
            ("text only", json!({"2": {"text": ["hello"]}}), vec![]),
            ("null output", json!({"2": null}), vec![]),
            (
                "numeric order",
                json!({"10": {"images": [image("b", "output")]}, "9": {"images": [image("a", "output")]}}),
                vec!["output:/a", "output:/b"],
            ),
            (
                "temp beside saved",
                json!({"1": {"images": [image("t", "temp")]}, "2": {"images": [image("s", "output")]}}),
                vec!["output:/s"],
            ),
            (
                "temp alone",
                json!({"1": {"images": [image("t", "temp")], "animated": [true]}}),
                vec!["temp:/t"],
            ),
            ("inputs never", json!({"1": {"images": [image("i", "input")]}}), vec![]),
            (
                "custom video node",
                json!({"1": {"gifs": [{"filename": "v.mp4", "subfolder": "x", "type": "output", "format": "video/h264-mp4", "frame_rate": 8}]}}),
                vec!["output:x/v.mp4"],
            ),
            ("no type", json!({"1": {"result": ["mesh", {"filename": "m.glb"}]}}), vec!["output:/m.glb"]),
            (
                "named twice",
                json!({"1": {"images": [image("a", "output")], "a_images": [image("a", "output")]}}),
                vec!["output:/a"],
            ),
        ];
        for (case, outputs, expected) in cases {
            assert_eq!(names(outputs), expected, "{case}");
        }
    }
}
