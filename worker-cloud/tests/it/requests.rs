//! The body of `/run`, and the files of an output.

use bytes::Bytes;
use schemas::{FailureCode, MicroUsd};
use serde_json::{Value, json};
use worker_cloud::runpod::output::{self, Content};
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
    let inputs = [("in.png".to_owned(), Bytes::from_static(b"hello"))];
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
    let large = [("in.png".to_owned(), Bytes::from(vec![0_u8; 8_000_000]))];
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
fn files_at_a_shared_container_are_the_attempts_own_or_nothing_is_sent() {
    let catalog = policy::defaults::catalog();
    let mut assignment = assignment();
    let artifact = schemas::ArtifactRef { bucket: "ARTIFACTS".to_owned(), key: "in/x".to_owned() };
    assignment.job.body.inputs =
        vec![schemas::Input { name: "photo.png".to_owned(), artifact, media_type: "image/png".to_owned() }];
    let names = request::input_names(&assignment);
    assert_eq!(names, [format!("argosy-{}-0-photo.png", assignment.id())], "a plain name: no folder is made");
    let graph = |image: &Value| json!({"1": {"class_type": "LoadImage", "inputs": {"image": image}}});
    for form in [json!("photo.png"), json!("pasted/photo.png [input]"), json!("clipspace\\photo.png")] {
        let mut graph = graph(&form);
        request::place_inputs(&mut graph, &assignment, &catalog).expect("its own");
        assert_eq!(graph["1"]["inputs"]["image"], json!(names[0]), "{form}");
    }
    let mut next = assignment.clone();
    next.attempt += 1;
    assert_ne!(request::input_names(&next), names, "no two attempts share a name");
    for form in
        [json!("other.png"), json!("photo.png [output]"), json!({"a": ["other.png"]}), json!(names[0])]
    {
        let mut graph = graph(&form);
        let failure = request::place_inputs(&mut graph, &assignment, &catalog).expect_err("another's");
        assert_eq!(failure.code, FailureCode::InvalidJob, "{form}");
        assert!(failure.message.contains("body.inputs"), "{form}: {}", failure.message);
    }
}

#[test]
fn files_are_found_in_every_form() {
    let output = json!({
        "images": [
            {"filename": "ComfyUI_00001_.png", "type": "base64", "data": "aGVsbG8="},
            {"filename": "b.webp", "type": "base64", "data": "data:image/webp;base64,aGVsbG8="},
            {"filename": "c.mp4", "type": "s3_url", "data": "https://bucket.example/c.mp4?sig=1"},
        ],
        "errors": ["one output failed"],
    });
    let files = output::files(Some(&output)).expect("files");
    let hello = Content::Bytes(Bytes::from_static(b"hello"));
    assert_eq!(files[0].content, hello);
    assert_eq!(files[1].content, hello);
    assert_eq!(files[2].content, Content::Url("https://bucket.example/c.mp4?sig=1".to_owned()));
}

#[test]
fn a_success_without_files_is_none() {
    let cases = [
        (None, FailureCode::Transient),
        (Some(Value::Null), FailureCode::Transient),
        (Some(json!({})), FailureCode::Transient),
        (Some(json!({"images": []})), FailureCode::Transient),
        (Some(json!({"images": [{"filename": "a.png"}]})), FailureCode::Transient),
        (
            Some(json!({"images": [{"filename": "a.png", "type": "base64", "data": "%%%"}]})),
            FailureCode::Transient,
        ),
        (
            Some(json!({"images": [{"filename": "a.png", "type": "base64", "data": ""}]})),
            FailureCode::Transient,
        ),
        (Some(json!({"status": "success_no_images", "images": []})), FailureCode::InvalidJob),
    ];
    for (output, code) in cases {
        let failure = output::files(output.as_ref()).expect_err("no files");
        assert_eq!(failure.code, code, "{output:?}");
    }
}
