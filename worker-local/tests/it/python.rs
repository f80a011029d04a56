//! A server that says what only Python's `json.dumps` writes, in every answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use schemas::{FailureCode, Health};
use simulators::comfyui::{Mode, Server};
use tokio::task::JoinSet;
use worker_host::Backend as _;
use worker_local::ComfyConfig;

use crate::conformance::simulator;
use crate::jobs::{Case, assignment, config, prompt};

/// What becomes of an answer: path, status and text in, status and text out.
type Change = Arc<dyn Fn(&str, StatusCode, String) -> (StatusCode, String) + Send + Sync>;

/// A simulator, and a proxy in front of it that changes its JSON.
struct Changed {
    server: Server,
    url: String,
    _proxy: JoinSet<()>,
}

#[derive(Clone)]
struct Behind {
    url: String,
    change: Change,
}

impl Changed {
    async fn start(change: Change) -> Self {
        let server = Server::start(simulator(Mode::New)).await.expect("a simulator");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let behind = Behind { url: server.url(), change };
        let mut proxy = JoinSet::new();
        let app = Router::new().fallback(forward).with_state(behind);
        proxy.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { server, url, _proxy: proxy }
    }

    fn config(&self) -> ComfyConfig {
        ComfyConfig { websocket: false, ..config(&self.url) }
    }
}

async fn forward(State(behind): State<Behind>, request: Request) -> (StatusCode, Bytes) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let target = parts.uri.path_and_query().expect("a path").as_str().to_owned();
    let call = reqwest::Client::new().request(parts.method, format!("{}{target}", behind.url));
    let answer = call.headers(parts.headers).body(body).send().await.expect("an answer");
    let (status, bytes) = (answer.status(), answer.bytes().await.expect("a body"));
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) if text.starts_with('{') => {
            let (status, text) = (behind.change)(parts.uri.path(), status, text);
            (status, Bytes::from(text))
        }
        _ => (status, bytes),
    }
}

/// Puts Python's words into an object, as one more field.
fn with_python(text: &str) -> String {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let long = "9".repeat(400);
    let odd = format!(r#"[NaN, Infinity, -Infinity, "\ud800", "caf\udce9.png", {long}, {deep}]"#);
    let comma = if text == "{}" { "" } else { "," };
    text.replacen('{', &format!(r#"{{"of another": {odd}{comma}"#), 1)
}

#[tokio::test]
async fn what_python_writes_costs_no_job_and_no_health() {
    let change: Change = Arc::new(|_, status, text| (status, with_python(&text)));
    let changed = Changed::start(change).await;
    let case = Case::new(changed.config(), assignment(prompt()));
    let found = case.backend.discover().await;
    assert_eq!((found.health, found.health_reason), (Health::Healthy, None));
    assert!(found.models.is_some_and(|models| !models.is_empty()), "object_info is read");
    let outcome = case.run().await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 1));
}

/// What a broken server makes of an answer.
type Break = fn(String) -> (StatusCode, String);

#[tokio::test]
async fn a_record_that_cannot_be_read_ends_its_own_job_and_nothing_else() {
    let breaks: [(&str, Break); 3] = [
        ("not serialisable", |_| (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error".to_owned())),
        ("cut short", |text| (StatusCode::OK, text[..text.len() / 2].to_owned())),
        ("no JSON", |_| (StatusCode::OK, "{'outputs': <object at 0x7f>}".to_owned())),
    ];
    for (what, breaking) in breaks {
        // The first job that ended is the one.
        let one = Arc::new(std::sync::OnceLock::<String>::new());
        let change: Change = Arc::new(move |path, status, text| match path.strip_prefix("/history/") {
            Some(id) if text != "{}" && *id == **one.get_or_init(|| id.to_owned()) => breaking(text),
            _ => (status, text),
        });
        let changed = Changed::start(change).await;
        let case = Case::new(changed.config(), assignment(prompt()));
        let failure = case.run().await.failure.expect("a failure");
        // A code of which no breaker takes note.
        assert_eq!(failure.code, FailureCode::UnusableResult, "{what}: {failure:?}");
        assert!(failure.message.contains("its record of the job"), "{what}: {failure:?}");
        assert_eq!(case.backend.discover().await.health, Health::Healthy, "{what}");
        // Found again at the server, it is the same.
        let again = Case::new(changed.config(), case.attempt.assignment.clone());
        assert_eq!(
            again.run().await.failure.map(|failure| failure.code),
            Some(FailureCode::UnusableResult),
            "{what}"
        );
        let other = Case::new(changed.config(), assignment(prompt())).run().await;
        assert_eq!((other.failure, other.artifacts.len()), (None, 1), "{what}");
        assert_eq!(changed.server.admin().stats().posts, 2, "{what}: neither ran twice");
    }
}
