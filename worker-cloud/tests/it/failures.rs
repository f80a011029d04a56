//! What answers, their absence, and ended jobs mean.

use schemas::FailureCode::{
    BackendDown, CapabilityMissing, InvalidJob, OutOfMemory, OutcomeUnknown, ProviderStopped, RateLimited,
    Timeout, Transient, UnusableResult,
};
use schemas::{Unit, Usage};
use serde_json::{Value, json};
use worker_cloud::runpod::errors::{CallError, gone, start_failure};
use worker_cloud::runpod::jobs;
use worker_cloud::runpod::wire::{HealthReply, JobReply, Status};

fn reply(document: Value) -> JobReply {
    serde_json::from_value(document).expect("a job object")
}

#[test]
fn starts_that_did_not_succeed() {
    let refused = |status| CallError::Refused { status, retry_after_ms: None, body: "<html>".to_owned() };
    let cases = [
        (CallError::NotSent("connection refused".to_owned()), BackendDown),
        (CallError::Lost("reset".to_owned()), OutcomeUnknown),
        (CallError::Unreadable("no id".to_owned()), OutcomeUnknown),
        (CallError::TooLarge(1), OutcomeUnknown),
        (refused(301), ProviderStopped),
        (refused(400), InvalidJob),
        (refused(401), ProviderStopped),
        (refused(402), ProviderStopped),
        (refused(403), ProviderStopped),
        (refused(404), ProviderStopped),
        (refused(408), OutcomeUnknown),
        (refused(409), Transient),
        (refused(410), ProviderStopped),
        (refused(413), InvalidJob),
        (refused(429), RateLimited),
        (refused(500), OutcomeUnknown),
        (refused(502), OutcomeUnknown),
        (refused(503), OutcomeUnknown),
        (refused(504), OutcomeUnknown),
        (refused(524), OutcomeUnknown),
    ];
    for (error, code) in cases {
        let failure = start_failure(&error, 2_000);
        assert_eq!(failure.code, code, "{error:?}");
        assert!(!failure.message.is_empty());
    }
    assert_eq!(start_failure(&refused(429), 2_000).retry_after_ms, Some(2_000));
    let told = CallError::Refused { status: 429, retry_after_ms: Some(7_000), body: String::new() };
    assert_eq!(start_failure(&told, 2_000).retry_after_ms, Some(7_000));
}

#[test]
fn a_job_that_is_gone() {
    assert_eq!(gone(500, 10_000, true).code, OutcomeUnknown);
    assert_eq!(gone(10_000, 10_000, true).code, Timeout);
    // Not watched: it may as well have ended, and its result been dropped.
    assert_eq!(gone(10_000, 10_000, false).code, OutcomeUnknown);
}

