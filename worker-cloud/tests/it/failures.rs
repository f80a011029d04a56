//! What answers, their absence, and ended jobs mean.

use schemas::FailureCode::{
    BackendDown, CapabilityMissing, InvalidJob, OutOfMemory, OutcomeUnknown, ProviderStopped, RateLimited,
    Timeout, Transient,
};
use schemas::{FailureCode, Unit, Usage};
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
    let cases: [(&str, FailureCode); 24] = [
        ("Please provide input", InvalidJob),
        ("Invalid JSON format in input", InvalidJob),
        ("Missing 'workflow' parameter", InvalidJob),
        ("'images' must be a list of objects with 'name' and 'image' keys", InvalidJob),
        ("Failed to upload one or more input images", Transient),
        ("Workflow validation failed:\n• Node 4 (errors): required input missing: model", InvalidJob),
        ("Workflow validation failed:\n• Node 4 (ckpt_name): 'x' not in ['a']", CapabilityMissing),
        (
            "Workflow validation failed: Node 'Fancy' not found. Cannot execute because node Fancy does not exist.",
            CapabilityMissing,
        ),
        ("Error queuing workflow: HTTP 500", Transient),
        ("ComfyUI server (127.0.0.1:8188) not reachable after multiple retries.", Transient),
        ("WebSocket communication error: closed", Transient),
        ("HTTP communication error with ComfyUI: reset", Transient),
        ("Prompt ID 7f not found in history after execution.", Transient),
        ("Job processing failed, prompt ID not found in history.", Transient),
        (
            "Job processing failed\nWorkflow execution error: Node Type: KSampler, Node ID: 3, Message: CUDA out of memory.",
            OutOfMemory,
        ),
        (
            "Job processing failed\nWorkflow execution error: Node Type: KSampler, Node ID: 3, Message: Allocation on device",
            OutOfMemory,
        ),
        (
            "Job processing failed\nWorkflow execution error: Node Type: KSampler, Node ID: 3, Message: CUDA error: an illegal memory access",
            Transient,
        ),
        (
            "Job processing failed\nWorkflow execution error: Node Type: VAEDecode, Node ID: 8, Message: shapes do not match",
            InvalidJob,
        ),
        ("Job processing failed\nNo outputs found in history for prompt 7f", InvalidJob),
        ("An unexpected error occurred: x", Transient),
        ("job timed out after 1 retries", Transient),
        ("executionTimeout exceeded", Timeout),
        ("something nobody has seen", Transient),
        ("", Transient),
    ];
    for (words, code) in cases {
        assert_eq!(jobs::translate(words).code, code, "{words}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let words = "Workflow validation failed:\n• Node 4 (errors): [{\"message\":\"Value not in list\",\"details\":\
        \"ckpt_name: 'x.safetensors' not in ['a.safetensors']\"}]\nAvailable checkpoint models: a.safetensors";
    assert_eq!(jobs::translate(words).missing, ["x.safetensors"]);
    let words = "Workflow validation failed: Cannot execute because node FancyNode does not exist.";
    assert_eq!(jobs::translate(words).missing, ["FancyNode"]);
}

#[test]
fn ended_jobs() {
    let raised = json!({"error_type": "<class 'torch.OutOfMemoryError'>", "error_message": "Allocation failed",
        "error_traceback": "…", "hostname": "h"});
    let cases = [
        (json!({"status": "FAILED", "error": "job timed out after 1 retries", "retries": 1}), Transient),
        (json!({"status": "FAILED", "error": raised.to_string()}), OutOfMemory),
        (json!({"status": "FAILED", "error": {"odd": 1}}), Transient),
        (json!({"status": "FAILED"}), Transient),
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
