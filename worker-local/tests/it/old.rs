//! A server that is older than the release that takes prompt ids from its clients (0.3.45).

use std::sync::{Arc, Mutex};

use axum::http::Method;
use schemas::{FailureCode, Health};
use serde_json::{Value, json};
use worker_host::Backend as _;

use crate::jobs::{Case, assignment, prompt};
use crate::proxy::Proxy;

#[tokio::test]
async fn a_server_that_gives_ids_of_its_own_is_out_and_its_job_is_stopped() {
    const OTHER: &str = "7c1f1a52-0000-4000-8000-000000000001";
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&asked);
    let proxy = Proxy::start(move |parts, status, bytes| {
        let path = parts.uri.path();
        seen.lock().expect("no panic").push(path.to_owned());
        if parts.method != Method::POST || path != "/prompt" {
            return (status, bytes);
        }
        let mut answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        answer["prompt_id"] = json!(OTHER);
        (status, answer.to_string().into())
    })
    .await;
    let case = Case::new(proxy.config(), assignment(prompt()));
    assert_eq!(case.backend.discover().await.health, Health::Healthy);
    let failure = case.run().await.failure.expect("a failure");
    assert_eq!(failure.code, FailureCode::BackendDown, "{failure:?}");
    assert!(failure.message.contains("0.3.45"), "{failure:?}");
    let found = case.backend.discover().await;
    assert_eq!(found.health, Health::Down);
    assert!(found.health_reason.is_some_and(|words| words.contains("0.3.45")));
    let asked = asked.lock().expect("no panic");
    let stops = |path: &String| path.ends_with(&format!("{OTHER}/cancel"));
    assert!(asked.iter().any(stops), "the job that was queued would run: {asked:?}");
}
