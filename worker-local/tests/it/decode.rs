//! Every recorded message of the server is understood by the lenient structs, and discovery reads what
//! a real server says.

use schemas::Health;
use serde_json::Value;
use worker_host::Backend;
use worker_local::comfy::message::Message;
use worker_local::comfy::wire::{End, History, PromptAnswer, Queue, SystemStats, Uploaded, item_id};

use crate::jobs::{Case, assignment, config, prompt};
use crate::replay::Replay;
use crate::transcript::{Transcript, names};

#[test]
fn every_recorded_websocket_message_is_understood() {
    let mut read = 0;
    for name in names() {
        for line in Transcript::load(&name).lines.iter().filter(|line| line["kind"] == "ws") {
            if line["dir"] != "recv" || line["json"].is_null() {
                continue;
            }
            let message = Message::decode(&line["json"].to_string()).expect("a message");
            assert!(!matches!(message, Message::Other(_)), "{name}: {line}");
            assert_eq!(message.prompt(), line["json"]["data"]["prompt_id"].as_str(), "{name}: {line}");
            read += 1;
        }
    }
    assert!(read > 500, "{read} messages are few");
}

#[test]
fn every_recorded_answer_is_understood() {
    let mut read = [0; 5];
    for name in names() {
        for line in Transcript::load(&name).lines.iter().filter(|line| line["kind"] == "http") {
            let (Some(method), Some(path)) = (line["method"].as_str(), line["path"].as_str()) else {
                continue;
            };
            let body = &line["response_body"]["json"];
            if body.is_null() {
                continue;
            }
            let kind = match (method, path) {
                ("POST", "/prompt") => answer(&name, line, body),
                ("GET", "/queue") => queue(&name, body),
                ("GET", "/system_stats") => {
                    let stats: SystemStats = serde_json::from_value(body.clone()).expect("stats");
                    assert_eq!(stats.system.comfyui_version, "0.3.64", "{name}");
                    assert!(stats.devices[0].vram_total > 0, "{name}");
                    2
                }
                ("GET", path) if path.starts_with("/history/") => history(&name, body),
                ("POST", "/upload/image") => {
                    let uploaded: Uploaded = serde_json::from_value(body.clone()).expect("an upload");
                    assert!(!uploaded.reference().is_empty(), "{name}");
                    4
                }
                _ => continue,
            };
            read[kind] += 1;
        }
    }
    assert!(read.iter().all(|count| *count > 0), "a kind of answer was never seen: {read:?}");
}

fn answer(name: &str, line: &Value, body: &Value) -> usize {
    let answer: PromptAnswer = serde_json::from_value(body.clone()).expect("an answer");
    if line["status"] == 200 {
        assert!(answer.prompt_id.is_some() && answer.error.is_none(), "{name}: {body}");
    } else {
        assert!(answer.error.is_some_and(|error| !error.kind.is_empty()), "{name}: {body}");
    }
    let faulty = body["node_errors"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(answer.node_errors.len(), faulty, "{name}: {body}");
    assert!(answer.node_errors.values().all(|node| !node.errors.is_empty()), "{name}: {body}");
    0
}

fn queue(name: &str, body: &Value) -> usize {
    let queue: Queue = serde_json::from_value(body.clone()).expect("a queue");
    let items = queue.queue_running.iter().chain(&queue.queue_pending);
    assert!(items.map(item_id).all(|id| id.is_some()), "{name}: {body}");
    1
}

fn history(name: &str, body: &Value) -> usize {
    let history: History = serde_json::from_value(body.clone()).expect("a history");
    for (id, entry) in &history.0 {
        let recorded = &body[id];
        let last = recorded["status"]["messages"].as_array().and_then(|all| all.last()).expect("messages");
        let expected = last[0].as_str().expect("a kind");
        let found = match entry.end() {
            End::Success => "execution_success",
            End::Interrupted => "execution_interrupted",
            End::Error(_) => "execution_error",
            End::Unclear => "unclear",
        };
        assert_eq!(found, expected, "{name}: {recorded}");
    }
    3
}

#[test]
fn odd_shapes_become_defaults() {
    for body in ["{}", r#"{"error":"words","node_errors":[]}"#, r#"{"prompt_id":3,"node_errors":null}"#] {
        let answer: PromptAnswer = serde_json::from_str(body).expect("read all the same");
        assert_eq!(answer, PromptAnswer::default(), "{body}");
    }
    let history: History = serde_json::from_str(r#"{"x":{"status":null,"outputs":[]}}"#).expect("a history");
    assert_eq!(history.0["x"].end(), End::Unclear);
    let entries: History =
        serde_json::from_str(r#"{"x":[],"y":null,"z":{"status":{"messages":[3,["execution_success",{}]]}}}"#)
            .expect("one odd entry hides no other");
    assert_eq!((entries.0["x"].end(), entries.0["z"].end()), (End::Unclear, End::Success));
    let refused: PromptAnswer =
        serde_json::from_str(r#"{"node_errors":{"3":7,"4":{"errors":[null,{"type":"t"}]}}}"#).expect("read");
    assert_eq!((refused.node_errors.len(), refused.node_errors["4"].errors.len()), (2, 1));
    let frame = r#"{"type":"progress","data":{"value":NaN,"max":Infinity,"prompt_id":"p","node":"\ud800"}}"#;
    let frame = Message::decode(frame).expect("a message");
    assert_eq!(frame.prompt(), Some("p"));
    assert!(Message::decode("[]").is_err() && Message::decode("not JSON").is_err());
    let unknown = Message::decode(r#"{"type":"crystools.monitor","data":{}}"#).expect("a message");
    assert_eq!(unknown, Message::Other("crystools.monitor".to_owned()));
}

#[tokio::test]
async fn discovery_reads_what_a_real_server_says() {
    let replay = Replay::start("object_info_subset", 0).await;
    let case = Case::new(config(&replay.url()), assignment(prompt()));
    let found = case.backend.discover().await;
    assert_eq!(found.health, Health::Healthy);
    assert_eq!(found.gpus[0].name, "cpu");
    assert_eq!(found.gpus[0].vram_total_bytes, 25_276_514_304);
    // 24 GiB take the small class; no machine takes the huge one.
    let classes: Vec<_> = found.classes.iter().map(|class| class.as_str().to_owned()).collect();
    assert_eq!(classes, ["image-small"]);
    let models: Vec<_> = found.models.into_iter().flatten().collect();
    assert_eq!(models, ["tiny_sd15.safetensors"]);
    let nodes = found.nodes.expect("nodes");
    assert!(nodes.contains("KSampler") && nodes.contains("SaveVideo"), "{nodes:?}");
    // The long list is asked once, not every few seconds.
    case.backend.discover().await;
    let asked = replay.world.log().into_iter().filter(|call| call == "GET /object_info").count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_down_with_a_reason() {
    let mut replay = Replay::start("system_stats", 0).await;
    replay.kill().await;
    let case = Case::new(config(&replay.url()), assignment(prompt()));
    let found = case.backend.discover().await;
    assert_eq!((found.health, found.classes.len()), (Health::Down, 0));
    let reason = found.health_reason.expect("a reason");
    assert!(reason.contains("cannot be reached") && reason.contains("refused"), "{reason}");
    replay.restart().await;
    assert_eq!(case.backend.discover().await.health, Health::Healthy, "comes back by itself");
}
