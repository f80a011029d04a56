//! The billing call: its shapes in a table, and the estimate until it answers.

use schemas::MicroUsd;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::runpod::Config;
use worker_cloud::RunPodConfig;
use worker_cloud::backend::worker_time::WorkerTime;
use worker_cloud::bill::Billing;
use worker_cloud::runpod::billing::BillingReply;
use worker_cloud::runpod::wire::JobReply;
use worker_host::Backend as _;
use worker_host::overhead::Scaling;

use crate::world::{World, assignment, attempt, fleet, simulated};

/// 2026-11-23.
const DAY: i32 = 20_780;

fn days(records: &Value) -> Result<Vec<(i32, i64)>, String> {
    let reply: BillingReply =
        serde_json::from_value(json!({ "records": records })).map_err(|error| error.to_string())?;
    let days = reply.by_day("e").map_err(|error| error.to_string())?;
    Ok(days.into_iter().map(|(day, amount)| (day, amount.0)).collect())
}

#[test]
fn bills_are_read_by_day() {
    let record =
        |time: &str, amount: Value| json!({"startTime": time, "serverlessId": "e", "totalAmount": amount});
    let day = "2026-11-23T00:00:00Z";
    for (records, wanted) in [
        (json!([]), vec![]),
        (json!([record(day, json!(0.01235))]), vec![(DAY, 12_350)]),
        (json!([record(day, json!("0.01235"))]), vec![(DAY, 12_350)]),
        (json!([record(day, json!(0))]), vec![(DAY, 0)]),
        // Hours add up to their day; fields that are not known change nothing.
        (
            json!([
                record("2026-11-23T05:00:00.000Z", json!(0.1)),
                record("2026-11-23T06:00:00+00:00", json!(0.2))
            ]),
            vec![(DAY, 300_000)],
        ),
        (
            json!([record("1970-01-01T00:00:00Z", json!(1)), record("2028-02-29T00:00:00Z", json!(1))]),
            vec![(0, 1_000_000), (21_243, 1_000_000)],
        ),
        // Without a filter every endpoint has records; one without an id is of the endpoint that was asked for.
        (
            json!([{"startTime": day, "serverlessId": "another", "totalAmount": 9}, {"startTime": day, "totalAmount": 1}]),
            vec![(DAY, 1_000_000)],
        ),
    ] {
        assert_eq!(days(&records), Ok(wanted), "{records}");
    }
    for (records, words) in [
        (json!([record("yesterday", json!(1))]), "records[0].startTime is `yesterday`"),
        (json!([record("2026-13-01T00:00:00Z", json!(1))]), "records[0].startTime"),
        (json!([record("2026-11-23T00:00:00-05:00", json!(1))]), "records[0].startTime"),
        (json!([record(day, json!(1)), record(day, json!(-1))]), "records[1].totalAmount is -1"),
        (json!([record(day, json!("much"))]), "records[0].totalAmount is \"much\""),
        (json!([record(day, Value::Null)]), "records[0].totalAmount is null"),
        (json!([{"startTime": day}]), "totalAmount"),
    ] {
        let error = days(&records).expect_err(words);
        assert!(error.contains(words), "{error} / {words}");
    }
}

#[test]
fn what_is_seen_of_workers_is_told_once() {
    let scaling = Scaling { start_ms: 30_000, idle_timeout_ms: 5_000, workers_max: 3 };
    let time = WorkerTime::new(scaling);
    let job = |worker: Value, delay: u64, ran: u64| -> JobReply {
        let reply =
            json!({"status": "COMPLETED", "workerId": worker, "delayTime": delay, "executionTime": ran});
        serde_json::from_value(reply).expect("a reply")
    };
    let noon_ms = i64::from(DAY) * 86_400_000 + 43_200_000;
    time.note(&job(json!("w1"), 8_000, 2_000), noon_ms);
    // The same worker two seconds later, another one, and a job that no worker took.
    time.note(&job(json!("w1"), 10, 1_000), noon_ms + 3_000);
    time.note(&job(json!("w2"), 9_000, 1_000), noon_ms + 3_000);
    time.note(&job(Value::Null, 60_000, 0), noon_ms + 3_000);
    let seen: Vec<(i32, u64)> = time.take().into_iter().collect();
    assert_eq!(seen, [(DAY, 13_000 + 2_000 + 14_000)]);
    assert!(time.take().is_empty());
    time.put_back(DAY, 7);
    assert_eq!(time.take().into_iter().collect::<Vec<_>>(), [(DAY, 7)]);
    // A minute later it had stopped.
    time.note(&job(json!("w1"), 500, 0), noon_ms + 63_000);
    assert_eq!(time.take().into_iter().collect::<Vec<_>>(), [(DAY, 5_500)]);
}

#[test]
fn the_billing_call_goes_to_the_management_host() {
    let config = |base: &str, billing: Option<&str>| RunPodConfig {
        base_url: base.to_owned(),
        billing_url: billing.map(str::to_owned),
        endpoint: "e".to_owned(),
        api_key: runtime::config::Secret::new("k".to_owned()),
        ..RunPodConfig::default()
    };
    for (base, billing, wanted) in [
        ("https://api.runpod.ai/v2", None, "https://api.runpod.io/v2/billing/serverless"),
        ("http://127.0.0.1:9/v2/", None, "http://127.0.0.1:9/v2/billing/serverless"),
        ("https://api.runpod.ai/v2", Some("https://x.example/bill"), "https://x.example/bill"),
    ] {
        let url = config(base, billing).billing_url().expect("an address");
        assert_eq!(url.as_str(), wanted);
    }
    let error = config("https://api.runpod.ai/v2", Some("ftp://x")).check().expect_err("no http");
    assert!(error.to_string().contains("runpod.billing_url"), "{error}");
    let never = RunPodConfig { bill_every_ms: Some(0), ..config("https://api.runpod.ai/v2", None) };
    assert!(never.check().expect_err("no pause").to_string().contains("runpod.bill_every_ms"));
}

#[tokio::test]
async fn the_bill_is_asked_for_and_an_outage_leaves_the_estimate() {
    let world = World::start(Config { cold_start_ms: 2_000, ..simulated() }).await;
    let backend = world.backend();
    let billing = || {
        let worker = "cloud-1".parse().expect("a name");
        Billing::new(world.config.clone(), backend.worker_time(), fleet(), worker, true).expect("good")
    };
    assert!(billing().fetch().await.is_empty(), "nothing was started, and nothing is billed");
    let (made, _io, _stopper) = attempt(&assignment(), None);
    assert_eq!(backend.run(&made).await.failure, None);
    let billed: MicroUsd =
        billing().fetch().await.into_values().map(|(amount, _)| amount).max().expect("a worker was started");
    assert!(billed.0 > world.invoice(), "the start is on the bill: {billed} and jobs of {}", world.invoice());
    world.arm(vec![Fault::always("billing_503")]);
    assert!(billing().fetch().await.is_empty(), "no answer, no bill");
    let seen: u64 = backend.worker_time().take().into_values().sum();
    assert!(seen >= 5_000, "a start and an idle timeout are estimated: {seen} ms");
}
