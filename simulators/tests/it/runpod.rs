//! The simulated RunPod: states, failures, money.

use std::sync::{Arc, Mutex};

use base64::Engine;
use reqwest::StatusCode;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::runpod::{Config, OutputMode, Server};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::{DEADLINE, ask, client, eventually, until, workflow};

const KEY: (&str, &str) = ("authorization", "Bearer sim-runpod-key");

fn fast() -> Config {
    Config { time_scale: 0.001, ..Config::default() }
}

async fn submit(server: &Server, input: Value) -> String {
    let request = client().post(format!("{}/run", server.endpoint_url())).header(KEY.0, KEY.1);
    let (status, body) = ask(request.json(&json!({"input": input}))).await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("IN_QUEUE")), "{body}");
    body["id"].as_str().unwrap().to_owned()
}

async fn ended(server: &Server, id: &str) -> Value {
    let url = format!("{}/status/{id}", server.endpoint_url());
    let open = |body: &Value| body["status"] == "IN_QUEUE" || body["status"] == "IN_PROGRESS";
    until(&client(), &url, KEY, "the end", |body| !open(body)).await
}

fn run(prompt: &str) -> Value {
    json!({"workflow": workflow(prompt, 1)})
}

#[tokio::test]
async fn a_job_completes_and_is_billed_by_its_execution_time() {
    let server = Server::start(fast()).await.unwrap();
    let id = submit(&server, run("a fox")).await;
    assert!(id.ends_with("-u1"), "{id}");
    let job = ended(&server, &id).await;
    assert_eq!(job["status"], "COMPLETED", "{job}");
    let image = &job["output"]["images"][0];
    assert_eq!((&image["filename"], &image["type"]), (&json!("hint-1_00001_.png"), &json!("base64")));
    let bytes = base64::engine::general_purpose::STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    let ms = job["executionTime"].as_u64().unwrap();
    assert!((24_000..=45_000).contains(&ms), "{ms} ms in provider time");
    let invoice = server.admin().invoice();
    assert_eq!(invoice.lines.len(), 1);
    assert_eq!(invoice.total_micro_usd, ms.div_ceil(1000) * 190, "begun seconds");
    let line = &invoice.lines[0];
    assert_eq!(
        (line.provider_id.as_str(), line.quantity, line.job_hint.as_str()),
        (id.as_str(), ms.div_ceil(1000), "hint-1")
    );
}

#[tokio::test]
async fn a_wrong_key_or_endpoint_gets_nowhere() {
    let server = Server::start(fast()).await.unwrap();
    let health = |url: String, key: &str| client().get(url).header("authorization", key.to_owned());
    let good = format!("{}/health", server.endpoint_url());
    assert_eq!(ask(health(good.clone(), "Bearer wrong")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(health(good, "sim-runpod-key")).await.0, StatusCode::OK, "a bare key is accepted");
    let other = format!("{}/v2/elsewhere/health", server.url());
    assert_eq!(ask(health(other, KEY.1)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.admin().stats().auth_failures, 1);
}

#[tokio::test]
async fn failures_look_like_the_platforms() {
    let server = Server::start(fast()).await.unwrap();
    let cases: [(Option<&str>, Value, &str, &str); 6] = [
        (Some("failed_oom"), run("x"), "FAILED", "Allocation on device"),
        (Some("failed_json_error"), run("x"), "FAILED", "\"error_type\""),
        (Some("timed_out_after_retries"), run("x"), "FAILED", "job timed out after 1 retries"),
        (None, json!({}), "FAILED", "job timed out after 1 retries"),
        (None, json!({"other": 1}), "FAILED", "Missing 'workflow' parameter"),
        (
            None,
            json!({"workflow": {"1": {"class_type": "NoSuch", "inputs": {}}}}),
            "FAILED",
            "Workflow validation failed:",
        ),
    ];
    for (fault, input, status, text) in cases {
        server.admin().set_faults(fault.into_iter().map(|name| Fault::times(name, 1)).collect()).unwrap();
        let job = ended(&server, &submit(&server, input).await).await;
        assert_eq!(job["status"], status, "{job}");
        assert!(job["error"].as_str().unwrap().contains(text), "{text}: {job}");
        assert!(job["output"].is_null());
    }
    let invoice = server.admin().invoice();
    assert_eq!(invoice.lines.len(), 6, "failed executions are billed too");
    assert!(invoice.lines.iter().all(|line| line.amount_micro_usd > 0));
}

#[tokio::test]
async fn a_result_may_be_lost_although_completed() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("completed_without_output", 1)]).unwrap();
    let job = ended(&server, &submit(&server, run("x")).await).await;
    assert_eq!((&job["status"], &job["output"]), (&json!("COMPLETED"), &Value::Null));
    assert_eq!(server.admin().invoice().lines.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_an_orphan_that_is_billed() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("lost_run_answer", 1)]).unwrap();
    let request = client().post(format!("{}/run", server.endpoint_url())).header(KEY.0, KEY.1);
    assert!(request.json(&json!({"input": run("x")})).send().await.is_err(), "no answer");
    eventually("the orphan's bill", || async { server.admin().invoice().lines.pop() }).await;
    assert_eq!(server.admin().stats().posts, 1);
}

