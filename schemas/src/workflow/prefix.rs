//! What saved files are called: below a folder of one attempt, by the name that was asked for.

use serde_json::Value;

/// The input of a saving node that names its files.
const PREFIX_INPUT: &str = "filename_prefix";

/// The longest name that is asked for and kept, bytes: file systems take 255 with number and ending.
const ASKED_MAX_BYTES: usize = 180;

/// Puts the name of every saving node below a prefix, so that a run's files can be told from all others and a repeat of the
/// same graph is never answered from a server's cache with another job's files.
pub fn set_prefix(graph: &mut Value, prefix: &str) {
    for node in graph.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
        let inputs = node.get_mut("inputs").and_then(Value::as_object_mut);
        let Some(value) = inputs.and_then(|inputs| inputs.get_mut(PREFIX_INPUT)) else { continue };
        let below = value.as_str().map(below).unwrap_or_default();
        *value = Value::from(if below.is_empty() { prefix.to_owned() } else { format!("{prefix}/{below}") });
    }
}

/// The name that a node of a graph asks for.
#[must_use]
pub fn asked_prefix<'a>(graph: &'a Value, node: &str) -> Option<&'a str> {
    graph.get(node)?.get("inputs")?.get(PREFIX_INPUT)?.as_str()
}

/// A name that stays below the folder that it is put into.
fn below(asked: &str) -> String {
    let is_step = |part: &&str| !["", ".", ".."].contains(part) && !part.ends_with(':');
    let clean = |part: &str| part.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut parts: Vec<String> = asked.split(['/', '\\']).filter(is_step).map(clean).collect();
    // `pictures/` asks for a folder, and a name that is a number only.
    if !parts.is_empty() && asked.ends_with(['/', '\\']) {
        parts.push(String::new());
    }
    let mut name = parts.join("/");
    name.truncate(name.floor_char_boundary(ASKED_MAX_BYTES));
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_asked_for_stays_below_the_attempts_folder() {
        let cases = [
            (json!("x"), "a/1/x"),
            (json!("renders/day 2/boat"), "a/1/renders/day 2/boat"),
            (json!("renders\\boat"), "a/1/renders/boat"),
            (json!("renders/"), "a/1/renders/"),
            (json!("../../etc/boat"), "a/1/etc/boat"),
            (json!("/absolute"), "a/1/absolute"),
            (json!("C:\\boats\\one"), "a/1/boats/one"),
            (json!("%width%x%height%"), "a/1/%width%x%height%"),
            (json!("line\nbreak"), "a/1/linebreak"),
            (json!(""), "a/1"),
            (json!(".."), "a/1"),
            (json!(["4", 0]), "a/1"),
            (json!(null), "a/1"),
        ];
        for (value, expected) in cases {
            let mut graph = json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": value}}});
            assert_eq!(asked_prefix(&graph, "9"), value.as_str());
            set_prefix(&mut graph, "a/1");
            assert_eq!(graph["9"]["inputs"]["filename_prefix"], expected, "{value}");
        }
        let mut graph =
            json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "é".repeat(400)}}});
        set_prefix(&mut graph, "a/1");
        let name = graph["9"]["inputs"]["filename_prefix"].as_str().expect("text");
        assert!(name.starts_with("a/1/éé") && name.len() <= 4 + ASKED_MAX_BYTES, "{}", name.len());
    }

    #[test]
    fn what_saves_nothing_is_left_alone() {
        let mut graph = json!({"1": {"class_type": "KSampler", "inputs": {"seed": 1}}, "2": {"class_type": "x"}, "3": null});
        let before = graph.clone();
        set_prefix(&mut graph, "a");
        assert_eq!(graph, before);
        assert!(["1", "3", "4"].iter().all(|node| asked_prefix(&graph, node).is_none()));
    }
}
