//! RunPod's answers, and the outputs of its handler in both forms.

use worker_cloud::runpod::wire::{HealthReply, JobReply, RunReply};
use worker_cloud::runpod::{errors, jobs, output};

use crate::target::{self, Target};

const JOBS: [&str; 7] = [
    r#"{"id":"c80f-u1","status":"IN_QUEUE"}"#,
    r#"{"delayTime":2188,"executionTime":1437.2,"id":"c80f-u1","output":{"images":[{"data":"aGVsbG8=","filename":"ComfyUI_00001_.png","type":"base64"}]},"status":"COMPLETED","workerId":"w1"}"#,
    r#"{"id":"a","status":"COMPLETED","executionTime":"12","output":{"images":[{"data":"https://bucket.example/x.png?sig=1","filename":"x.png","type":"s3_url"},{"data":"data:image/png;base64,aGVsbG8="}]}}"#,
    r#"{"id":"a","status":"FAILED","error":"{\"error_type\":\"<class 'torch.OutOfMemoryError'>\",\"error_message\":\"Allocation on device\",\"hostname\":\"h\"}"}"#,
    r#"{"id":"a","status":"FAILED","error":"Workflow validation failed:\n- Node 4 (ckpt_name): Value not in list: ckpt_name: 'x.safetensors' not in ['a']\nNode 'Foo' not found","output":{"details":["one",{"two":2}]}}"#,
    r#"{"id":"a","status":"CANCELLED","workerId":null,"executionTime":null}"#,
    r#"{"id":"a","status":"COMPLETED","output":{"status":"success_no_images","images":[]}}"#,
];

fn job(bytes: &[u8]) -> bool {
    let Ok(reply) = serde_json::from_slice::<JobReply>(bytes) else { return false };
    for (waiting, running) in [(true, false), (true, true), (false, false)] {
        let never_ran = jobs::never_ran(&reply, waiting, running);
        target::price(&jobs::usage(&reply, never_ran), "cloud");
        let _ = jobs::failure(&reply, never_ran);
    }
    let _ = output::files(reply.output.as_ref());
    true
}

fn started(bytes: &[u8]) -> bool {
    serde_json::from_slice::<RunReply>(bytes).is_ok()
}

fn health(bytes: &[u8]) -> bool {
    let Ok(health) = serde_json::from_slice::<HealthReply>(bytes) else { return false };
    let _ = health.workers.alive();
    true
}

/// Prose of handler and proxies is text of any kind.
fn words(bytes: &[u8]) -> bool {
    let body = String::from_utf8_lossy(bytes).into_owned();
    for ran in [false, true] {
        let _ = jobs::translate(&body, ran);
    }
    for status in [302, 400, 401, 402, 404, 408, 413, 418, 429, 500, 524] {
        let error = errors::CallError::Refused { status, retry_after_ms: None, body: body.clone() };
        let _ = (errors::start_failure(&error, 1), errors::unanswered(&error, 1));
    }
    true
}

#[test]
fn answers() {
    let health_body = r#"{"jobs":{"completed":1,"failed":0,"inProgress":0,"inQueue":2,"retried":0},"workers":{"idle":1,"initializing":0,"ready":1,"running":0,"throttled":0,"unhealthy":0}}"#;
    let prose =
        ["CUDA out of memory", "ckpt_name: 'x' not in ['a'] workflow validation failed", "<html>502</html>"];
    target::run(vec![
        Target::new("runpod job", JOBS, job),
        Target::new("runpod run", [r#"{"id":"c80f-u1","status":"IN_QUEUE"}"#], started),
        Target::new("runpod health", [health_body], health),
        Target::new("runpod words", prose, words),
    ]);
}