#[test]
fn the_handlers_words() {
    let node = |message: &str| {
        format!(
            "Job processing failed\nWorkflow execution error: Node Type: KSampler, Node ID: 3, Message: {message}"
        )
    };
    let cases = [
        ("Please provide input".to_owned(), InvalidJob),
        ("Please provide the 'prompt'".to_owned(), InvalidJob),
        ("Invalid JSON format in input".to_owned(), InvalidJob),
        ("Missing 'workflow' parameter".to_owned(), InvalidJob),
        ("'images' must be a list of objects with 'name' and 'image' keys".to_owned(), InvalidJob),
        ("Failed to upload one or more input images\nTimeout uploading a.png".to_owned(), Transient),
        (
            "Failed to upload one or more input images\nError decoding base64 for a.png: x".to_owned(),
            InvalidJob,
        ),
        (
            "Failed to upload one or more input images\nError uploading a.png: 413 Client Error: Request Entity Too Large for url: x".to_owned(),
            InvalidJob,
        ),
        ("Some images failed to upload\nError uploading a.png: 500".to_owned(), Transient),
        (
            "Workflow validation failed:\n• Node 4 (errors): required input missing: model".to_owned(),
            InvalidJob,
        ),
        ("Workflow validation failed:\n• Node 4 (ckpt_name): 'x' not in ['a']".to_owned(), CapabilityMissing),
        (
            "Workflow validation failed: Node 'Fancy' not found. Cannot execute because node Fancy does not exist."
                .to_owned(),
            CapabilityMissing,
        ),
        ("Error queuing workflow: HTTP Error 400: Bad Request".to_owned(), InvalidJob),
        ("Error queuing workflow: 400 Client Error: Bad Request for url: x".to_owned(), InvalidJob),
        ("Error queuing workflow: HTTP 500".to_owned(), Transient),
        ("Error queuing prompt: <urlopen error [Errno 111] Connection refused>".to_owned(), Transient),
        ("Max retries reached while waiting for image generation".to_owned(), UnusableResult),
        ("Error waiting for image generation: timed out".to_owned(), Transient),
        ("ComfyUI server (127.0.0.1:8188) not reachable after multiple retries.".to_owned(), Transient),
        ("WebSocket communication error: closed".to_owned(), Transient),
        ("HTTP communication error with ComfyUI: reset".to_owned(), Transient),
        ("Prompt ID 7f not found in history after execution.".to_owned(), Transient),
        ("Job processing failed, prompt ID not found in history.".to_owned(), Transient),
        (node("CUDA out of memory."), OutOfMemory),
        (node("Allocation on device"), OutOfMemory),
        (node("CUDA error: an illegal memory access"), Transient),
        (node("CUDA error: device-side assert triggered"), InvalidJob),
        (node("CUDA error: no kernel image is available for execution on the device"), CapabilityMissing),
        (node("shapes do not match"), InvalidJob),
        ("Job processing failed\nNo outputs found in history for prompt 7f".to_owned(), InvalidJob),
        ("Job processing failed\nError uploading a.png to S3: connection refused".to_owned(), UnusableResult),
        ("Job processing failed\nFailed to fetch image data for a.png from /view endpoint.".to_owned(), UnusableResult),
        (
            "the image does not exist in the specified output folder: /comfyui/output/{}".to_owned(),
            UnusableResult,
        ),
        ("An unexpected error occurred: 'images'".to_owned(), UnusableResult),
        ("An unexpected error occurred: [Errno 28] No space left on device".to_owned(), Transient),
        ("<class 'KeyError'>: 'images'".to_owned(), UnusableResult),
        ("job timed out after 1 retries".to_owned(), Transient),
        ("executionTimeout exceeded".to_owned(), Timeout),
        ("something that no table knows".to_owned(), UnusableResult),
        (String::new(), UnusableResult),
    ];
    for (words, code) in cases {
        assert_eq!(jobs::translate(&words, true).code, code, "{words}");
    }
    // Without a worker, nothing speaks against the job.
    assert_eq!(jobs::translate("something that no table knows", false).code, Transient);
}

#[test]
fn what_is_missing_is_named() {
    let words = "Workflow validation failed:\n• Node 4 (errors): [{\"message\":\"Value not in list\",\"details\":\
        \"ckpt_name: 'x.safetensors' not in ['a.safetensors']\"}]\nAvailable checkpoint models: a.safetensors";
    assert_eq!(jobs::translate(words, true).missing, ["x.safetensors"]);
    let words = "Workflow validation failed: Cannot execute because node FancyNode does not exist.";
    assert_eq!(jobs::translate(words, true).missing, ["FancyNode"]);
}

