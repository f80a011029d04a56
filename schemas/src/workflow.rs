//! ComfyUI workflows in API format: told from the other format, read for what they need, and made from
//! a prompt by a catalog template. Pure text work; talking to a server is the workers' business.

pub mod files;
mod met;
pub mod needs;
pub mod nodes;

use serde_json::Value;

use crate::catalog::Model;
use crate::{Body, JobId};

pub use self::met::Met;
pub use self::needs::{Candidate, Requirements, is_within, requirements};

/// How deep a workflow may nest: far beyond what people draw, and far enough below
/// [`crate::codec::DEPTH_MAX`] that every message that carries the job can be read.
pub const DEPTH_MAX: usize = 64;

/// Why a graph is not a workflow that can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// The editor's own format.
    #[error(
        "the workflow is in ComfyUI's editor format: export it with Workflow > Export (API) and send that file"
    )]
    UiFormat,
    /// Not a map of nodes.
    #[error("the workflow must be a JSON object from node id to {{\"class_type\", \"inputs\"}}")]
    NotAGraph,
    /// No node at all.
    #[error("the workflow has no nodes")]
    Empty,
    /// A node without its class.
    #[error("node `{0}` has no class_type: export the workflow again with Workflow > Export (API)")]
    NoClassType(String),
    /// Lists in lists in lists.
    #[error("the workflow nests more than {DEPTH_MAX} deep: flatten the values of its inputs")]
    TooDeep,
}

/// Puts a prompt into a model's template.
///
/// Placeholders are whole string values: `{{prompt}}`, `{{negative_prompt}}`, `{{width}}`, `{{height}}`,
/// `{{steps}}`, `{{seed}}`, `{{frames}}`, `{{prefix}}`. Numbers replace the string, so the graph keeps
/// ComfyUI's types. The seed is the job's, else derived from its id: a repeat gives the same picture.
#[must_use]
pub fn render(model: &Model, body: &Body, job: JobId, prefix: &str) -> Value {
    let seed = body.seed.unwrap_or_else(|| seed_of(job));
    let duration_ms = body.duration_ms.unwrap_or(model.duration_ms);
    let mut graph = model.template.clone();
    fill(&mut graph, &|name| {
        Some(match name {
            "prompt" => Value::from(body.prompt.clone().unwrap_or_default()),
            "negative_prompt" => Value::from(body.negative_prompt.clone().unwrap_or_default()),
            "width" => Value::from(body.width.unwrap_or(model.width)),
            "height" => Value::from(body.height.unwrap_or(model.height)),
            "steps" => Value::from(body.steps.unwrap_or(model.steps)),
            "seed" => Value::from(seed),
            "frames" => Value::from(frames(duration_ms)),
            "prefix" => Value::from(prefix),
            _ => return None,
        })
    });
    graph
}

/// Sets the name prefix of every saving node, so that a run's files can be told from all others and a
/// repeat of the same graph is never answered from a server's cache with another job's files.
pub fn set_prefix(graph: &mut Value, prefix: &str) {
    let Some(nodes) = graph.as_object_mut() else { return };
    for inputs in nodes.values_mut().filter_map(|node| node.get_mut("inputs")?.as_object_mut()) {
        if let Some(value) = inputs.get_mut("filename_prefix") {
            *value = Value::from(prefix);
        }
    }
}

/// A seed that every party derives alike from the job's id.
#[must_use]
pub fn seed_of(job: JobId) -> u64 {
    let (high, low) = job.0.as_u64_pair();
    // Below 2^53: every JSON reader keeps it exact.
    (high ^ low.rotate_left(17)) & ((1 << 53) - 1)
}

/// Frames at 16 a second, in the form 4n+1 that video models want.
#[must_use]
pub const fn frames(duration_ms: u32) -> u32 {
    (duration_ms / 1000 * 16 + duration_ms % 1000 * 16 / 1000) / 4 * 4 + 1
}

fn fill(value: &mut Value, lookup: &impl Fn(&str) -> Option<Value>) {
    match value {
        Value::String(text) => {
            let name = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
            if let Some(filled) = name.and_then(lookup) {
                *value = filled;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, lookup)),
        Value::Object(map) => map.values_mut().for_each(|item| fill(item, lookup)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
