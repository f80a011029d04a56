//! What a workflow asks of a server: node classes and model files.
//!
//! A model file is what a *choice of files* says, never a text that looks like one. Which inputs are such
//! choices is known for common nodes ([`nodes::model_inputs`]); for all others each worker's offer tells it
//! from its server's `object_info`, so such a value is a candidate until it meets an offer. Embeddings and
//! LoRAs inside a text (`embedding:name`, `<lora:name:1>`) are never required: ComfyUI runs without them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{DEPTH_MAX, Met, WorkflowError, nodes};
use crate::Offer;

/// A longer text, one of several lines, or a placeholder of a template is the name of no file.
const FILE_NAME_MAX_BYTES: usize = 1_024;

/// What a choice of files says where no file is meant.
const NO_FILE: [&str; 4] = ["", "None", "none", "[None]"];

/// Choices of `VAELoader` that are part of ComfyUI, or made of several files.
const BUILT_IN_VAES: [&str; 5] = ["taesd", "taesdxl", "taesd3", "taef1", "pixel_space"];

/// What a workflow asks of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Node classes.
    pub nodes: BTreeSet<String>,
    /// Model files, with `/` between folder and name.
    pub models: BTreeSet<String>,
    /// Values of other nodes, which are model files where a worker says so.
    pub candidates: BTreeSet<Candidate>,
    /// Who was found to have all of these.
    pub met: Met,
}

/// A value of an input that may be a choice of files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The node's class.
    pub class: String,
    /// The input's name.
    pub input: String,
    /// What it says, with `/` between folder and name.
    pub value: String,
}

impl Requirements {
    /// Candidates that are model files at a worker, and that it does not have. A worker that does not tell its
    /// choices of files lacks none.
    pub fn absent_candidates<'a>(&'a self, offer: &'a Offer) -> impl Iterator<Item = &'a Candidate> {
        let tables = offer.file_choices.as_ref().zip(offer.models.as_ref());
        self.candidates.iter().filter(move |candidate| {
            tables.is_some_and(|(choices, models)| {
                choices.get(&candidate.class).is_some_and(|inputs| inputs.contains(&candidate.input))
                    && !models.contains(&candidate.value)
            })
        })
    }

    /// The workflow uses this file, by its exact name.
    #[must_use]
    pub fn uses(&self, file: &str) -> bool {
        self.models.contains(file) || self.candidates.iter().any(|candidate| candidate.value == file)
    }
}

/// A file's name with `/` between folder and name, as every server but one on Windows spells it.
#[must_use]
pub fn file_name(text: &str) -> String {
    text.replace('\\', "/")
}

/// Checks the form of a workflow and reads what it needs.
///
/// # Errors
/// [`WorkflowError`] with the cure.
pub fn requirements(workflow: &Value) -> Result<Requirements, WorkflowError> {
    let graph = workflow.as_object().ok_or(WorkflowError::NotAGraph)?;
    if graph.get("nodes").is_some_and(Value::is_array) || graph.get("links").is_some_and(Value::is_array) {
        return Err(WorkflowError::UiFormat);
    }
    if graph.is_empty() {
        return Err(WorkflowError::Empty);
    }
    if !is_within(workflow, DEPTH_MAX) {
        return Err(WorkflowError::TooDeep);
    }
    let mut needs = Requirements::default();
    for (id, node) in graph {
        let node = node.as_object().ok_or(WorkflowError::NotAGraph)?;
        let class = node.get("class_type").and_then(Value::as_str);
        let class = class.ok_or_else(|| WorkflowError::NoClassType(id.clone()))?;
        if let Some(inputs) = node.get("inputs").and_then(Value::as_object) {
            files_of_node(class, inputs, &mut needs);
        }
        needs.nodes.insert(class.to_owned());
    }
    Ok(needs)
}

fn files_of_node(class: &str, inputs: &Map<String, Value>, needs: &mut Requirements) {
    let known = nodes::model_inputs(class);
    for (input, value) in inputs {
        match known {
            Some(models) if models.contains(&input.as_str()) => {
                each_text(value, &mut |text| {
                    if !is_no_file(class, text) {
                        needs.models.insert(file_name(text));
                    }
                });
            }
            Some(_) => {}
            None => each_text(value, &mut |text| {
                let is_placeholder = text.starts_with("{{") && text.ends_with("}}");
                let may_be_file =
                    text.len() <= FILE_NAME_MAX_BYTES && !text.contains('\n') && !is_placeholder;
                if may_be_file && !is_no_file(class, text) {
                    let value = file_name(text);
                    needs.candidates.insert(Candidate {
                        class: class.to_owned(),
                        input: input.clone(),
                        value,
                    });
                }
            }),
        }
        if !nodes::takes_words(class) {
            loras_in_objects(value, &mut needs.models);
        }
    }
}

fn is_no_file(class: &str, text: &str) -> bool {
    NO_FILE.contains(&text) || (class == "VAELoader" && BUILT_IN_VAES.contains(&text))
}

/// LoRAs of nodes that take an object for each: `{"on": true, "lora": "x.safetensors", "strength": 1}`. No
/// `object_info` names these inputs; the object's own key does. Such nodes also find a file by a part of its name,
/// so only a whole name, with its ending, is required.
fn loras_in_objects(value: &Value, models: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| loras_in_objects(item, models)),
        Value::Object(map) => {
            let is_off =
                ["on", "enabled", "active"].iter().any(|key| map.get(*key) == Some(&Value::Bool(false)));
            if is_off {
                return;
            }
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "lora" || key == "lora_name" => {
                        if has_model_ending(text) {
                            models.insert(file_name(text));
                        }
                    }
                    other => loras_in_objects(other, models),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn has_model_ending(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| {
        matches!(ending.as_str(), "safetensors" | "sft" | "ckpt" | "pt" | "pth" | "bin" | "gguf")
    })
}

/// Every text in a value, however deep, that is no link to another node.
pub(super) fn each_text<'a>(value: &'a Value, take: &mut impl FnMut(&'a str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(items) if !is_link(items) => items.iter().for_each(|item| each_text(item, take)),
        Value::Object(map) => map.values().for_each(|item| each_text(item, take)),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `[node id, output]`.
pub(super) fn is_link(items: &[Value]) -> bool {
    matches!(items, [Value::String(_), Value::Number(_)])
}

/// Whether a value nests at most so deep.
fn is_within(value: &Value, depth: usize) -> bool {
    let inner = |value| depth > 0 && is_within(value, depth - 1);
    match value {
        Value::Array(items) => items.iter().all(inner),
        Value::Object(map) => map.values().all(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}