#[tokio::test]
async fn too_long_an_execution_is_stopped_and_billed_to_the_limit() {
    let server = Server::start(fast()).await.unwrap();
    let request = client().post(format!("{}/run", server.endpoint_url())).header(KEY.0, KEY.1);
    let body = json!({"input": run("x"), "policy": {"executionTimeout": 5_000}});
    let (_, answer) = ask(request.json(&body)).await;
    let job = ended(&server, answer["id"].as_str().unwrap()).await;
    assert!(job["status"] == "TIMED_OUT" || job["status"] == "FAILED");
    assert_eq!(job["error"], "executionTimeout exceeded");
    assert_eq!(server.admin().invoice().total_micro_usd, 950);
}

#[tokio::test]
async fn cancelling_bills_what_ran_and_nothing_that_waited() {
    let config = Config { workers: 1, cold_start_ms: 0, time_scale: 0.1, ..Config::default() };
    let server = Server::start(config).await.unwrap();
    let (running, queued) = (submit(&server, run("a")).await, submit(&server, run("b")).await);
    let status = format!("{}/status/{running}", server.endpoint_url());
    until(&client(), &status, KEY, "the job to run", |body| body["status"] == "IN_PROGRESS").await;
    for id in [&queued, &running] {
        let request = client().post(format!("{}/cancel/{id}", server.endpoint_url())).header(KEY.0, KEY.1);
        assert_eq!(ask(request).await.1, json!({"id": id, "status": "CANCELLED"}));
        assert_eq!(ended(&server, id).await["status"], "CANCELLED");
    }
    let lines = server.admin().invoice().lines;
    assert!(lines.iter().all(|line| line.provider_id == running), "{lines:?}");
    assert!(lines.iter().all(|line| line.quantity < 45_000), "only what ran: {lines:?}");
}

#[tokio::test]
async fn http_faults_come_and_go() {
    let server = Server::start(fast()).await.unwrap();
    let id = submit(&server, run("x")).await;
    ended(&server, &id).await;
    for (name, wanted) in [
        ("http_429", StatusCode::TOO_MANY_REQUESTS),
        ("http_401", StatusCode::UNAUTHORIZED),
        ("http_502", StatusCode::BAD_GATEWAY),
        ("status_404", StatusCode::NOT_FOUND),
    ] {
        server.admin().set_faults(vec![Fault { node: None, ..Fault::times(name, 1) }]).unwrap();
        let get = || client().get(format!("{}/status/{id}", server.endpoint_url())).header(KEY.0, KEY.1);
        assert_eq!(ask(get()).await.0, wanted, "{name}");
        assert_eq!(ask(get()).await.0, StatusCode::OK, "after {name}");
    }
}