#[test]
fn ended_jobs() {
    let raised = json!({"error_type": "<class 'torch.OutOfMemoryError'>", "error_message": "Allocation failed",
        "error_traceback": "…", "hostname": "h"});
    let cases = [
        (json!({"status": "FAILED", "error": "job timed out after 1 retries", "retries": 1}), Transient),
        (json!({"status": "FAILED", "error": raised.to_string()}), OutOfMemory),
        (json!({"status": "FAILED", "error": {"odd": 1}}), Transient),
        (json!({"status": "FAILED", "error": {"odd": 1}, "executionTime": 900}), UnusableResult),
        (json!({"status": "FAILED"}), Transient),
        (json!({"status": "FAILED", "executionTime": 0}), Transient),
        (json!({"status": "FAILED", "workerId": "w"}), UnusableResult),
        (
            json!({"status": "FAILED", "error": "Job processing failed", "output": {"details":
                ["Workflow execution error: Node Type: X, Node ID: 1, Message: out of memory"]}}),
            OutOfMemory,
        ),
        (json!({"status": "TIMED_OUT"}), Timeout),
        (json!({"status": "TIMED_OUT", "error": "executionTimeout exceeded"}), Timeout),
        (json!({"status": "CANCELLED"}), Transient),
    ];
    for (document, code) in cases {
        assert_eq!(jobs::failure(&reply(document.clone()), false).code, code, "{document}");
    }
    let failure = jobs::failure(&reply(json!({"status": "FAILED", "error": raised.to_string()})), false);
    let words = failure.provider_words.expect("words");
    assert!(words.contains("Allocation failed") && !words.contains("hostname"), "{words}");
}

#[test]
fn time_is_read_as_it_comes() {
    let quantity = |document| jobs::usage(&reply(document), false);
    let ms = |quantity| vec![Usage { unit: Unit::ExecutionMs, quantity }];
    assert_eq!(quantity(json!({"status": "FAILED", "executionTime": 42_078})), ms(42_078));
    assert_eq!(quantity(json!({"status": "COMPLETED", "executionTime": 1437.2})), ms(1_438));
    assert_eq!(quantity(json!({"status": "CANCELLED", "executionTime": "12"})), ms(12));
    for odd in [
        json!({}),
        json!({"executionTime": null}),
        json!({"executionTime": -1}),
        json!({"executionTime": [1]}),
    ] {
        assert_eq!(quantity(odd), vec![]);
    }
}

#[test]
fn only_what_surely_never_ran_is_free() {
    let cases = [
        (json!({"status": "CANCELLED"}), (true, false), true),
        (json!({"status": "TIMED_OUT"}), (true, false), true),
        (json!({"status": "CANCELLED"}), (false, false), false),
        (json!({"status": "CANCELLED"}), (true, true), false),
        (json!({"status": "CANCELLED", "workerId": "w"}), (true, false), false),
        (json!({"status": "CANCELLED", "executionTime": 5}), (true, false), false),
        (json!({"status": "FAILED"}), (true, false), false),
    ];
    for (document, (waiting, running), expected) in cases {
        assert_eq!(jobs::never_ran(&reply(document.clone()), waiting, running), expected, "{document}");
    }
}

#[test]
fn states_are_an_open_set() {
    let status = |text: &str| reply(json!({"status": text})).status;
    assert_eq!(status("IN_QUEUE"), Status::InQueue);
    assert_eq!(status("RUNNING"), Status::InProgress);
    assert_eq!(status("IN_PROGRESS"), Status::InProgress);
    assert!(!status("REBALANCING").is_terminal());
    assert!(!reply(json!({"id": "x"})).status.is_terminal());
    for ended in ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"] {
        assert!(status(ended).is_terminal(), "{ended}");
    }
}

#[test]
fn health_is_read_as_documented() {
    let health: HealthReply = serde_json::from_value(json!({
        "jobs": {"completed": 1, "failed": 5, "inProgress": 0, "inQueue": 2, "retried": 0},
        "workers": {"idle": 0, "initializing": 1, "ready": 0, "running": 0, "throttled": 0, "unhealthy": 3},
    }))
    .expect("the documented form");
    assert_eq!((health.jobs.in_queue, health.workers.alive(), health.workers.unhealthy), (2, 1, 3));
}
