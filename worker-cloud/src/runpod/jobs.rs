//! What an ended job means: the handler's words to a failure code, and its execution time to usage.
//!
//! The handler (worker-comfyui) reports in prose. Each phrase that is known stands in one table; prose that
//! is not known is worth another try, because a wrong "never" costs more than a second attempt.

use schemas::{Failure, FailureCode, Unit, Usage};
use serde_json::Value;

use crate::runpod::wire::{JobReply, Status};

/// Phrases of the handler and the platform, first match wins, case ignored.
const PHRASES: [(&str, FailureCode, &str); 21] = {
    use FailureCode::{InvalidJob, OutOfMemory, Timeout, Transient};
    [
        ("out of memory", OutOfMemory, "the GPU's memory did not suffice"),
        ("outofmemory", OutOfMemory, "the GPU's memory did not suffice"),
        ("allocation on device", OutOfMemory, "the GPU's memory did not suffice"),
        ("cuda error", Transient, "the worker's GPU failed"),
        ("executiontimeout exceeded", Timeout, "RunPod stopped it at its execution limit"),
        ("job timed out after", Transient, "the worker died or fell silent, also when RunPod tried again"),
        ("please provide input", InvalidJob, "the handler got no input"),
        ("invalid json format in input", InvalidJob, "the handler could not read the input"),
        ("missing 'workflow' parameter", InvalidJob, "the handler got no workflow"),
        ("'images' must be a list", InvalidJob, "the handler could not read the inputs"),
        ("failed to upload one or more input", Transient, "ComfyUI did not take the inputs"),
        ("workflow validation failed", InvalidJob, "ComfyUI refused the workflow"),
        ("error queuing workflow", Transient, "ComfyUI did not take the workflow"),
        ("not reachable after multiple retries", Transient, "the worker's ComfyUI does not answer"),
        ("websocket communication error", Transient, "the worker lost its ComfyUI"),
        ("http communication error", Transient, "the worker lost its ComfyUI"),
        ("not found in history", Transient, "the worker's ComfyUI lost the run"),
        ("no outputs found in history", InvalidJob, "the workflow saved nothing: add a SaveImage node"),
        ("workflow execution error", InvalidJob, "a node of the workflow failed"),
        ("job processing failed", Transient, "the handler failed"),
        ("an unexpected error occurred", Transient, "the handler failed"),
    ]
};

/// What in a refused workflow speaks of things the server lacks rather than of a wrong graph.
const LACKS: [&str; 7] = [
    "value_not_in_list",
    "value not in list",
    " not in [",
    " not in (list",
    "available checkpoint models",
    "missing_node_type",
    "does not exist",
];

/// Why a job that ended badly did so. `never_ran` tells whether it surely waited to the end.
#[must_use]
pub fn failure(reply: &JobReply, never_ran: bool) -> Failure {
    let words = words(reply);
    match reply.status {
        Status::TimedOut if never_ran => {
            Failure::new(FailureCode::Timeout, "no worker took the job in time").with_words(&words)
        }
        Status::TimedOut => {
            Failure::new(FailureCode::Timeout, "RunPod stopped it at its time limit").with_words(&words)
        }
        Status::Cancelled => {
            // Not `interrupted`: that would come back to the same dead job for ever.
            let message = "somebody cancelled the job at RunPod, not through Argosy";
            Failure::new(FailureCode::Transient, message).with_words(&words)
        }
        _ => translate(&words),
    }
}

/// The failure that words of handler or platform stand for.
#[must_use]
pub fn translate(words: &str) -> Failure {
    let lower = words.to_ascii_lowercase();
    let known = PHRASES.iter().find(|(phrase, _, _)| lower.contains(phrase));
    let Some(&(phrase, code, message)) = known else {
        return Failure::new(FailureCode::Transient, "the job failed at RunPod").with_words(words);
    };
    if phrase == "workflow validation failed" && LACKS.iter().any(|lack| lower.contains(lack)) {
        let message = "the endpoint lacks a model or node of the workflow";
        let failure = Failure::new(FailureCode::CapabilityMissing, message);
        return failure.with_words(words).with_missing(missing(words));
    }
    let failure = match code {
        FailureCode::InvalidJob => Failure::invalid("body.workflow", message),
        code => Failure::new(code, message),
    };
    failure.with_words(words)
}

/// What RunPod counted. Empty when it does not say: then nobody may assume that it was free.
#[must_use]
pub fn usage(reply: &JobReply, never_ran: bool) -> Vec<Usage> {
    let quantity = reply.execution_ms.or(never_ran.then_some(0));
    quantity.map(|quantity| Usage { unit: Unit::ExecutionMs, quantity }).into_iter().collect()
}

/// Whether an ended job surely never had a worker: we saw it waiting, never saw it running, and neither
/// does the provider name a worker or a time.
#[must_use]
pub fn never_ran(reply: &JobReply, seen_waiting: bool, seen_running: bool) -> bool {
    matches!(reply.status, Status::Cancelled | Status::TimedOut)
        && seen_waiting
        && !seen_running
        && reply.worker_id.as_ref().is_none_or(Value::is_null)
        && reply.execution_ms.is_none()
}

/// The error in plain words, with the details that the handler puts beside it.
fn words(reply: &JobReply) -> String {
    let mut words = match &reply.error {
        Some(Value::String(text)) => from_json(text).unwrap_or_else(|| text.clone()),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let details = reply.output.as_ref().and_then(|output| output.get("details"));
    let details = match details {
        Some(Value::Array(items)) => items.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        Some(other) => text_of(other),
        None => String::new(),
    };
    if !details.is_empty() {
        words.push('\n');
        words.push_str(&details);
    }
    words
}

/// A handler that raised sends a JSON document in a string; its host name and versions are noise.
fn from_json(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| document.get(name).and_then(Value::as_str);
    let message = field("error_message")?;
    Some(field("error_type").map_or_else(|| message.to_owned(), |kind| format!("{kind}: {message}")))
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The names that ComfyUI's validation says it lacks: `ckpt_name: 'x' not in [...]`, `Node 'X' not found`,
/// `node X does not exist`.
fn missing(words: &str) -> Vec<String> {
    let before = |sign| words.match_indices(sign).map(|(at, _)| &words[..at]);
    let quoted = before("' not in ").chain(before("' not found")).chain(before("' does not exist"));
    let quoted = quoted.filter_map(|text| text.rsplit_once('\'').map(|(_, name)| name));
    let bare = before(" does not exist").filter_map(|text| text.rsplit(' ').next());
    let mut names: Vec<String> =
        quoted.chain(bare.filter(|name| !name.ends_with('\''))).map(str::to_owned).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}
