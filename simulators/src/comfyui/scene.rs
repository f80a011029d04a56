//! What a graph is about: size, prompt, seed, frames, found by walking up from an output node.
//!
//! The simulator does not compute tensors. It asks "what would come out here, and what was wished for", which is all
//! that a picture with the prompt on it needs.

use std::collections::VecDeque;

use serde_json::Value;

use super::catalog::Catalog;
use super::order::{link_of, links};
use super::validate::Graph;
use crate::picture::{self, Scene};

/// What flows into an output node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sheet {
    pub(crate) scene: Scene,
    pub(crate) batch: u64,
    /// Frames of a video latent; 0 for pictures.
    pub(crate) frames: u64,
    pub(crate) fps: f64,
}

/// Reads a file of the input folder.
pub(crate) type ReadInput<'a> = &'a (dyn Fn(&str) -> Option<Vec<u8>> + Sync);

pub(crate) fn sheet(
    graph: &Graph,
    catalog: &Catalog,
    node: &str,
    label: &'static str,
    read: ReadInput<'_>,
) -> Sheet {
    let mut size = None;
    let mut plain = None;
    let (mut batch, mut frames, mut fps, mut seed) = (None, 0, None, None);
    for id in ancestors(graph, catalog, node) {
        let inputs = &graph[&id]["inputs"];
        let number = |name: &str| inputs[name].as_u64();
        let rectangle = || Some((number("width")? as u32, number("height")? as u32));
        match graph[&id]["class_type"].as_str().unwrap_or_default() {
            "EmptyLatentImage" | "EmptySD3LatentImage" | "EmptyHunyuanLatentVideo" | "WanImageToVideo" => {
                size = size.or_else(rectangle);
                batch = batch.or(number("batch_size"));
                frames = frames.max(number("length").unwrap_or(0));
            }
            "EmptyImage" => {
                size = size.or_else(rectangle);
                batch = batch.or(number("batch_size"));
                plain = plain.or(number("color").map(|color| color as u32));
            }
            "ImageScale" | "LatentUpscale" => size = size.or_else(rectangle),
            "LoadImage" | "LoadImageOutput" | "AcceptancePicture" => {
                let name = inputs.get("image").or_else(|| inputs.get("picture"));
                let bytes = name.and_then(Value::as_str).and_then(read);
                size = size.or_else(|| picture::png_size(&bytes?));
            }
            _ => {}
        }
        fps = fps.or_else(|| inputs["fps"].as_f64()).or_else(|| inputs["frame_rate"].as_f64());
        seed = seed.or_else(|| number("seed")).or_else(|| number("noise_seed"));
    }
    let (width, height) = size.unwrap_or((512, 512));
    let prompt = wish(graph, node, 0).unwrap_or_default();
    Sheet {
        scene: Scene { width, height, prompt, seed: seed.unwrap_or(0), label, plain },
        batch: batch.unwrap_or(1).clamp(1, 64),
        frames,
        fps: fps.unwrap_or(16.0),
    }
}

/// `node` and everything above it, nearest first.
fn ancestors(graph: &Graph, catalog: &Catalog, node: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut queue = VecDeque::from([node.to_owned()]);
    while let Some(id) = queue.pop_front() {
        if seen.contains(&id) || !graph.contains_key(&id) {
            continue;
        }
        queue.extend(links(graph, catalog, &id));
        seen.push(id);
    }
    seen
}

/// Inputs that lead to the wish, best first; `negative` is never followed.
const TOWARDS_TEXT: &[&str] = &[
    "text",
    "t5xxl",
    "text_g",
    "prompt",
    "positive",
    "conditioning",
    "conditioning_1",
    "guider",
    "samples",
    "images",
    "image",
    "video",
    "latent_image",
    "pixels",
    "value",
    "string_a",
    "source",
];
/// Deeper graphs than this are not walked.
const MAX_DEPTH: usize = 64;

/// The positive prompt that reaches this node.
fn wish(graph: &Graph, node: &str, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let node = graph.get(node)?;
    let is_text_node = node["class_type"].as_str().is_some_and(|class| {
        class.starts_with("CLIPTextEncode") || class.starts_with("Primitive") || class.starts_with("String")
    });
    TOWARDS_TEXT.iter().find_map(|name| match &node["inputs"][*name] {
        Value::String(text) if is_text_node => Some(text.clone()),
        value => wish(graph, &link_of(value)?, depth + 1),
    })
}

/// The text a string node would give.
pub(super) fn string_of(graph: &Graph, value: &Value, depth: usize) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let node = graph.get(&link_of(value).filter(|_| depth < MAX_DEPTH)?)?;
    let part = |name: &str| string_of(graph, &node["inputs"][name], depth + 1);
    match node["class_type"].as_str()? {
        "StringConcatenate" => Some(part("string_a")? + &part("delimiter")? + &part("string_b")?),
        "PrimitiveString" => part("value"),
        _ => None,
    }
}
