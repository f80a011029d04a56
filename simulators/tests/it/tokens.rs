//! What counts in a comparison with a transcript: ids, times and texts of the machine do not.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Keys whose values differ from run to run, or are left out of the transcripts.
const IGNORED: &[&str] = &["tooltip", "traceback", "timestamp", "current_inputs", "current_outputs"];
/// Lists that Python makes from sets: in no order.
const UNORDERED: &[&str] = &["dependent_outputs", "errors", "executed", "nodes"];

/// Prompt ids by order of submission: `p0`, `p1`, …
#[derive(Default, Clone)]
pub(crate) struct Ids(pub(crate) HashMap<String, String>);

impl Ids {
    pub(crate) fn name(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// A body in comparable form.
    pub(crate) fn canonical(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().filter(|(key, _)| !IGNORED.contains(&key.as_str()));
                kept.map(|(key, value)| (self.name(key), self.field(key, value)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            Value::Array(list) => self.array(list),
            Value::Number(number) => json!(number.as_f64()),
            Value::String(text) => json!(self.text(text)),
            other => other.clone(),
        }
    }

    fn field(&self, key: &str, value: &Value) -> Value {
        match (key, self.canonical(value)) {
            ("number", Value::Number(_)) => json!("#"),
            (key, Value::Array(list)) if UNORDERED.contains(&key) => json!(sorted(list)),
            (_, value) => value,
        }
    }

    /// A queue item is `[number, id, graph, extra, outputs]`.
    fn array(&self, list: &[Value]) -> Value {
        let mut list: Vec<Value> = list.iter().map(|value| self.canonical(value)).collect();
        if let [number, Value::String(_), Value::Object(_), Value::Object(_), outputs] = &mut list[..] {
            *number = json!("#");
            *outputs = json!(sorted(outputs.as_array().cloned().unwrap_or_default()));
        }
        json!(list)
    }

    fn text(&self, text: &str) -> String {
        if let Some(rest) = text.strip_prefix("ComfyUI_temp_") {
            return format!("ComfyUI_temp_*{}", &rest[rest.find('_').unwrap_or(0)..]);
        }
        self.name(text)
    }

    /// A websocket message as one comparable line.
    pub(crate) fn message(&self, message: &Value) -> String {
        let (kind, data) = (message["type"].as_str().unwrap_or("?"), &message["data"]);
        let prompt = data["prompt_id"].as_str().map(|id| self.name(id)).unwrap_or_default();
        let rest = match kind {
            "status" => {
                let sid = if data["sid"].is_string() { " with sid" } else { "" };
                format!("{}{sid}", data["status"]["exec_info"]["queue_remaining"])
            }
            "progress_state" => {
                let nodes = data["nodes"].as_object().into_iter().flatten();
                nodes.map(|(id, node)| format!("{id}={} ", node["state"].as_str().unwrap_or("?"))).collect()
            }
            "progress" => format!("{} of {}", data["node"], data["max"]),
            _ => {
                let mut data = self.canonical(data);
                if let Some(map) = data.as_object_mut() {
                    map.remove("prompt_id");
                }
                data.to_string()
            }
        };
        format!("{prompt} {kind} {rest}").trim().to_owned()
    }
}

fn sorted(mut list: Vec<Value>) -> Vec<Value> {
    list.sort_by_key(Value::to_string);
    list
}

/// How strictly messages are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Every message, in order.
    Exact,
    /// Repeated progress counts once: how many steps fit before an interrupt is a matter of speed.
    Progress,
    /// The nodes of a job may come in another order: the server keeps output nodes in a set of random order.
    Branches,
}

/// The messages in which order matters: `status` races with other clients' jobs by nature.
pub(crate) fn sequence(messages: &[String], strictness: Strictness) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for message in messages.iter().filter(|message| !message.starts_with("status")) {
        let progress = message.contains(" progress");
        let dropped = match strictness {
            Strictness::Exact => false,
            Strictness::Progress => progress && kept.contains(message),
            Strictness::Branches => progress,
        };
        if !dropped {
            kept.push(message.clone());
        }
    }
    if strictness == Strictness::Branches {
        let of_a_node = |message: &String| message.contains("\"display_node\"");
        for run in kept.chunk_by_mut(|a, b| of_a_node(a) && of_a_node(b)) {
            run.sort();
        }
    }
    kept
}
