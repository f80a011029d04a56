//! The translation table: what the server said, into a failure. Pure; what follows from a failure is
//! decided elsewhere.
//!
//! A fault in a graph belongs to the job when the job brought the graph, and to us when it came from a
//! template: the first is `invalid_job`, the second may well work elsewhere.

use schemas::{Failure, FailureCode};
use serde_json::Value;
use worker_host::attempt::too_large;

use crate::comfy::client::ClientError;
use crate::comfy::graph::Source;
use crate::comfy::wire::{ErrorWords, ExecutionError, NodeErrors, PromptAnswer, Uploaded};

/// Endings of model files.
const MODEL_ENDINGS: [&str; 8] = [".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".gguf", ".bin", ".onnx"];
/// Inputs that name a file of the server's models, whatever the file is called.
const MODEL_INPUTS: [&str; 4] = ["ckpt", "lora", "vae", "unet"];
/// Inputs that name a file of the server's inputs.
const FILE_INPUTS: [&str; 4] = ["image", "video", "audio", "mask"];

/// Exceptions by which a node refuses what it was given.
const JOBS_OWN: [&str; 8] = [
    "ValueError",
    "TypeError",
    "KeyError",
    "IndexError",
    "AttributeError",
    "AssertionError",
    "NameError",
    "ZeroDivisionError",
];

/// Whether an input of a node class is a choice of model files.
pub type IsFileChoice<'a> = &'a (dyn Fn(&str, &str) -> bool + Sync);

/// No usable answer to a call.
#[must_use]
pub fn unanswered(error: &ClientError) -> Failure {
    let words = error.to_string();
    let failure = match error {
        _ if error.is_of_one_job() => Failure::new(
            FailureCode::UnusableResult,
            "the server ran the job and cannot tell how it ended: its record of the job cannot be read",
        ),
        ClientError::Unreachable { .. } => {
            Failure::new(FailureCode::BackendDown, "ComfyUI cannot be reached: is it running?")
        }
        ClientError::TimedOut { .. } => {
            Failure::new(FailureCode::BackendDown, "ComfyUI does not answer in time")
        }
        ClientError::Body { .. } => {
            Failure::new(FailureCode::BackendDown, "what answers at the configured address is not ComfyUI")
        }
        ClientError::TooLarge { path, limit_bytes } => Failure::new(
            FailureCode::Transient,
            format!("the server's answer to {path} is larger than {limit_bytes} bytes"),
        ),
        ClientError::Status { status: 413, .. } => Failure::invalid(
            "body.inputs",
            "an input or the workflow is larger than the server takes: raise its --max-upload-size",
        ),
        ClientError::Status { status: 403, .. } => {
            Failure::new(FailureCode::BackendDown, "the server refuses us: is there a proxy in front of it?")
        }
        ClientError::Status { status: 404 | 405, .. } => {
            Failure::new(FailureCode::BackendDown, "the server lacks a route that every ComfyUI has")
        }
        ClientError::Status { status, .. } => {
            Failure::new(FailureCode::Transient, format!("ComfyUI answered HTTP {status}"))
        }
    };
    failure.with_words(&words)
}

/// An input was not taken.
#[must_use]
pub fn not_uploaded(name: &str, error: &ClientError) -> Failure {
    match error.status() {
        Some(400) => {
            let message = format!("the server does not take an input named `{name}`: use a plain file name");
            Failure::invalid("body.inputs", message).with_words(&error.to_string())
        }
        _ => unanswered(error),
    }
}

/// A file that the server lists was not had from it.
#[must_use]
pub fn not_given(name: &str, error: &ClientError) -> Failure {
    let (code, message) = match error {
        ClientError::TooLarge { limit_bytes, .. } => return too_large(limit_bytes.saturating_add(1)),
        // The job chose where the file lies and what it is called; a name that is not UTF-8 cannot be asked for.
        ClientError::Status { status: 400 | 403, .. } => (
            FailureCode::UnusableResult,
            format!("the server lists {name} and does not give it: it lies outside its folders"),
        ),
        ClientError::Status { status: 404, .. } if name.contains(char::REPLACEMENT_CHARACTER) => {
            (FailureCode::UnusableResult, format!("the file {name} has a name that is not UTF-8"))
        }
        ClientError::Status { status: 404, .. } => {
            (FailureCode::Transient, format!("the server lists {name} and does not have it"))
        }
        error => return unanswered(error),
    };
    Failure::new(code, message).with_words(&error.to_string())
}

/// An input was stored where another job's file may lie.
#[must_use]
pub fn uploaded_elsewhere(name: &str, folder: &str, uploaded: &Uploaded) -> Failure {
    let message = format!(
        "the server stored input `{name}` as `{}`, not in the folder {folder} that keeps the files of jobs apart: \
         update ComfyUI",
        uploaded.reference()
    );
    Failure::new(FailureCode::BackendDown, message)
}

/// `POST /prompt` was refused, or accepted in part.
#[must_use]
pub fn refused(answer: &PromptAnswer, source: Source, is_file_choice: IsFileChoice<'_>) -> Failure {
    let words = answer.error.as_ref();
    let said = words.map(|error| format!("{}: {} {}", error.kind, error.message, error.details));
    let said = said.unwrap_or_default();
    if !answer.node_errors.is_empty() {
        return nodes(&answer.node_errors, source, is_file_choice);
    }
    let kind = words.map(|error| error.kind.as_str()).unwrap_or_default();
    let failure = match (kind, words.and_then(unknown_class)) {
        ("missing_node_type" | "invalid_prompt", Some(class)) => {
            let message = format!("the server has no node class `{class}`: a custom node is not installed");
            Failure::new(FailureCode::CapabilityMissing, message).with_missing(vec![class])
        }
        ("missing_node_type", None) => {
            Failure::new(FailureCode::CapabilityMissing, "the server lacks a node class of the workflow")
        }
        ("invalid_prompt_id", _) => Failure::new(
            FailureCode::BackendDown,
            "the server takes no prompt id of ours: its rules have changed",
        ),
        ("prompt_no_outputs", _) => faulty(
            source,
            None,
            "the workflow has no output node: add one that saves, such as SaveImage".to_owned(),
        ),
        ("", _) => Failure::new(FailureCode::Transient, "the server refused the workflow without a reason"),
        (_, _) => faulty(source, None, format!("the server refuses the workflow: {}", first_words(words))),
    };
    failure.with_words(&said)
}

fn first_words(error: Option<&ErrorWords>) -> String {
    error.map(|error| format!("{} {}", error.message, error.details).trim().to_owned()).unwrap_or_default()
}

/// The class that does not exist. A class that is not even named is another fault.
fn unknown_class(error: &ErrorWords) -> Option<String> {
    error.extra_info.class_type.clone().filter(|class| !class.is_empty()).or_else(|| {
        let rest = error.message.split_once("node ")?.1;
        let (class, _) = rest.split_once(" does not exist")?;
        Some(class.trim_matches(['\'', '"', '`']).to_owned())
    })
}

/// Whose fault it is.
fn faulty(source: Source, input: Option<&str>, message: String) -> Failure {
    match (source, input) {
        (Source::Workflow, _) => Failure::invalid("body.workflow", message),
        // These come from the job even in a template.
        (Source::Template, Some("width")) => Failure::invalid("body.width", message),
        (Source::Template, Some("height")) => Failure::invalid("body.height", message),
        (Source::Template, Some("steps")) => Failure::invalid("body.steps", message),
        (Source::Template, Some("seed" | "noise_seed")) => Failure::invalid("body.seed", message),
        (Source::Template, _) => {
            Failure::new(FailureCode::Transient, format!("the catalog's template: {message}"))
        }
    }
}

/// Faults in nodes. One that nothing can run outweighs one that another server may not have.
fn nodes(errors: &NodeErrors, source: Source, is_file_choice: IsFileChoice<'_>) -> Failure {
    let mut missing = Vec::new();
    let mut first_fault = None;
    let mut words = String::new();
    for (id, node) in errors {
        for error in &node.errors {
            words.push_str(&format!(
                "node {id} ({}): {}: {}; {}\n",
                node.class_type, error.kind, error.message, error.details
            ));
            match missing_model(&node.class_type, error, is_file_choice) {
                Some(model) => missing.push(model),
                None => drop(first_fault.get_or_insert((id, node.class_type.as_str(), error))),
            }
        }
    }
    let failure = match first_fault {
        Some((id, class, error)) => node_fault(id, class, error, source),
        None if missing.is_empty() => {
            Failure::new(FailureCode::Transient, "the server refused the workflow without a reason")
        }
        None => {
            missing.sort();
            missing.dedup();
            let message = format!("the server does not have {}", missing.join(", "));
            Failure::new(FailureCode::CapabilityMissing, message).with_missing(missing)
        }
    };
    failure.with_words(words.trim_end())
}

fn node_fault(id: &str, class: &str, error: &ErrorWords, source: Source) -> Failure {
    let input = error.extra_info.input_name.as_deref();
    let at = input.map(|input| format!(", input `{input}`")).unwrap_or_default();
    let message = format!("node {id} ({class}){at}: {}: {}", error.message, error.details);
    let names_file = error.kind == "custom_validation_failed" && error.details.contains("Invalid")
        || error.kind == "value_not_in_list" && input.is_some_and(|input| FILE_INPUTS.contains(&input));
    if names_file {
        let cure = format!("{message}: name the file in body.inputs, so that it is uploaded");
        return Failure::invalid("body.inputs", cure);
    }
    faulty(source, input, message)
}

/// The model file that a fault is about, if it is about one. What was asked for may be called anything: the input
/// decides, by what the server says that it chooses from.
fn missing_model(class: &str, error: &ErrorWords, is_file_choice: IsFileChoice<'_>) -> Option<String> {
    if error.kind != "value_not_in_list" {
        return None;
    }
    let value = error.extra_info.received_value.as_str()?;
    let input = error.extra_info.input_name.as_deref().unwrap_or_default();
    let by_input = MODEL_INPUTS.iter().any(|name| input.starts_with(name)) || input == "model_name";
    let by_options =
        error.extra_info.input_config.pointer("/0").and_then(Value::as_array).is_some_and(|options| {
            !options.is_empty() && options.iter().all(|option| option.as_str().is_some_and(is_model_file))
        });
    (by_input || by_options || is_file_choice(class, input)).then(|| value.to_owned())
}

fn is_model_file(name: &str) -> bool {
    MODEL_ENDINGS.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

/// A node raised while the job ran.
#[must_use]
pub fn raised(error: &ExecutionError, source: Source) -> Failure {
    let text = error.exception_message.trim();
    let node = format!("node {} ({})", error.node_id.as_str().unwrap_or("?"), error.node_type);
    let failure = match cause(&error.exception_type, text) {
        Cause::OutOfMemory => {
            Failure::new(FailureCode::OutOfMemory, format!("{node}: the GPU's memory did not suffice"))
        }
        Cause::Gpu => Failure::new(
            FailureCode::BackendDown,
            format!("{node}: the GPU failed, and every later job will too: restart ComfyUI"),
        ),
        Cause::DiskFull => {
            Failure::new(FailureCode::BackendDown, format!("{node}: the server's disk is full"))
        }
        Cause::ModelFile => {
            let missing = models_of(error);
            let message = format!("{node}: a model file is missing or damaged: {}", missing.join(", "));
            Failure::new(FailureCode::CapabilityMissing, message).with_missing(missing)
        }
        Cause::Package => {
            let message = format!("{node}: the server lacks a Python package that the node needs");
            Failure::new(FailureCode::CapabilityMissing, message).with_missing(vec![error.node_type.clone()])
        }
        Cause::Network => Failure::new(FailureCode::Transient, format!("{node}: a download failed")),
        Cause::Other => faulty(source, None, format!("{node} raised {}: {text}", error.exception_type)),
    };
    failure.with_words(&format!("{}: {text}", error.exception_type))
}

enum Cause {
    OutOfMemory,
    Gpu,
    DiskFull,
    ModelFile,
    Package,
    Network,
    Other,
}

/// Read in this order: running out of memory is reported in the words of a GPU error too.
fn cause(class: &str, text: &str) -> Cause {
    let lower = text.to_ascii_lowercase();
    let class = class.rsplit('.').next().unwrap_or_default();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let out_of_memory = ["out of memory", "alloc_failed", "not enough memory", "can't allocate memory"];
    if matches!(class, "OutOfMemoryError" | "MemoryError")
        || lower.starts_with("allocation on device")
        || says(&out_of_memory)
    {
        return Cause::OutOfMemory;
    }
    // A text may hold whatever the job brought, so those that judge a value say nothing about the server.
    if JOBS_OWN.contains(&class) {
        return Cause::Other;
    }
    if says(&["cuda error", "hip error", "cudnn", "cublas", "device-side assert", "nvrtc"])
        || class == "AcceleratorError"
    {
        return Cause::Gpu;
    }
    if says(&["no space left on device", "[errno 28]"]) {
        return Cause::DiskFull;
    }
    let damaged =
        ["deserializing header", "invalid load key", "is not a valid safetensors", "headertoolarge"];
    if matches!(class, "SafetensorError" | "UnpicklingError")
        || says(&damaged)
        || class == "FileNotFoundError" && says(&["model in folder"])
    {
        return Cause::ModelFile;
    }
    match class {
        "ModuleNotFoundError" | "ImportError" => Cause::Package,
        "ConnectionError" | "ConnectTimeout" | "ReadTimeout" | "URLError" | "TimeoutError" => Cause::Network,
        _ => Cause::Other,
    }
}

/// The model files among a node's inputs; the node's class where there are none.
fn models_of(error: &ExecutionError) -> Vec<String> {
    let values = error.current_inputs.values().flat_map(|value| match value {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    });
    let quoted = error.exception_message.split('\'').filter(|word| is_model_file(word)).map(str::to_owned);
    let mut models: Vec<String> = values
        .filter_map(Value::as_str)
        .filter(|name| is_model_file(name))
        .map(str::to_owned)
        .chain(quoted)
        .collect();
    models.sort();
    models.dedup();
    if models.is_empty() { vec![error.node_type.clone()] } else { models }
}
