//! A simulated server behind a proxy that may change each answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use simulators::comfyui::{Mode, Server};
use tokio::task::JoinSet;
use worker_local::ComfyConfig;

use crate::conformance::simulator;
use crate::jobs::config;

/// What becomes of an answer: what was asked, status and body in, status and body out.
type Change = Arc<dyn Fn(&Parts, StatusCode, Bytes) -> (StatusCode, Bytes) + Send + Sync>;

/// The server and its proxy.
pub(crate) struct Proxy {
    pub(crate) server: Server,
    url: String,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Behind {
    url: String,
    change: Change,
}

impl Proxy {
    pub(crate) async fn start(
        change: impl Fn(&Parts, StatusCode, Bytes) -> (StatusCode, Bytes) + Send + Sync + 'static,
    ) -> Self {
        let server = Server::start(simulator(Mode::New)).await.expect("a simulator");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let behind = Behind { url: server.url(), change: Arc::new(change) };
        let mut serving = JoinSet::new();
        let app = Router::new().fallback(forward).with_state(behind);
        serving.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { server, url, _serving: serving }
    }

    /// Without a websocket, which the proxy does not pass on.
    pub(crate) fn config(&self) -> ComfyConfig {
        ComfyConfig { websocket: false, ..config(&self.url) }
    }
}

async fn forward(State(behind): State<Behind>, request: Request) -> (StatusCode, Bytes) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let target = parts.uri.path_and_query().expect("a path").as_str().to_owned();
    let call = reqwest::Client::new().request(parts.method.clone(), format!("{}{target}", behind.url));
    let answer = call.headers(parts.headers.clone()).body(body).send().await.expect("an answer");
    let (status, bytes) = (answer.status(), answer.bytes().await.expect("a body"));
    (behind.change)(&parts, status, bytes)
}