#[tokio::test]
async fn queue_forever_never_starts_and_blocks_nobody() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("queue_forever", 1)]).unwrap();
    let stuck = submit(&server, run("x")).await;
    assert_eq!(ended(&server, &submit(&server, run("y")).await).await["status"], "COMPLETED");
    let (_, job) =
        ask(client().get(format!("{}/status/{stuck}", server.endpoint_url())).header(KEY.0, KEY.1)).await;
    assert_eq!(job["status"], "IN_QUEUE");
}

#[tokio::test]
async fn s3_urls_lead_to_the_files() {
    let server = Server::start(Config { output: OutputMode::S3Url, ..fast() }).await.unwrap();
    let job = ended(&server, &submit(&server, run("x")).await).await;
    let image = &job["output"]["images"][0];
    assert_eq!(image["type"], "s3_url");
    let answer = client().get(image["data"].as_str().unwrap()).send().await.unwrap();
    assert!(answer.bytes().await.unwrap().starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn the_provider_remembers_what_a_restart_interrupts() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Config {
        time_scale: 0.02,
        workers: 1,
        cold_start_ms: 0,
        state_dir: Some(dir.path().to_owned()),
        ..Config::default()
    };
    let server = Server::start(slow.clone()).await.unwrap();
    let (running, queued) = (submit(&server, run("a")).await, submit(&server, run("b")).await);
    let status = format!("{}/status/{running}", server.endpoint_url());
    until(&client(), &status, KEY, "the job to run", |body| body["status"] == "IN_PROGRESS").await;
    drop(server);
    let server = Server::start(slow.clone()).await.unwrap();
    let mut amounts = Vec::new();
    for id in [&running, &queued] {
        let job = ended(&server, id).await;
        assert_eq!(job["status"], "COMPLETED", "{job}");
        assert!(job["output"]["images"][0]["data"].is_string());
        amounts.push(job["executionTime"].as_u64().unwrap().div_ceil(1000) * 190);
    }
    let before = server.admin().invoice();
    assert_eq!(before.total_micro_usd, amounts.iter().sum::<u64>(), "each billed once");
    drop(server);
    let server = Server::start(slow).await.unwrap();
    assert_eq!(server.admin().invoice(), before, "and the bill outlives another restart");
    assert!(ended(&server, &running).await["output"]["images"][0]["data"].is_string(), "drawn again");
}

/// A webhook that answers as given, then with 200, and passes on which job each call was about.
struct Hook {
    url: String,
    heard: mpsc::Receiver<String>,
    _serving: JoinSet<std::io::Result<()>>,
}

impl Hook {
    async fn answering(answers: Vec<StatusCode>) -> Self {
        let (told, heard) = mpsc::channel(16);
        let answers = Mutex::new(answers.into_iter());
        let next = Arc::new(move || answers.lock().unwrap().next().unwrap_or(StatusCode::OK));
        let hook = axum::routing::post(async move |axum::Json(job): axum::Json<Value>| {
            told.send(job["id"].as_str().unwrap_or_default().to_owned()).await.ok();
            next()
        });
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        let mut serving = JoinSet::new();
        let app = axum::Router::new().route("/hook", hook);
        serving.spawn(async { axum::serve(socket, app).await });
        Self { url, heard, _serving: serving }
    }

    async fn next(&mut self) -> String {
        tokio::time::timeout(DEADLINE, self.heard.recv()).await.expect("a call").expect("it listens")
    }
}

#[tokio::test]
async fn a_webhook_that_nobody_took_is_called_again_after_a_restart_and_then_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { state_dir: Some(dir.path().to_owned()), ..fast() };
    let mut hook = Hook::answering(vec![StatusCode::SERVICE_UNAVAILABLE]).await;
    let server = Server::start(config.clone()).await.unwrap();
    let request = client().post(format!("{}/run", server.endpoint_url())).header(KEY.0, KEY.1);
    let (_, job) = ask(request.json(&json!({"input": run("a"), "webhook": hook.url}))).await;
    let first = hook.next().await;
    assert_eq!(job["id"], first);
    drop(server);
    let server = Server::start(config.clone()).await.unwrap();
    assert_eq!(hook.next().await, first);
    let journal = dir.path().join("jobs.jsonl");
    eventually("the answer to be written down", async || {
        let lines = std::fs::read_to_string(&journal).unwrap();
        lines.lines().last()?.contains(r#""untold":false"#).then_some(())
    })
    .await;
    drop(server);
    let server = Server::start(config).await.unwrap();
    // Told before any other job's end: had it called for the first, that would be heard first.
    let request = client().post(format!("{}/run", server.endpoint_url())).header(KEY.0, KEY.1);
    let (_, job) = ask(request.json(&json!({"input": run("b"), "webhook": hook.url}))).await;
    assert_eq!(job["id"], hook.next().await);
}

#[tokio::test]
async fn outputs_come_in_the_shapes_that_handlers_gave() {
    let server = Server::start(fast()).await.unwrap();
    let png = |text: &str| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{text}");
    };
    let mut cases: Vec<&str> =
        simulators::runpod::FAULTS.iter().filter(|name| name.starts_with("shape_")).copied().collect();
    cases.push("completed_without_output");
    for (billed, fault) in cases.iter().enumerate() {
        server.admin().set_faults(vec![Fault::times(fault, 1)]).unwrap();
        let job = ended(&server, &submit(&server, run("a fox")).await).await;
        assert_eq!(job["status"], "COMPLETED", "{fault}: {job}");
        assert_eq!(server.admin().invoice().lines.len(), billed + 1, "{fault}: each is billed");
        let output = &job["output"];
        match *fault {
            "shape_message_base64" => png(output["message"].as_str().unwrap()),
            "shape_list" => png(output[0]["data"].as_str().unwrap()),
            "shape_string" => png(output.as_str().unwrap()),
            "shape_image_strings" => png(output["images"][0].as_str().unwrap()),
            "shape_image_url" => {
                let answer = client().get(output["image_url"].as_str().unwrap()).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK);
            }
            "completed_without_output" => assert_eq!(output, &Value::Null),
            "shape_empty" => assert_eq!(output, &json!([])),
            _ => assert!(!output.is_null(), "{fault}"),
        }
    }
    let seen = |name: &str| cases.contains(&name);
    assert!(cases.len() == 25 && seen("shape_any_readable") && seen("shape_any_unusable"), "{cases:?}");
}

