//! What an ended job means: the handler's words to a failure code, and its execution time to usage.
//!
//! The handler (worker-comfyui) reports in prose. Each phrase that is known stands in one table. An outcome
//! that would come again is never `transient`: each run is paid, so only what speaks of the machine and not of
//! the job is tried again. What is not known ends the job once something ran.

use schemas::{Failure, FailureCode, Unit, Usage};
use serde_json::Value;

use crate::runpod::output::shape;
use crate::runpod::wire::{JobReply, Status};

/// Phrases of the handler and the platform, first match wins, case ignored. In each group: what comes again
/// with the same job before what need not.
const PHRASES: &[(&str, FailureCode, &str)] = {
    use FailureCode::{CapabilityMissing, InvalidJob, OutOfMemory, Timeout, Transient, UnusableResult};
    &[
        ("out of memory", OutOfMemory, "the GPU's memory did not suffice"),
        ("outofmemory", OutOfMemory, "the GPU's memory did not suffice"),
        ("allocation on device", OutOfMemory, "the GPU's memory did not suffice"),
        // The endpoint's image was not built for its GPU, or a node indexes past the end: the same again.
        ("no kernel image is available", CapabilityMissing, "the endpoint's image does not run on its GPU"),
        ("device-side assert", InvalidJob, "a node of the workflow failed on the GPU"),
        ("cuda error", Transient, "the worker's GPU failed"),
        ("executiontimeout exceeded", Timeout, "RunPod stopped it at its execution limit"),
        ("job timed out after", Transient, "the worker died or fell silent, also when RunPod tried again"),
        ("please provide input", InvalidJob, "the handler got no input"),
        ("please provide the 'prompt'", InvalidJob, "the handler is version 1, which reads other input"),
        ("invalid json format in", InvalidJob, "the handler could not read the input"),
        ("missing 'workflow' parameter", InvalidJob, "the handler got no workflow"),
        ("'images' must be a list", InvalidJob, "the handler could not read the inputs"),
        ("error decoding base64 for", InvalidJob, "the handler could not read the inputs"),
        ("request entity too large", InvalidJob, "ComfyUI refused an input: it is too large"),
        ("failed to upload one or more input", Transient, "ComfyUI did not take the inputs"),
        ("some images failed to upload", Transient, "ComfyUI did not take the inputs"),
        ("workflow validation failed", InvalidJob, "ComfyUI refused the workflow"),
        // Versions before 5.1 do not read ComfyUI's answer; 4xx is its verdict on the graph.
        ("error queuing workflow: http error 4", InvalidJob, "ComfyUI refused the workflow"),
        ("error queuing workflow: 4", InvalidJob, "ComfyUI refused the workflow"),
        ("error queuing prompt: http error 4", InvalidJob, "ComfyUI refused the workflow"),
        ("error queuing workflow", Transient, "ComfyUI did not take the workflow"),
        ("error queuing prompt", Transient, "ComfyUI did not take the workflow"),
        // Versions before 4.1 ask for a fixed number of times: a slower or failing workflow never ends well.
        ("max retries reached while waiting", UnusableResult, "the handler gave up waiting for the workflow"),
        ("error waiting for image generation", Transient, "the worker lost its ComfyUI"),
        ("not reachable after multiple retries", Transient, "the worker's ComfyUI does not answer"),
        ("websocket communication error", Transient, "the worker lost its ComfyUI"),
        ("http communication error", Transient, "the worker lost its ComfyUI"),
        ("not found in history", Transient, "the worker's ComfyUI lost the run"),
        ("no outputs found in history", InvalidJob, "the workflow saved nothing: add a SaveImage node"),
        ("workflow execution error", InvalidJob, "a node of the workflow failed"),
        // It ran to its end, and what it made is not to be had: a wrong bucket, a file elsewhere.
        (
            "does not exist in the specified output folder",
            UnusableResult,
            "the handler did not find the file",
        ),
        (" to s3", UnusableResult, "the handler could not upload the file: check the endpoint's bucket"),
        ("failed to fetch image data", UnusableResult, "the handler did not get the file from ComfyUI"),
        // Errors of a program in what it was given: Python's names for them.
        ("keyerror", UnusableResult, "the handler failed on this job"),
        ("valueerror", UnusableResult, "the handler failed on this job"),
        ("typeerror", UnusableResult, "the handler failed on this job"),
        ("attributeerror", UnusableResult, "the handler failed on this job"),
        ("indexerror", UnusableResult, "the handler failed on this job"),
        // Errors of the machine or of its network.
        ("connection refused", Transient, "the worker lost a connection"),
        ("connection reset", Transient, "the worker lost a connection"),
        ("connection aborted", Transient, "the worker lost a connection"),
        ("connectionerror", Transient, "the worker lost a connection"),
        ("remote end closed connection", Transient, "the worker lost a connection"),
        ("broken pipe", Transient, "the worker lost a connection"),
        ("read timed out", Transient, "the worker lost a connection"),
        ("temporary failure in name resolution", Transient, "the worker lost a connection"),
        ("no space left on device", Transient, "the worker's disk is full"),
        ("input/output error", Transient, "the worker's disk failed"),
        ("job processing failed", UnusableResult, "the handler failed on this job"),
        ("an unexpected error occurred", UnusableResult, "the handler failed on this job"),
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
        _ => translate(&words, ran(reply)),
    }
}

/// Whether a worker had the job: then it was billed.
fn ran(reply: &JobReply) -> bool {
    reply.execution_ms.map_or_else(|| reply.worker_id.as_ref().is_some_and(|id| !id.is_null()), |ms| ms > 0)
}

/// The failure that words of handler or platform stand for. Unknown words end a job that ran: nothing says
/// that another paid run would end otherwise.
#[must_use]
pub fn translate(words: &str, ran: bool) -> Failure {
    known(words).unwrap_or_else(|| {
        let failure = match ran {
            true => Failure::new(
                FailureCode::UnusableResult,
                "the job ran and failed at RunPod, and nothing says that another run would end otherwise",
            ),
            false => Failure::new(FailureCode::Transient, "the job failed at RunPod before it ran"),
        };
        failure.with_words(words)
    })
}

/// The failure that words stand for, if they are known.
#[must_use]
pub fn known(words: &str) -> Option<Failure> {
    let lower = words.to_ascii_lowercase();
    let &(phrase, code, message) = PHRASES.iter().find(|(phrase, _, _)| lower.contains(phrase))?;
    if phrase == "workflow validation failed" && LACKS.iter().any(|lack| lower.contains(lack)) {
        let message = "the endpoint lacks a model or node of the workflow";
        let failure = Failure::new(FailureCode::CapabilityMissing, message);
        return Some(failure.with_words(words).with_missing(missing(words)));
    }
    let failure = match code {
        FailureCode::InvalidJob => Failure::invalid("body.workflow", message),
        code => Failure::new(code, message),
    };
    Some(failure.with_words(words))
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

/// The error in plain words, with what the handler says beside it.
fn words(reply: &JobReply) -> String {
    let mut words = match &reply.error {
        Some(Value::String(text)) => shape::raised(text).unwrap_or_else(|| text.clone()),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let details = shape::words(reply.output.as_ref());
    if !details.is_empty() {
        words.push('\n');
        words.push_str(&details);
    }
    words
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
