//! The body of `/run`, and the files of an output.

use bytes::Bytes;
use schemas::samples::TIME_MS as NOW_MS;
use schemas::{Assignment, FailureCode, MicroUsd, Price};
use serde_json::{Value, json};
use worker_cloud::runpod::request::{self, Limits};
use worker_host::funds;

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
        let Limits { execution_ms, ttl_ms } = request::limits(&assignment, &service, &prices, NOW_MS);
        (execution_ms, ttl_ms)
    };
    let week = 7 * 24 * 3_600_000;
    assert_eq!(limits(180_000, 600_000, 1_000_000), (180_000, 780_000));
    assert_eq!(limits(180_000, 60_000, 1_000_000), (60_000, 120_000));
    assert_eq!(limits(1_000, 1_000, 1_000_000), (5_000, 10_000));
    assert_eq!(limits(u64::MAX, u64::MAX, i64::MAX), (week, week));
    // 190 micro-dollars buy a second; a fraction is not bought, because a second that was begun is billed.
    assert_eq!(limits(180_000, 600_000, 190 * 20), (20_000, 620_000));
    assert_eq!(limits(180_000, 600_000, 190 * 20 - 1).0, 19_000);
    // Nothing is free here, whatever is configured: no money, no time.
    assert_eq!(limits(180_000, 600_000, 0).0, 0);
}

#[test]
fn limits_hold_at_the_dearest_price_until_the_end() {
    let catalog = policy::defaults::catalog();
    let mut assignment = assignment();
    // Time to live: 300 s in a queue, then 100 s of work.
    let mut service = catalog.service(&assignment.backend, &assignment.class).expect("shipped").clone();
    service.maximum_usage[0].quantity = 100_000;
    (assignment.time_ms, assignment.timeout_ms) = (NOW_MS - 60_000, 300_000);
    assignment.job.constraints.deadline_ms = None;
    assignment.reserved_micro_usd = MicroUsd(190 * 60);
    let bought = |assignment: &Assignment, changes: &[(i64, i64)]| {
        let mut prices = policy::defaults::prices();
        let first = prices.prices.iter().position(|price| price.model == "ampere-24").expect("shipped");
        let first = prices.prices.remove(first);
        let begins = std::iter::once((i64::MIN / 2, 190_000)).chain(changes.iter().copied());
        let ends = changes.iter().map(|(at_s, _)| Some(NOW_MS + at_s * 1_000)).chain([None]);
        for ((at_s, price), valid_until_ms) in begins.zip(ends) {
            prices.prices.push(Price {
                valid_from_ms: NOW_MS.saturating_add(at_s.saturating_mul(1_000)),
                valid_until_ms,
                micro_usd_per_million: MicroUsd(price),
                ..first.clone()
            });
        }
        request::limits(assignment, &service, &prices, NOW_MS).execution_ms
    };
    let cases: [(&[(i64, i64)], u64); 7] = [
        (&[], 60_000),
        // It rose while the work waited, rises while it waits at the provider, or while it runs there.
        (&[(-30, 380_000)], 30_000),
        (&[(200, 570_000)], 20_000),
        (&[(399, 380_000)], 30_000),
        // It has ended by then.
        (&[(601, 3_800_000)], 60_000),
        // It fell since, and it was higher for a moment only.
        (&[(-30, 95_000)], 60_000),
        (&[(10, 1_900_000), (11, 190_000)], 6_000),
    ];
    for (changes, wanted) in cases {
        assert_eq!(bought(&assignment, changes), wanted, "{changes:?}");
    }
    // Too little for the shortest limit: handed back unstarted, to be planned again with the prices of now.
    let limits = Limits { execution_ms: bought(&assignment, &[(-1, 2_400_000)]), ttl_ms: 600_000 };
    let failure = request::check_limits(&assignment, limits).expect_err("4.75 s, and four whole ones");
    assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::Interrupted, Some(funds::FIELD)));
    assert!(
        failure.message.contains("4000 ms") && failure.message.contains("5000 ms"),
        "{}",
        failure.message
    );
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
    let assignment = assignment();
    request::check_limits(&assignment, Limits { execution_ms: 5_000, ..limits }).expect("the shortest");
    let failure =
        request::check_limits(&assignment, Limits { execution_ms: 4_999, ..limits }).expect_err("too poor");
    assert_eq!(failure.code, FailureCode::Interrupted);
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
    assert_eq!(own["9"]["inputs"]["filename_prefix"], json!(format!("{prefix}/mine")));
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

#[test]
fn files_at_a_shared_container_are_the_attempts_own_or_nothing_is_sent() {
    let catalog = policy::defaults::catalog();
    let mut assignment = assignment();
    let artifact = schemas::ArtifactRef::new("ARTIFACTS", "in/x");
    assignment.job.body.inputs = vec![schemas::Input {
        name: "photo.png".to_owned(),
        artifact,
        media_type: "image/png".to_owned(),
        unknown: schemas::UnknownFields::default(),
    }];
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
