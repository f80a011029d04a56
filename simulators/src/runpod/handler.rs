//! What worker-comfyui does with a job's input: check it, run the workflow, collect files or an error text.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::comfyui::{Accepted, Catalog, Context, Refused, render, validate};

const LABEL: &str = "SIMULATED RUNPOD";

/// Files that a job made: name and content.
pub(super) type Files = Vec<(String, Vec<u8>)>;

/// What the handler concluded before the expensive part.
pub(super) enum Checked {
    Runs {
        accepted: Box<Accepted>,
        uploads: BTreeMap<String, Vec<u8>>,
        video: bool,
    },
    /// The handler returned `{"error": ...}`.
    Refused(String),
    /// The worker refuses an empty input before the handler sees it.
    NoInput,
}

pub(super) fn check(input: &Value, catalog: &Catalog) -> Checked {
    let Some(input) = input.as_object().filter(|input| !input.is_empty()) else { return Checked::NoInput };
    let Some(workflow) = input.get("workflow").and_then(Value::as_object) else {
        return Checked::Refused("Missing 'workflow' parameter".to_owned());
    };
    let uploads = match uploads(input) {
        Ok(uploads) => uploads,
        Err(text) => return Checked::Refused(text),
    };
    let context =
        Context { catalog, input_exists: &|name| uploads.contains_key(name), new_mode: false, targets: None };
    match validate(workflow.clone(), &context) {
        Ok(accepted) => {
            let video = accepted.graph.values().any(|node| {
                matches!(
                    node["class_type"].as_str(),
                    Some("EmptyHunyuanLatentVideo" | "WanImageToVideo" | "CreateVideo")
                )
            });
            Checked::Runs { accepted: Box::new(accepted), uploads, video }
        }
        Err(refused) => Checked::Refused(validation_text(&refused, catalog)),
    }
}

fn uploads(input: &Map<String, Value>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let shape = || "'images' must be a list of objects with 'name' and 'image' keys".to_owned();
    let list = match input.get("images") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(images) => images.as_array().ok_or_else(shape)?,
    };
    let mut files = BTreeMap::new();
    for item in list {
        let (Some(name), Some(data)) = (item["name"].as_str(), item["image"].as_str()) else {
            return Err(shape());
        };
        let base64 = data.split_once(";base64,").map_or(data, |(_, rest)| rest);
        let bytes =
            STANDARD.decode(base64).map_err(|_| "Failed to upload one or more input images".to_owned())?;
        files.insert(name.to_owned(), bytes);
    }
    Ok(files)
}

fn validation_text(refused: &Refused, catalog: &Catalog) -> String {
    if refused.node_errors.is_empty() {
        let message = refused.error["message"].as_str().unwrap_or_default();
        let details = refused.error["details"].as_str().unwrap_or_default();
        return format!("Workflow validation failed: {message} {details}").trim_end().to_owned();
    }
    let mut text = "Workflow validation failed:".to_owned();
    for (id, node) in &refused.node_errors {
        text.push_str(&format!("\n• Node {id} (errors): {}", node["errors"]));
    }
    if text.contains("ckpt_name") {
        let models = catalog.files("checkpoints").unwrap_or_default().join(", ");
        text.push_str(&format!("\nAvailable checkpoint models: {models}"));
    }
    text
}

/// Runs the accepted workflow. Only files under the key `images` and not temporary ones are collected.
pub(super) fn run(accepted: &Accepted, uploads: &BTreeMap<String, Vec<u8>>, catalog: &Catalog) -> Files {
    let read = |name: &str| uploads.get(name).cloned();
    let mut files: Files = Vec::new();
    for output in &accepted.outputs {
        let rendered = render(&accepted.graph, catalog, output, LABEL, &read);
        if rendered.key != "images" || rendered.temporary {
            continue;
        }
        let prefix = prefix(&accepted.graph[output]);
        for (extension, bytes) in rendered.files {
            let number = files.len() + 1;
            files.push((format!("{prefix}_{number:05}_.{extension}"), bytes));
        }
    }
    files
}

fn prefix(node: &Value) -> String {
    let prefix = node["inputs"]["filename_prefix"].as_str().unwrap_or("ComfyUI");
    prefix.rsplit('/').next().unwrap_or(prefix).to_owned()
}

/// What the request says about itself, for the invoice: the first file prefix.
pub(super) fn hint(input: &Value) -> String {
    let nodes = input["workflow"].as_object().into_iter().flat_map(Map::values);
    nodes.filter_map(|node| node["inputs"]["filename_prefix"].as_str()).next().unwrap_or_default().to_owned()
}
