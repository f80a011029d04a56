//! The simulated ComfyUI's faults, its newer API, and that a restart loses what it should.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulators::comfyui::{Config, Mode, Server};
use simulators::{Fault, comfyui};

use crate::support::{ask, client, eventually, until, workflow};

/// ComfyUI has no keys; the helpers want a header.
const NO_KEY: (&str, &str) = ("x-none", "");
const ID: &str = "0e0c2f7e-8a0f-4c2a-9a57-2f6c1f0a7a10";

async fn start(time_scale: f64) -> Server {
    Server::start(Config { time_scale, ..Config::default() }).await.unwrap()
}

async fn submit(http: &reqwest::Client, server: &Server, graph: &Value) -> String {
    let body = json!({"prompt": graph, "client_id": "c"}).to_string();
    let (status, answer) = ask(http.post(format!("{}/prompt", server.url())).body(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["prompt_id"].as_str().unwrap().to_owned()
}

/// The history entry, when it is there.
async fn ended(http: &reqwest::Client, server: &Server, id: &str) -> Value {
    let url = format!("{}/history/{id}", server.url());
    let mut body = until(http, &url, NO_KEY, "the history entry", |body| body[id].is_object()).await;
    body[id].take()
}

fn last_message(entry: &Value) -> &Value {
    entry["status"]["messages"].as_array().unwrap().last().unwrap()
}

#[tokio::test]
async fn out_of_memory_is_an_execution_error_on_the_sampler() {
    let (http, server) = (client(), start(0.001).await);
    server.admin().set_faults(vec![Fault::times("oom", 1)]).unwrap();
    let entry = ended(&http, &server, &submit(&http, &server, &workflow("fox", 1)).await).await;
    assert_eq!(last_message(&entry)[0], "execution_error");
    let data = &last_message(&entry)[1];
    assert_eq!(data["exception_type"], "torch.OutOfMemoryError");
    assert_eq!(data["node_type"], "KSampler");
    assert!(data["exception_message"].as_str().unwrap().starts_with("Allocation on device"));
    // Disarmed: the next one succeeds.
    let entry = ended(&http, &server, &submit(&http, &server, &workflow("fox", 2)).await).await;
    assert_eq!(entry["status"]["status_str"], "success");
    assert_eq!(server.admin().stats().faults_fired["oom"], 1);
    assert_eq!(server.admin().invoice().total_micro_usd, 0);
}

#[tokio::test]
async fn a_named_node_fails_and_leaves_earlier_outputs() {
    let config = Config { acceptance_nodes: true, time_scale: 0.001, ..Config::default() };
    let (http, server) = (client(), Server::start(config).await.unwrap());
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 61}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "before"}},
        "3": {"class_type": "AcceptanceFail", "inputs": {"image": ["1", 0], "message": "deliberate"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "after"}},
    });
    let entry = ended(&http, &server, &submit(&http, &server, &graph).await).await;
    assert_eq!(last_message(&entry)[1]["exception_message"], "deliberate\n");
    assert_eq!(last_message(&entry)[1]["node_id"], "3");
    assert_eq!(entry["outputs"]["2"]["images"][0]["filename"], "before_00001_.png");
}

#[tokio::test]
async fn a_hang_ends_only_with_a_restart_and_the_restart_loses_the_job() {
    let (http, server) = (client(), start(0.001).await);
    server.admin().set_faults(vec![Fault::times("hang", 1)]).unwrap();
    let id = submit(&http, &server, &workflow("fox", 1)).await;
    eventually("the hang", || async { server.admin().stats().faults_fired.get("hang").copied() }).await;
    let queue = format!("{}/queue", server.url());
    let (_, body) = ask(http.get(&queue)).await;
    assert_eq!(body["queue_running"][0][1], id.as_str());
    server.admin().offline(0);
    let body =
        until(&client(), &queue, NO_KEY, "an empty queue", |body| body["queue_running"] == json!([])).await;
    assert_eq!(body["queue_pending"], json!([]));
    let (_, history) = ask(client().get(format!("{}/history/{id}", server.url()))).await;
    assert_eq!(history, json!({}));
    // And it works again, counting from the start.
    let again = submit(&client(), &server, &workflow("fox", 2)).await;
    assert_eq!(ended(&client(), &server, &again).await["prompt"][0], 0);
}

