//! The translation table, row by row.

use schemas::{Failure, FailureCode};
use serde_json::json;
use worker_local::comfy::client::ClientError;
use worker_local::comfy::discovery::Abilities;
use worker_local::comfy::errors::{not_given, raised, refused};
use worker_local::comfy::graph::Source::{self, Template, Workflow};
use worker_local::comfy::wire::{ExecutionError, PromptAnswer};

/// Exception class, text, whose graph, code.
const RAISED: &[(&str, &str, Source, FailureCode)] = &[
    ("torch.OutOfMemoryError", "Allocation on device ", Workflow, FailureCode::OutOfMemory),
    (
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 2 GiB",
        Template,
        FailureCode::OutOfMemory,
    ),
    ("RuntimeError", "CUDA error: out of memory", Workflow, FailureCode::OutOfMemory),
    ("RuntimeError", "HIP out of memory", Workflow, FailureCode::OutOfMemory),
    (
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling",
        Workflow,
        FailureCode::OutOfMemory,
    ),
    ("MemoryError", "", Workflow, FailureCode::OutOfMemory),
    ("RuntimeError", "DefaultCPUAllocator: can't allocate memory", Workflow, FailureCode::OutOfMemory),
    (
        "RuntimeError",
        "CUDA error: an illegal memory access was encountered",
        Workflow,
        FailureCode::BackendDown,
    ),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", Workflow, FailureCode::BackendDown),
    ("torch.AcceleratorError", "unspecified launch failure", Workflow, FailureCode::BackendDown),
    ("RuntimeError", "device-side assert triggered", Template, FailureCode::BackendDown),
    ("OSError", "[Errno 28] No space left on device", Workflow, FailureCode::BackendDown),
    (
        "FileNotFoundError",
        "Model in folder 'loras' with filename 'x.safetensors' not found.",
        Workflow,
        FailureCode::CapabilityMissing,
    ),
    (
        "safetensors_rust.SafetensorError",
        "Error while deserializing header: HeaderTooLarge",
        Workflow,
        FailureCode::CapabilityMissing,
    ),
    ("_pickle.UnpicklingError", "invalid load key, 'v'.", Workflow, FailureCode::CapabilityMissing),
    ("ModuleNotFoundError", "No module named 'insightface'", Workflow, FailureCode::CapabilityMissing),
    ("requests.exceptions.ConnectionError", "Max retries exceeded", Workflow, FailureCode::Transient),
    ("ValueError", "bad value", Workflow, FailureCode::InvalidJob),
    // Words of the job's own in an exception do not take the server out of service.
    ("ValueError", "no such style: CUDA error", Workflow, FailureCode::InvalidJob),
    ("KeyError", "'no space left on device'", Workflow, FailureCode::InvalidJob),
    ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied", Workflow, FailureCode::InvalidJob),
    ("Exception", "Unauthorized: Please login first to use this node.", Workflow, FailureCode::InvalidJob),
    ("ValueError", "bad value", Template, FailureCode::Transient),
];

#[test]
fn exceptions_become_failures() {
    for &(class, text, source, code) in RAISED {
        let error = ExecutionError {
            node_id: json!("4"),
            node_type: "SomeLoader".to_owned(),
            exception_type: class.to_owned(),
            exception_message: format!("{text}\n"),
            ..ExecutionError::default()
        };
        let failure = raised(&error, source);
        assert_eq!(failure.code, code, "{class}: {text}: {failure:?}");
        assert!(failure.message.contains("node 4 (SomeLoader)"), "{class}: {failure:?}");
        assert!(failure.provider_words.is_some_and(|words| words.contains(text.trim())), "{class}");
        assert_eq!(code == FailureCode::CapabilityMissing, !failure.missing.is_empty(), "{class}");
    }
}

#[test]
fn missing_files_are_named_from_text_and_inputs() {
    let mut error = ExecutionError {
        node_type: "LoraLoader".to_owned(),
        exception_type: "FileNotFoundError".to_owned(),
        exception_message: "Model in folder 'loras' with filename 'x.safetensors' not found.".to_owned(),
        ..ExecutionError::default()
    };
    assert_eq!(raised(&error, Workflow).missing, ["x.safetensors"]);
    error.exception_type = "SafetensorError".to_owned();
    error.exception_message = "broken".to_owned();
    error.current_inputs = [("ckpt_name".to_owned(), json!(["y.ckpt"]))].into();
    assert_eq!(raised(&error, Workflow).missing, ["y.ckpt"]);
    error.current_inputs.clear();
    assert_eq!(raised(&error, Workflow).missing, ["LoraLoader"], "the node, where no file is named");
}

