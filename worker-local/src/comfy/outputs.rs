//! Which files a finished job left. Nodes report them under keys of their own choosing (`images`,
//! `gifs`, `audio`, …), so every key of every node is searched for objects that name a file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A file at the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputFile {
    /// The id of the node that left it.
    pub node: String,
    /// Its name; its ending tells what it is.
    pub filename: String,
    /// The folder below its kind's.
    pub subfolder: String,
    /// `output` or `temp`.
    pub kind: String,
}

impl OutputFile {
    /// Whether it was shown and not saved.
    #[must_use]
    pub fn is_preview(&self) -> bool {
        self.kind == "temp"
    }
}

/// How deep a node's output is searched.
const DEPTH_MAX: usize = 8;

/// What a node left under this key is text to be read.
const TEXT_KEY: &str = "text";

/// The files of a finished job in a stable order: saved ones, and behind them previews where these are to be kept or
/// nothing was saved.
#[must_use]
pub fn files(outputs: &BTreeMap<String, Value>, keep_previews: bool) -> Vec<OutputFile> {
    let mut found = Vec::new();
    for (node, output) in in_order(outputs) {
        output.as_object().into_iter().flat_map(|output| output.values()).for_each(|value| {
            search(node, value, DEPTH_MAX, &mut found);
        });
    }
    let mut seen = BTreeSet::new();
    found.retain(|file| {
        let OutputFile { node: _, filename, subfolder, kind } = file;
        seen.insert((filename.clone(), subfolder.clone(), kind.clone()))
    });
    let (mut files, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|file| file.kind == "output");
    if keep_previews || files.is_empty() {
        files.extend(rest.into_iter().filter(OutputFile::is_preview));
    }
    files
}

/// The texts of a finished job, one of each node that shows any.
#[must_use]
pub fn texts(outputs: &BTreeMap<String, Value>) -> Vec<String> {
    let text = |output: &Value| match output.get(TEXT_KEY)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => {
            let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
            Some(lines.join("\n"))
        }
        _ => None,
    };
    in_order(outputs)
        .into_iter()
        .filter_map(|(_, output)| text(output))
        .filter(|text| !text.is_empty())
        .collect()
}

/// Node ids are numbers in strings; sub-graphs add a prefix.
fn in_order(outputs: &BTreeMap<String, Value>) -> Vec<(&String, &Value)> {
    let mut nodes: Vec<_> = outputs.iter().collect();
    nodes.sort_by_key(|(id, _)| (id.parse::<u64>().unwrap_or(u64::MAX), id.as_str()));
    nodes
}

/// Finds the objects that name a file, however deep a node's own objects hold them.
fn search(node: &str, value: &Value, depth: usize, found: &mut Vec<OutputFile>) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| search(node, item, depth - 1, found)),
        Value::Object(fields) => match file(node, value) {
            Some(file) => found.push(file),
            None => fields.values().for_each(|field| search(node, field, depth - 1, found)),
        },
        _ => {}
    }
}

fn file(node: &str, item: &Value) -> Option<OutputFile> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let filename = text("filename").filter(|name| !name.is_empty())?.to_owned();
    let subfolder = text("subfolder").unwrap_or_default().to_owned();
    let kind = text("type").unwrap_or("output").to_owned();
    Some(OutputFile { node: node.to_owned(), filename, subfolder, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(outputs: &Value, keep_previews: bool) -> Vec<String> {
        let outputs = serde_json::from_value(outputs.clone()).expect("a map");
        files(&outputs, keep_previews)
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
            (
                "nested in objects of a node",
                json!({"2": {"result": {"meshes": [{"parts": {"a": image("m.glb", "output")}}]}, "ui": {"images": [image("i", "output")]}}}),
                vec!["output:/m.glb", "output:/i"],
            ),
            ("too deep to be meant", json!({"2": {"a": [[[[[[[[image("x", "output")]]]]]]]]}}), vec![]),
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
            assert_eq!(names(&outputs, false), expected, "{case}");
        }
    }

    #[test]
    fn previews_are_kept_behind_what_is_saved_when_asked_for() {
        let image = |name: &str, kind: &str| json!({"filename": name, "subfolder": "", "type": kind});
        let outputs = json!({
            "1": {"images": [image("t", "temp")]}, "2": {"images": [image("s", "output"), image("i", "input")]},
            "3": {"a_images": [image("before", "temp")], "b_images": [image("after", "temp"), image("t", "temp")]},
        });
        assert_eq!(names(&outputs, true), ["output:/s", "temp:/t", "temp:/before", "temp:/after"]);
        assert_eq!(names(&outputs, false), ["output:/s"]);
    }

    #[test]
    fn texts_are_those_under_their_key() {
        let outputs = json!({
            "10": {"text": ["b", "c"]}, "9": {"text": "a"}, "3": {"text": [""]}, "4": {"text": [1, null]}, "5": null,
            "6": {"images": [], "prompt": ["not shown"]}, "7": {"text": {"filename": "t.txt"}},
        });
        let outputs = serde_json::from_value(outputs).expect("a map");
        assert_eq!(texts(&outputs), ["a", "b\nc"]);
        assert_eq!(files(&outputs, false).len(), 1);
    }
}