#[tokio::test]
async fn what_is_held_runs_until_it_is_let_go_or_interrupted() {
    let (http, server) = (client(), start(0.001).await);
    server.admin().set_faults(vec![Fault::always("hold")]).unwrap();
    let (interrupted, let_go) = (
        submit(&http, &server, &workflow("fox", 1)).await,
        submit(&http, &server, &workflow("fox", 2)).await,
    );
    let queue = format!("{}/queue", server.url());
    for id in [&interrupted, &let_go] {
        until(&http, &queue, NO_KEY, "it runs", |body| body["queue_running"][0][1] == id.as_str()).await;
        if *id == interrupted {
            ask(http.post(format!("{}/interrupt", server.url()))).await;
        } else {
            server.admin().set_faults(Vec::new()).unwrap();
        }
    }
    assert_eq!(ended(&http, &server, &interrupted).await["status"]["status_str"], "error");
    assert_eq!(ended(&http, &server, &let_go).await["status"]["status_str"], "success");
}

#[tokio::test]
async fn offline_cuts_and_refuses_then_comes_back() {
    let server = start(0.001).await;
    let url = format!("{}/system_stats", server.url());
    assert_eq!(client().get(&url).send().await.unwrap().status(), StatusCode::OK);
    server.admin().offline(300);
    assert!(client().get(&url).send().await.is_err(), "nobody answers while offline");
    eventually("the server to be back", || async { client().get(&url).send().await.ok() }).await;
}

#[tokio::test]
async fn late_history_comes_after_success() {
    let (http, server) = (client(), start(0.001).await);
    let fault = Fault { delay_ms: Some(200), ..Fault::times("late_history", 1) };
    server.admin().set_faults(vec![fault]).unwrap();
    let id = submit(&http, &server, &workflow("fox", 1)).await;
    eventually("the late history", || async {
        server.admin().stats().faults_fired.get("late_history").copied()
    })
    .await;
    let (_, history) = ask(http.get(format!("{}/history/{id}", server.url()))).await;
    assert_eq!(history, json!({}), "not yet");
    assert_eq!(ended(&http, &server, &id).await["status"]["status_str"], "success");
}

#[tokio::test]
async fn node_errors_come_with_a_200() {
    let (http, server) = (client(), start(0.001).await);
    server.admin().set_faults(vec![Fault::times("node_errors_on_200", 1)]).unwrap();
    let body = json!({"prompt": workflow("fox", 1)}).to_string();
    let (status, answer) = ask(http.post(format!("{}/prompt", server.url())).body(body)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["node_errors"]["9"]["errors"][0]["type"], "required_input_missing");
}

#[tokio::test]
async fn the_jobs_api_cancels_pending_and_running_jobs() {
    let (http, server) = (client(), start(1.0).await);
    let running = submit(&http, &server, &workflow("long", 1)).await;
    let pending = submit(&http, &server, &workflow("waiting", 2)).await;
    let jobs = format!("{}/api/jobs", server.url());
    let one = |id: &str| format!("{jobs}/{id}");
    until(&http, &one(&running), NO_KEY, "the job to run", |job| job["status"] == "in_progress").await;
    for id in [&pending, &running] {
        let (_, answer) = ask(http.post(format!("{}/cancel", one(id)))).await;
        assert_eq!(answer, json!({"cancelled": true}));
    }
    until(&http, &one(&running), NO_KEY, "the cancel", |job| job["status"] == "cancelled").await;
    assert_eq!(ask(http.get(one(&pending))).await.0, StatusCode::NOT_FOUND, "a deleted job leaves nothing");
    let (_, answer) = ask(http.post(format!("{}/cancel", one(&running)))).await;
    assert_eq!(answer, json!({"cancelled": false}), "too late");
    let (_, list) = ask(http.get(format!("{jobs}?status=cancelled&limit=1"))).await;
    assert_eq!(list["pagination"], json!({"offset": 0, "limit": 1, "total": 1, "has_more": false}));
}

#[tokio::test]
async fn modes_differ_where_versions_do() {
    let http = client();
    for (mode, jobs, odd_id) in [
        (Mode::Old, StatusCode::NOT_FOUND, StatusCode::OK),
        (Mode::Recorded, StatusCode::NOT_FOUND, StatusCode::OK),
        (Mode::New, StatusCode::OK, StatusCode::BAD_REQUEST),
    ] {
        let config = Config { mode, time_scale: 0.001, ..Config::default() };
        let server = comfyui::Server::start(config).await.unwrap();
        assert_eq!(ask(http.get(format!("{}/api/jobs?limit=1", server.url()))).await.0, jobs, "{mode:?}");
        for (id, wanted) in [("Free-Form", odd_id), (ID, StatusCode::OK)] {
            let body = json!({"prompt": workflow("fox", 1), "prompt_id": id}).to_string();
            let (status, _) = ask(http.post(format!("{}/prompt", server.url())).body(body)).await;
            assert_eq!(status, wanted, "{mode:?} {id}");
        }
    }
}

