//! What a job leaves: files of any kind and depth, texts, and files that are not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::StatusCode;
use runtime::config::Secret;
use schemas::{Assignment, FailureCode, Health};
use serde_json::{Value, json};
use worker_host::Backend as _;
use worker_local::ComfyConfig;

use crate::jobs::{Case, assignment, prompt, workflow};
use crate::proxy::Proxy;

/// A picture that is only shown: its node has no prefix that could differ between two runs.
fn shown() -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 7}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    })
}

fn next(assignment: &Assignment) -> Assignment {
    Assignment { attempt: assignment.attempt + 1, ..assignment.clone() }
}

#[tokio::test]
async fn a_cached_output_whose_file_is_gone_is_made_anew_by_the_retry() {
    let asked_for = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&asked_for);
    let proxy = Proxy::start(move |asked, status, bytes| {
        if asked.uri.path() != "/view" {
            return (status, bytes);
        }
        let mut seen = seen.lock().expect("no panic");
        let file = asked.uri.query().unwrap_or_default().to_owned();
        // Somebody clears the folder after the first download.
        let is_gone = seen.first() == Some(&file);
        seen.push(file);
        if is_gone { (StatusCode::NOT_FOUND, Bytes::new()) } else { (status, bytes) }
    })
    .await;
    let first_attempt = || Assignment { attempt: 1, ..assignment(workflow(&shown())) };
    let first = Case::new(proxy.config(), first_attempt()).run().await;
    assert_eq!((first.failure, first.artifacts.len()), (None, 1));
    let again = Case::new(proxy.config(), first_attempt());
    let outcome = again.run().await;
    let failure = outcome.failure.unwrap_or_else(|| panic!("the file is gone: {asked_for:?}"));
    assert_eq!(failure.code, FailureCode::Transient, "{failure:?}");
    let retry = Case::new(proxy.config(), next(&again.attempt.assignment)).run().await;
    assert_eq!((retry.failure, retry.artifacts.len()), (None, 1));
    let files = asked_for.lock().expect("no panic").clone();
    assert!(files[0] == files[1] && files[1] != files[2], "{files:?}");
}

#[tokio::test]
async fn previews_are_kept_beside_what_is_saved_when_asked_for() {
    let proxy = Proxy::start(|_, status, bytes| (status, bytes)).await;
    let mut graph = shown();
    graph["3"] =
        json!({"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "kept"}});
    for (keep_previews, previews) in [(false, &[false][..]), (true, &[false, true])] {
        let body = schemas::Body { keep_previews, ..workflow(&graph) };
        let outcome = Case::new(proxy.config(), assignment(body)).run().await;
        assert_eq!(outcome.failure, None);
        let found: Vec<bool> = outcome
            .artifacts
            .iter()
            .map(|artifact| artifact.saved.as_ref().expect("its name").preview)
            .collect();
        assert_eq!(found, previews, "{:?}", outcome.artifacts);
        assert!(outcome.artifacts.iter().all(|artifact| artifact.media_type == "image/png"));
    }
}

#[tokio::test]
async fn an_empty_file_is_a_failure_that_says_so() {
    let proxy = Proxy::start(|asked, status, bytes| match asked.uri.path() {
        "/view" => (status, Bytes::new()),
        _ => (status, bytes),
    })
    .await;
    for body in [prompt(), workflow(&shown())] {
        let failure = Case::new(proxy.config(), assignment(body)).run().await.failure.expect("a failure");
        assert_eq!(failure.code, FailureCode::Transient, "{failure:?}");
        assert!(failure.message.contains("0 bytes"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_workflow_that_only_says_something_completes_with_a_text() {
    let proxy = Proxy::start(|_, status, bytes| (status, bytes)).await;
    let graph = json!({
        "1": {"class_type": "StringConcatenate", "inputs": {"string_a": "zwölf", "string_b": "✓", "delimiter": " "}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    });
    let case = Case::new(proxy.config(), assignment(workflow(&graph)));
    let outcome = case.run().await;
    assert_eq!(outcome.failure, None);
    let [text] = &outcome.artifacts[..] else { panic!("{:?}", outcome.artifacts) };
    assert_eq!((text.media_type.as_str(), text.at.key.ends_with("/0.txt")), ("text/plain", true), "{text:?}");
    assert_eq!(text.bytes, "zwölf ✓".len() as u64);
}

#[tokio::test]
async fn what_a_file_is_is_told_by_its_content_wherever_its_node_names_it() {
    let contents: BTreeMap<&str, &[u8]> = [
        ("a.exr", b"v/1\x01\x02\0\0\0".as_slice()),
        ("b.latent", b"\x40\0\0\0\0\0\0\0{\"latent_tensor\":{}}"),
        ("c", b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska"),
        ("d.png", b"glTF\x02\0\0\0"),
    ]
    .into();
    let names: Vec<&str> = contents.keys().copied().collect();
    let proxy = Proxy::start(move |asked, status, bytes| match asked.uri.path() {
        "/view" => {
            let query = asked.uri.query().unwrap_or_default();
            let file = contents.iter().find(|(name, _)| query.contains(&format!("filename={name}&")));
            (StatusCode::OK, Bytes::from_static(file.expect("one of them").1))
        }
        path if path.starts_with("/history/") && bytes.len() > 2 => {
            let mut history: Value = serde_json::from_slice(&bytes).expect("JSON");
            let entry = history.as_object_mut().and_then(|all| all.values_mut().next()).expect("an entry");
            let file = |name: &str| json!({"filename": name, "subfolder": "", "type": "output"});
            entry["outputs"] = json!({"9": {
                "result": [{"layers": {"first": file(names[0]), "second": [file(names[1])]}}],
                "ui": {"files": [file(names[2]), file(names[3]), file(names[0])]},
            }});
            (status, history.to_string().into())
        }
        _ => (status, bytes),
    })
    .await;
    let outcome = Case::new(proxy.config(), assignment(prompt())).run().await;
    let types: Vec<&str> = outcome.artifacts.iter().map(|file| file.media_type.as_str()).collect();
    let expected = ["image/x-exr", "application/x-comfyui-latent", "video/matroska", "model/gltf-binary"];
    assert_eq!((outcome.failure, types), (None, expected.to_vec()));
}

#[tokio::test]
async fn a_server_behind_a_proxy_that_asks_for_a_token_gets_it_with_every_call() {
    let proxy = Proxy::start(|asked, status, bytes| {
        let has = |name: &str, value: &str| asked.headers.get(name).is_some_and(|given| given == value);
        match has("authorization", "Bearer planted") && has("cf-access-client-id", "ours") {
            true => (status, bytes),
            false => (StatusCode::UNAUTHORIZED, Bytes::from_static(b"who are you?")),
        }
    })
    .await;
    let open = Case::new(proxy.config(), assignment(prompt()));
    assert_eq!(open.backend.discover().await.health, Health::Down);
    let headers = [("CF-Access-Client-Id".to_owned(), Secret::new("ours"))].into();
    let config = ComfyConfig { token: Secret::new("planted"), headers, ..proxy.config() };
    let case = Case::new(config, assignment(prompt()));
    assert_eq!(case.backend.discover().await.health, Health::Healthy);
    let outcome = case.run().await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 1));
}
