//! What the simulated RunPod bills: its workers' time, and what of it is no job's.

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::runpod::{Config, Server};

use crate::support::{ask, client, eventually, until, workflow};

const KEY: (&str, &str) = ("authorization", "Bearer sim-runpod-key");

/// Ten times faster than life: 8 s of start are 800 ms, 5 s of idle time 500 ms.
fn config() -> Config {
    Config { time_scale: 0.1, image_median_ms: 2_000, ..Config::default() }
}

async fn billing(server: &Server, query: &str) -> (StatusCode, Value) {
    ask(client().get(format!("{}/v2/billing/serverless?{query}", server.url())).header(KEY.0, KEY.1)).await
}

fn micro_usd(bill: &Value) -> u64 {
    let records = bill["records"].as_array().expect("records").iter();
    records.map(|record| (record["totalAmount"].as_f64().expect("dollars") * 1e6).round() as u64).sum()
}

async fn run(server: &Server) {
    let request = client().post(format!("{}/run", server.endpoint_url())).header(KEY.0, KEY.1);
    let (_, body) = ask(request.json(&json!({"input": {"workflow": workflow("a fox", 1)}}))).await;
    let url = format!("{}/status/{}", server.endpoint_url(), body["id"].as_str().expect("an id"));
    until(&client(), &url, KEY, "the end", |job| job["status"] == "COMPLETED").await;
}

async fn idle_has_run_out(server: &Server) {
    let url = format!("{}/health", server.endpoint_url());
    let up = |health: &Value| {
        ["idle", "running", "initializing"].iter().any(|state| health["workers"][*state] != 0)
    };
    until(&client(), &url, KEY, "the stop of all workers", |health| !up(health)).await;
}

#[tokio::test]
async fn start_and_idle_are_on_the_bill_and_on_no_jobs_line() {
    let server = Server::start(config()).await.unwrap();
    assert_eq!(billing(&server, "").await.1["records"], json!([]), "nothing was started");
    run(&server).await;
    idle_has_run_out(&server).await;
    let (status, bill) = billing(&server, "bucketSize=hour&lastN=2&serverlessId=sim-endpoint").await;
    assert_eq!(status, StatusCode::OK);
    let jobs = server.admin().invoice().total_micro_usd;
    let (all, least) = (micro_usd(&bill), jobs + (8 + 5) * 190 - 190);
    assert!(all >= least && all.is_multiple_of(190), "{all} for jobs of {jobs}");
    let record = &bill["records"][0];
    assert_eq!((&record["serverlessId"], &record["cpuAmount"]), (&json!("sim-endpoint"), &json!(0.0)));
    // It does not grow any more, and a day is the sum of its hours.
    assert_eq!(micro_usd(&billing(&server, "bucketSize=day&lastN=2").await.1), all);
    assert_eq!(billing(&server, "serverlessId=another").await.1["records"], json!([]));
    let later = "startTime=2200-01-01T00:00:00Z";
    assert_eq!(billing(&server, later).await.1["records"], json!([]));
}

#[tokio::test]
async fn a_warm_worker_is_billed_once_for_its_start() {
    let server = Server::start(Config { workers: 1, ..config() }).await.unwrap();
    run(&server).await;
    run(&server).await;
    idle_has_run_out(&server).await;
    let jobs = server.admin().invoice().total_micro_usd;
    let (_, bill) = billing(&server, "").await;
    let beside = micro_usd(&bill).saturating_sub(jobs);
    assert!(beside < 2 * (8 + 5) * 190, "one start, one pause, one idle timeout: {beside}");
}

#[tokio::test]
async fn the_bill_outlives_the_simulator() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { state_dir: Some(dir.path().to_owned()), ..config() };
    let server = Server::start(config()).await.unwrap();
    run(&server).await;
    idle_has_run_out(&server).await;
    let before = micro_usd(&billing(&server, "").await.1);
    drop(server);
    let server = Server::start(config()).await.unwrap();
    assert_eq!(micro_usd(&billing(&server, "").await.1), before);
}

#[tokio::test]
async fn a_worker_that_is_up_costs_more_each_second() {
    let server = Server::start(Config { idle_timeout_ms: 600_000, ..config() }).await.unwrap();
    run(&server).await;
    let before = micro_usd(&billing(&server, "").await.1);
    eventually("a larger bill", || async {
        (micro_usd(&billing(&server, "").await.1) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn odd_calls_are_refused_in_the_words_of_the_management_api() {
    let server = Server::start(config()).await.unwrap();
    let url = format!("{}/v2/billing/serverless", server.url());
    let (status, body) = ask(client().get(&url).header("authorization", "sim-runpod-key")).await;
    assert_eq!(
        (status, &body["title"]),
        (StatusCode::UNAUTHORIZED, &json!("Unauthorized")),
        "no bare key here"
    );
    for query in
        ["bucketSize=second", "lastN=0", "lastN=2&startTime=2026-01-01T00:00:00Z", "endTime=tomorrow"]
    {
        let (status, body) = billing(&server, query).await;
        assert_eq!((status, &body["status"]), (StatusCode::BAD_REQUEST, &json!(400)), "{query}: {body}");
    }
    server.admin().set_faults(vec![Fault::times("billing_503", 1)]).unwrap();
    assert_eq!(billing(&server, "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(billing(&server, "").await.0, StatusCode::OK);
}
