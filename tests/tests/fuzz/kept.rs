//! What lies in buckets and beside results, what providers report and bill, and what is read of messages that cannot be
//! read as a whole.

use policy::overhead::{BillUpdate, merge, overhead};
use protocol::router::too_new::Limits;
use schemas::api::{ApiError, EstimateReply, JobRequest, JobWait, RouterPresence};
use schemas::bill::EndpointBill;
use schemas::{
    Artifact, CancelRequest, Encoding, KeyRecord, MicroUsd, SCHEMA_VERSION, codec, samples, subjects,
};
use serde_json::json;
use tests::fuzz::corpus;
use worker_cloud::runpod::billing::BillingReply;
use worker_cloud::runpod::wire::RunReply;
use worker_gemini::gemini::interactions;

use crate::target::{self, Target};
use crate::wire::{example, golden, wire};

/// A document of bucket `BILLS` goes all its way: decoded, merged with what a worker adds, and held against attempts.
fn bill(bytes: &[u8]) -> bool {
    let Ok(bill) = codec::decode::<EndpointBill>(None, bytes) else { return false };
    let _ = bill.key();
    let update = BillUpdate {
        worker: Some(samples::offer().worker),
        billed: Some((MicroUsd(i64::MAX), i64::MAX)),
        seen_micro_usd: MicroUsd(i64::MAX),
        standby_micro_usd: MicroUsd(1),
        number: 1,
    };
    for attempts in [0, 1, i64::MAX, i64::MIN] {
        let _ = overhead(&bill, MicroUsd(attempts));
        let held = overhead(&merge(bill.clone(), &update), MicroUsd(attempts));
        assert!(held.held_micro_usd >= MicroUsd::ZERO, "{held:?}");
    }
    wire::<EndpointBill>(bytes)
}

fn billing(bytes: &[u8]) -> bool {
    let Ok(reply) = worker_host::python_json::from_slice::<BillingReply>(bytes) else { return false };
    if let Ok(days) = reply.by_day("ep-1") {
        assert!(days.values().all(|amount| *amount >= MicroUsd::ZERO), "{days:?}");
    }
    true
}

/// A report comes from any program that knows the address.
fn report(bytes: &[u8]) -> bool {
    let runpod = worker_host::python_json::from_slice::<RunReply>(bytes).is_ok();
    interactions::reported_id(bytes).is_some() || runpod
}

/// JSON as Python writes it, into a shape and into any value.
fn python(bytes: &[u8]) -> bool {
    let _ = worker_host::python_json::from_slice::<RunReply>(bytes);
    worker_host::python_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

/// A list of files beside a result.
fn manifest(bytes: &[u8]) -> bool {
    let Ok(files) = serde_json::from_slice::<Vec<Artifact>>(bytes) else { return false };
    let tenant = samples::job().tenant;
    for file in &files {
        let _ = file.at.origin(&tenant);
    }
    true
}

/// An entry of bucket `CANCELS`: key, a space, value. What is read is stored again under keys that read as the same.
fn cancel(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (key, value) = text.split_once(' ').unwrap_or((&text, ""));
    let Some(request) = CancelRequest::read(key, value.as_bytes()) else { return false };
    for (key, value) in request.entries() {
        assert_eq!(CancelRequest::read(&key, value.as_bytes()).as_ref(), Some(&request));
    }
    true
}

fn api_subject(bytes: &[u8]) -> bool {
    subjects::api_tenant(&String::from_utf8_lossy(bytes)).is_some()
}

/// What is read of a message that may be of a newer schema.
fn too_new(bytes: &[u8]) -> bool {
    let limits = Limits::new(0, 1);
    let found = [limits.check_job(None, bytes), limits.check_letter(None, bytes)];
    found.iter().flatten().count() > 0
}

#[test]
fn buckets() {
    let mut targets = golden("bill", &["endpoint_bill"], bill);
    targets.extend(golden("key", &["key_record"], wire::<KeyRecord>));
    let (job, mut request) = (samples::job_id(), CancelRequest { tenant: None, job: samples::job_id() });
    let mut entries = request.entries();
    request.tenant = Some(samples::job().tenant);
    entries.extend(request.entries());
    let entries = entries.into_iter().map(|(key, value)| format!("{key} {value}"));
    targets.push(Target::new("cancel", entries, cancel));
    let names = [subjects::api(Some(&samples::job().tenant), "status"), format!("argosy.api.{job}.cancel")];
    targets.push(Target::new("subject of a request", names, api_subject));
    target::run(targets);
}

#[test]
fn reports_bills_and_lists() {
    let bills = [
        r#"{"records":[{"startTime":"2026-05-01T00:00:00Z","serverlessId":"ep-1","totalAmount":0.25}]}"#,
        r#"{"records":[{"startTime":"2026-05-01T00:00:00+00:00","totalAmount":"1e3"},{"startTime":"x","serverlessId":"y","totalAmount":null}]}"#,
    ];
    let reports = [
        r#"{"id":"c80f-u1","status":"COMPLETED","output":{"images":[]}}"#,
        r#"{"type":"interaction.completed","data":{"id":"v1_abc"}}"#,
    ];
    let list = serde_json::to_vec(&vec![samples::artifact(); 3]).expect("plain data");
    target::run(vec![
        Target::new("runpod bill", bills, billing),
        Target::new("report", reports, report),
        Target::new("manifest", [list], manifest),
        Target::new("python json", [r#"{"a": [NaN, -Infinity, 1e999], "b": "\ud83d", "c": null}"#], python),
    ]);
}

#[test]
fn what_the_fleet_asks_and_what_is_newer() {
    let (job, tenant) = (samples::job_id(), samples::job().tenant);
    let mut targets = example::<JobRequest>("question of a tenant", &json!({"job": job, "tenant": tenant}));
    let wait = json!({"waits_for": "x", "since_ms": 1, "lane": "batch", "ahead": 7, "sentence": "y"});
    targets.extend(example::<JobWait>("wait", &wait));
    let presence = json!({"router": "router-1", "started_at_ms": 1, "clock_skew_ms": -3});
    targets.extend(example::<RouterPresence>("presence", &presence));
    let estimate = json!({"decision": samples::decision(), "warnings": ["x"]});
    targets.extend(example::<EstimateReply>("estimate reply", &estimate));
    targets.extend(example::<ApiError>("refusal", &json!({"error": "x", "field": "y"})));
    const { assert!(SCHEMA_VERSION > 0, "so that all messages are newer than 0") };
    for (at, encoding) in [Encoding::MessagePack, Encoding::Json].into_iter().enumerate() {
        let starts = ["job", "dead_letter"].map(|name| corpus::golden(name)[at].clone());
        targets.push(Target::new(format!("newer {encoding:?}"), starts, too_new));
    }
    target::run(targets);
}