#[test]
fn a_file_that_is_not_given_is_its_jobs_alone() {
    let given = |name: &str, status| {
        let (path, words) = ("view".to_owned(), String::new());
        not_given(name, &ClientError::Status { path, status, words }).code
    };
    assert_eq!(given("/etc/x.png", 400), FailureCode::UnusableResult);
    assert_eq!(given("../x.png", 403), FailureCode::UnusableResult);
    assert_eq!(given("caf\u{fffd}.png", 404), FailureCode::UnusableResult);
    assert_eq!(given("x.png", 404), FailureCode::Transient);
}

fn refuse(body: serde_json::Value, source: Source) -> Failure {
    let answer: PromptAnswer = serde_json::from_value(body).expect("an answer");
    // By the table of well-known nodes alone, as if the server had told nothing.
    refused(&answer, source, &|class, input| Abilities::default().is_file_choice(class, input))
}

#[test]
fn refusals_become_failures() {
    let top = |kind: &str, message: &str, extra: serde_json::Value| json!({"error": {"type": kind, "message": message, "details": "d", "extra_info": extra}, "node_errors": {}});
    let rows = [
        (
            top("no_prompt", "No prompt provided", json!({})),
            Workflow,
            FailureCode::InvalidJob,
            Some("body.workflow"),
        ),
        (
            top("prompt_no_outputs", "Prompt has no outputs", json!({})),
            Workflow,
            FailureCode::InvalidJob,
            Some("body.workflow"),
        ),
        (
            top("prompt_no_outputs", "Prompt has no outputs", json!({})),
            Template,
            FailureCode::Transient,
            None,
        ),
        (top("invalid_prompt_id", "no UUID", json!({})), Workflow, FailureCode::BackendDown, None),
        (
            top("missing_node_type", "Node 'Foo' not found", json!({"class_type": "Foo"})),
            Workflow,
            FailureCode::CapabilityMissing,
            None,
        ),
        (
            top("invalid_prompt", "Cannot execute because node Foo does not exist.", json!({})),
            Template,
            FailureCode::CapabilityMissing,
            None,
        ),
        (
            top(
                "invalid_prompt",
                "Cannot execute because a node is missing the class_type property.",
                json!({}),
            ),
            Workflow,
            FailureCode::InvalidJob,
            Some("body.workflow"),
        ),
        (json!({}), Workflow, FailureCode::Transient, None),
    ];
    for (body, source, code, field) in rows {
        let failure = refuse(body.clone(), source);
        assert_eq!((failure.code, failure.field.as_deref()), (code, field), "{body}: {failure:?}");
        if code == FailureCode::CapabilityMissing {
            assert_eq!(failure.missing, ["Foo"], "{body}");
        }
    }
}

#[test]
fn node_faults_become_failures() {
    let fault = |kind: &str, input: &str, value: &str, options: serde_json::Value| {
        json!({"errors": [{"type": kind, "message": "m", "details": format!("{input}: '{value}'"),
            "extra_info": {"input_name": input, "received_value": value, "input_config": options}}],
            "dependent_outputs": [], "class_type": "Some"})
    };
    let both =
        |one: serde_json::Value, other: serde_json::Value| json!({"node_errors": {"1": one, "2": other}});
    let lora = fault("value_not_in_list", "lora_name", "style", serde_json::Value::Null);
    let upscaler = fault("value_not_in_list", "model_name", "4x.pth", json!([["a.pth"], {}]));
    let sampler = fault("value_not_in_list", "sampler_name", "new", json!([["euler"], {}]));
    let image = fault("value_not_in_list", "image", "a.png", json!([[], {}]));

    let failure = refuse(both(lora.clone(), upscaler.clone()), Workflow);
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
    assert_eq!(failure.missing, ["4x.pth", "style"], "all that is missing");

    let failure = refuse(both(lora, sampler.clone()), Workflow);
    assert_eq!(failure.code, FailureCode::InvalidJob, "what nothing can run outweighs what is missing here");
    assert!(failure.message.contains("node 2 (Some), input `sampler_name`"), "{failure:?}");

    let failure = refuse(both(upscaler, image), Workflow);
    assert_eq!(failure.field.as_deref(), Some("body.inputs"), "{failure:?}");

    let width = fault("value_bigger_than_max", "width", "9", json!(["INT", {}]));
    assert_eq!(refuse(json!({"node_errors": {"5": width}}), Template).field.as_deref(), Some("body.width"));
    let failure = refuse(json!({"node_errors": {"5": sampler}}), Template);
    assert_eq!(failure.code, FailureCode::Transient, "our template's fault is not the job's");
}
