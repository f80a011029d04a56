//! The body of `/run`, and the files of an output.

use bytes::Bytes;
use schemas::{FailureCode, MicroUsd};
use serde_json::{Value, json};
use worker_cloud::runpod::request::{self, Limits};

use crate::world::assignment;

#[test]
fn limits_follow_service_attempt_and_money() {
    let catalog = policy::defaults::catalog();
    let prices = policy::defaults::prices();
    let mut assignment = assignment();
    let mut service = catalog.service(&assignment.backend, &assignment.class).expect("shipped").clone();
    let mut limits = |maximum_ms, timeout_ms, reserved| {
        service.maximum_usage[0].quantity = maximum_ms;
        assignment.timeout_ms = timeout_ms;
        assignment.reserved_micro_usd = MicroUsd(reserved);
        let Limits { execution_ms, ttl_ms } = request::limits(&assignment, &service, &prices);
        (execution_ms, ttl_ms)
    };
    let week = 7 * 24 * 3_600_000;
    assert_eq!(limits(180_000, 600_000, 1_000_000), (180_000, 780_000));
    assert_eq!(limits(180_000, 60_000, 1_000_000), (60_000, 120_000));
    assert_eq!(limits(1_000, 1_000, 1_000_000), (5_000, 10_000));
    assert_eq!(limits(u64::MAX, u64::MAX, i64::MAX), (week, week));
    // 190 micro-dollars buy a second; a fraction is not bought.
    assert_eq!(limits(180_000, 600_000, 190 * 20), (20_000, 620_000));
    assert_eq!(limits(180_000, 600_000, 190 * 20 - 1).0, 19_994);
    // Free by configuration: no money, no limit by money.
    assert_eq!(limits(180_000, 600_000, 0).0, 180_000);
}

#[test]
fn the_body_is_what_worker_comfyui_reads() {
    let limits = Limits { execution_ms: 60_000, ttl_ms: 120_000 };
    let inputs = [("in.png", Bytes::from_static(b"hello"))];
    let body = request::body(&json!({"1": {}}), &inputs, limits, Some("https://me/r")).expect("small");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "input": {"workflow": {"1": {}}, "images": [{"name": "in.png", "image": "aGVsbG8="}]},
            "policy": {"executionTimeout": 60_000, "ttl": 120_000},
            "webhook": "https://me/r",
        })
    );
    let body = request::body(&json!({}), &[], limits, None).expect("small");
    assert!(!String::from_utf8_lossy(&body).contains("images"));
}

#[test]
fn too_much_to_send_and_too_little_to_spend_are_refused_before_the_start() {
    let limits = Limits { execution_ms: 60_000, ttl_ms: 120_000 };
    let large = [("in.png", Bytes::from(vec![0_u8; 8_000_000]))];
    let failure = request::body(&json!({}), &large, limits, None).expect_err("too large");
    assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::InvalidJob, Some("body.inputs")));
    assert!(failure.message.contains("10000000"), "{}", failure.message);
    let failure =
        request::body(&json!({}), &[], Limits { execution_ms: 4_999, ..limits }, None).expect_err("too poor");
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
}

#[test]
fn graphs_carry_the_attempts_name() {
    let catalog = policy::defaults::catalog();
    let mut assignment = assignment();
    let prefix = format!("argosy/{}", assignment.id());
    let rendered = request::graph(&assignment, &catalog).expect("shipped model");
    assert!(rendered.to_string().contains(&prefix));
    assert!(rendered.to_string().contains("a lighthouse at dusk"));

    assignment.job.body.model = Some("no-such-model".to_owned());
    let failure = request::graph(&assignment, &catalog).expect_err("no such model");
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
    assert_eq!(failure.missing, ["no-such-model"]);

    assignment.job.body.workflow =
        Some(json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "mine"}}}));
    let own = request::graph(&assignment, &catalog).expect("its own");
    assert_eq!(own["9"]["inputs"]["filename_prefix"], json!(prefix));
}

#[test]
fn names_that_need_escapes_stay_names() {
    let limits = Limits { execution_ms: 60_000, ttl_ms: 120_000 };
    let inputs = [("a\"b\\.png", Bytes::from_static(b"x")), ("ü.png", Bytes::from_static(b"yz"))];
    let body = request::body(&json!({"1": {"text": "a \"quote\""}}), &inputs, limits, Some("https://me/\"r"))
        .expect("small");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        body["input"]["images"],
        json!([{"name": "a\"b\\.png", "image": "eA=="}, {"name": "ü.png", "image": "eXo="}])
    );
    assert_eq!(
        (&body["input"]["workflow"]["1"]["text"], &body["webhook"]),
        (&json!("a \"quote\""), &json!("https://me/\"r"))
    );
}