#[tokio::test]
async fn an_interrupt_in_old_mode_hits_whatever_runs() {
    for (mode, hit) in [(Mode::Old, true), (Mode::Recorded, false)] {
        let config = Config { mode, ..Config::default() };
        let (http, server) = (client(), Server::start(config).await.unwrap());
        let id = submit(&http, &server, &workflow("fox", 1)).await;
        let queue = format!("{}/queue", server.url());
        until(&http, &queue, NO_KEY, "the job to run", |body| body["queue_running"][0].is_array()).await;
        let body = json!({"prompt_id": "somebody-else"}).to_string();
        ask(http.post(format!("{}/interrupt", server.url())).body(body)).await;
        let entry = ended(&http, &server, &id).await;
        assert_eq!(last_message(&entry)[0] == "execution_interrupted", hit, "{mode:?}");
    }
}

#[tokio::test]
async fn missing_models_are_named_as_the_real_server_names_them() {
    let (http, server) = (client(), start(0.001).await);
    let mut graph = workflow("fox", 1);
    graph["4"]["inputs"]["ckpt_name"] = json!("absent.safetensors");
    let body = json!({"prompt": graph}).to_string();
    let (status, answer) = ask(http.post(format!("{}/api/prompt", server.url())).body(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let error = &answer["node_errors"]["4"]["errors"][0];
    assert_eq!(error["type"], "value_not_in_list");
    let details = error["details"].as_str().unwrap();
    assert!(
        details.starts_with("ckpt_name: 'absent.safetensors' not in ['flux1-dev-fp8.safetensors', "),
        "{details}"
    );
    let (_, info) = ask(http.get(format!("{}/object_info/CheckpointLoaderSimple", server.url()))).await;
    let (_, models) = ask(http.get(format!("{}/models/checkpoints", server.url()))).await;
    assert_eq!(info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0], models);
}

#[tokio::test]
async fn drop_ws_ends_the_socket_and_not_the_job() {
    use futures::StreamExt;
    let (http, server) = (client(), start(0.01).await);
    server.admin().set_faults(vec![Fault::times("drop_ws", 1)]).unwrap();
    let url = format!("ws://{}/ws?clientId=c", server.addr());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let id = submit(&http, &server, &workflow("fox", 1)).await;
    let drained = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(Duration::from_secs(10), drained).await.expect("the socket ends");
    assert_eq!(ended(&http, &server, &id).await["status"]["status_str"], "success");
}

#[tokio::test]
async fn a_restart_in_the_middle_drops_connections_and_forgets_the_job() {
    use futures::StreamExt;
    let (http, server) = (client(), start(0.01).await);
    server.admin().set_faults(vec![Fault::times("restart", 1)]).unwrap();
    let url = format!("ws://{}/ws?clientId=c", server.addr());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let id = submit(&http, &server, &workflow("fox", 1)).await;
    let drained = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(Duration::from_secs(10), drained).await.expect("the socket ends");
    let (_, history) = ask(client().get(format!("{}/history/{id}", server.url()))).await;
    assert_eq!(history, json!({}));
    let again = submit(&client(), &server, &workflow("fox", 2)).await;
    assert_eq!(ended(&client(), &server, &again).await["status"]["status_str"], "success");
}

#[tokio::test]
async fn a_slow_interrupt_comes_late() {
    let config = Config { image_median_ms: 60_000, time_scale: 0.1, ..Config::default() };
    let (http, server) = (client(), Server::start(config).await.unwrap());
    let fault = Fault { delay_ms: Some(300), ..Fault::times("slow_interrupt", 1) };
    server.admin().set_faults(vec![fault]).unwrap();
    let mut graph = workflow("fox", 1);
    graph["3"]["inputs"]["steps"] = json!(200);
    let id = submit(&http, &server, &graph).await;
    let queue = format!("{}/queue", server.url());
    until(&http, &queue, NO_KEY, "the job to run", |body| body["queue_running"][0].is_array()).await;
    let asked = std::time::Instant::now();
    ask(http.post(format!("{}/interrupt", server.url())).body("{}")).await;
    let entry = ended(&http, &server, &id).await;
    assert_eq!(last_message(&entry)[0], "execution_interrupted");
    assert!(asked.elapsed() >= Duration::from_millis(300));
}
