//! The tables in `tests/tables`: cases under a `## title`, lines of `key rest`, `#` comments.

use serde_json::{Map, Value, json};

/// One case of a table.
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
}

/// Reads a table into its cases.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case { title: title.to_owned(), lines: Vec::new() });
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = cases.last_mut().unwrap_or_else(|| panic!("a line before the first title: {line}"));
            case.lines.push(line.to_owned());
        }
    }
    cases
}

/// The lines of a table without cases.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Applies a JSON merge patch: objects merge, null removes, all else replaces. Strings like `@chars 9`,
/// `@nodes 9`, `@labels 9`, `@inputs 9` become that much of it.
pub(crate) fn patch(target: &mut Value, change: &Value) {
    let Value::Object(changes) = change else {
        *target = grown(change);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().expect("made one above");
    for (name, value) in changes {
        if value.is_null() {
            fields.remove(name);
        } else {
            patch(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn grown(value: &Value) -> Value {
    let Some(order) = value.as_str().and_then(|text| text.strip_prefix('@')) else { return value.clone() };
    let (what, count) = order.split_once(' ').expect("@what count");
    let count: usize = count.parse().expect("a count");
    let numbered = |make: fn(usize) -> Value| (0..count).map(|at| (format!("n{at}"), make(at))).collect();
    match what {
        "chars" => Value::String("x".repeat(count)),
        "nodes" => Value::Object(numbered(|_| json!({"class_type": "SaveImage", "inputs": {}}))),
        "labels" => Value::Object(numbered(|_| json!("v"))),
        "inputs" => (0..count)
            .map(|at| {
                let artifact = json!({"bucket": "ARTIFACTS", "key": format!("in/{at}")});
                json!({"name": format!("{at}.png"), "artifact": artifact, "media_type": "image/png"})
            })
            .collect(),
        _ => panic!("@{what} is not known"),
    }
}