#[tokio::test]
async fn a_shape_chosen_by_chance_is_the_same_at_every_look() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("shape_any_readable", 12)]).unwrap();
    let mut shapes = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let id = submit(&server, run("a fox")).await;
        let (first, again) = (ended(&server, &id).await, ended(&server, &id).await);
        assert_eq!(first["output"], again["output"]);
        let keys = first["output"].as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
        shapes.insert(format!("{keys:?}"));
    }
    assert!(shapes.len() > 2, "{shapes:?}");
}

#[tokio::test]
async fn shares_of_jobs_answer_oddly() {
    let config = Config { odd_outputs_percent: 60, unusable_outputs_percent: 40, ..fast() };
    let server = Server::start(config).await.unwrap();
    let mut usual = 0;
    for _ in 0..20 {
        let job = ended(&server, &submit(&server, run("a fox")).await).await;
        assert_eq!(job["status"], "COMPLETED", "{job}");
        let images = job["output"]["images"].as_array();
        let is_usual = images.is_some_and(|images| images.iter().all(|image| image["type"] == "base64"));
        usual += usize::from(is_usual && job["output"].as_object().is_some_and(|output| output.len() == 1));
    }
    assert_eq!(usual, 0, "each is odd or unusable");
    assert_eq!(server.admin().invoice().lines.len(), 20);
}
