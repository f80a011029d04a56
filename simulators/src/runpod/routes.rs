//! The data plane's HTTP routes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Endpoint;
use super::billing;
use super::jobs::{Job, Status};
use super::shapes;
use crate::host::Conn;
use crate::{chance, clock};

type Shared = State<Arc<Endpoint>>;
/// Endpoint and job id.
type JobPath = Path<(String, String)>;

/// Body limits of `/run` and `/runsync`.
const RUN_BODY_BYTES: usize = 10_000_000;
const SYNC_BODY_BYTES: usize = 20_000_000;

/// Documented limits: calls per window.
const WINDOW_MS: u64 = 10_000;
const LIMITS: &[(&str, u32)] = &[
    ("run", 1000),
    ("runsync", 2000),
    ("status", 2000),
    ("stream", 2000),
    ("cancel", 100),
    ("purge-queue", 2),
    ("requests", 10),
];

/// Faults that end the job later; drawn when it is submitted, so that a restart does not change them.
const FATES: [&str; 5] =
    ["queue_forever", "failed_json_error", "failed_oom", "timed_out_after_retries", "result_elsewhere"];

/// All fates: those above, and the shapes of outputs.
fn fates() -> impl Iterator<Item = &'static str> {
    let any = shapes::ANY.iter().map(|(name, _)| *name);
    FATES.into_iter().chain(shapes::READABLE.iter().chain(shapes::UNUSABLE).copied()).chain(any)
}

/// Calls in the current window, by route.
#[derive(Default)]
struct Windows(Mutex<HashMap<String, (u64, u32)>>);

impl Windows {
    fn admit(&self, route: &str) -> bool {
        let Some((_, limit)) = LIMITS.iter().find(|(name, _)| *name == route) else { return true };
        let now_ms = clock::now_ms();
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (start_ms, count) = windows.entry(route.to_owned()).or_insert((now_ms, 0));
        if now_ms >= *start_ms + WINDOW_MS {
            (*start_ms, *count) = (now_ms, 0);
        }
        *count += 1;
        *count <= *limit
    }
}

pub(super) fn router(endpoint: Arc<Endpoint>) -> Router {
    let windows = Arc::new(Windows::default());
    let guard_state = (Arc::clone(&endpoint), windows);
    let api = Router::new()
        .route("/v2/{endpoint}/run", post(run).layer(DefaultBodyLimit::max(RUN_BODY_BYTES)))
        .route("/v2/{endpoint}/runsync", post(runsync).layer(DefaultBodyLimit::max(SYNC_BODY_BYTES)))
        .route("/v2/{endpoint}/status/{job}", get(status))
        .route("/v2/{endpoint}/stream/{job}", get(stream))
        .route("/v2/{endpoint}/cancel/{job}", post(cancel))
        .route("/v2/{endpoint}/retry/{job}", post(retry))
        .route("/v2/{endpoint}/purge-queue", post(purge))
        .route("/v2/{endpoint}/requests", get(requests))
        .route("/v2/{endpoint}/health", get(health))
        .layer(axum::middleware::from_fn_with_state(guard_state, guard));
    // Of the management API: another host in life, with its own words for errors.
    let api = api.route("/v2/billing/serverless", get(billing::serverless));
    // The bucket asks for no key: its URLs are signed.
    api.route("/_s3/{*key}", get(object)).with_state(endpoint)
}

/// Key, endpoint id, rate limits and HTTP faults, before any route.
async fn guard(
    State((endpoint, windows)): State<(Arc<Endpoint>, Arc<Windows>)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let on_path = |fault: &crate::Fault| fault.node.as_ref().is_none_or(|part| path.contains(part.as_str()));
    let fires = |name: &str| endpoint.admin.take_if(name, on_path).is_some();
    let key = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if key.strip_prefix("Bearer ").unwrap_or(key) != endpoint.config.api_key || fires("http_401") {
        endpoint.admin.count_auth_failure();
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "Unauthorized"}))).into_response();
    }
    let mut parts = path.split('/').skip(2);
    let (id, route) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if id != endpoint.config.endpoint_id {
        return (StatusCode::NOT_FOUND, Json(json!({"error": "endpoint not found"}))).into_response();
    }
    if fires("http_429") || (endpoint.config.rate_limits && !windows.admit(route)) {
        return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"error": "Too many requests"}))).into_response();
    }
    if fires("http_502") {
        let page =
            axum::response::Html("<html><head><title>502 Bad Gateway</title></head><body>502</body></html>");
        return (StatusCode::BAD_GATEWAY, page).into_response();
    }
    next.run(request).await
}

fn bad_request(text: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": text}))).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": "job not found"}))).into_response()
}

impl Endpoint {
    /// Reads a job body and queues the job; the answer is a refusal.
    #[expect(
        clippy::result_large_err,
        reason = "the error is the HTTP answer, made once per refused request"
    )]
    fn enqueue(&self, body: &Bytes, id_prefix: &str) -> Result<Job, Response> {
        let body: Value = serde_json::from_slice(body).map_err(|error| bad_request(&error.to_string()))?;
        if !body["input"].is_object() {
            return Err(bad_request("input: Field required"));
        }
        let now_ms = clock::now_ms();
        let count = self.admin.count_post();
        let parts: [&[u8]; 3] = [b"job", &now_ms.to_be_bytes(), &count.to_be_bytes()];
        let policy =
            |name: &str, default: u64, min: u64| body["policy"][name].as_u64().unwrap_or(default).max(min);
        let id = format!("{id_prefix}{}-u1", chance::uuid(self.config.seed, &parts));
        let fate = fates().find(|name| self.admin.take(name).is_some());
        let fate = fate.or_else(|| {
            let (odd, unusable) = (self.config.odd_outputs_percent, self.config.unusable_outputs_percent);
            shapes::drawn(odd, unusable, self.config.seed, &id)
        });
        let fate = fate.map(|fate| shapes::chosen(fate, self.config.seed, &id).to_owned());
        let job = Job {
            id,
            status: Status::InQueue,
            webhook: body["webhook"].as_str().map(str::to_owned),
            execution_timeout_ms: policy("executionTimeout", 600_000, 5_000),
            ttl_ms: policy("ttl", 86_400_000, 10_000),
            submitted_ms: now_ms,
            started_ms: None,
            ended_ms: None,
            delay_ms: None,
            execution_ms: None,
            worker_id: None,
            error: None,
            retries: None,
            reruns: 0,
            untold: false,
            fate,
            input: body["input"].clone(),
        };
        self.store.insert(job.clone());
        self.touched("IN_QUEUE");
        self.wake.notify_one();
        Ok(job)
    }
}

async fn run(State(endpoint): Shared, ConnectInfo(conn): ConnectInfo<Conn>, body: Bytes) -> Response {
    match endpoint.enqueue(&body, "") {
        Ok(job) => {
            if endpoint.admin.take("lost_run_answer").is_some() {
                conn.cut();
            }
            Json(json!({"id": job.id, "status": job.status.name()})).into_response()
        }
        Err(refusal) => refusal,
    }
}

async fn runsync(
    State(endpoint): Shared,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let wait_ms =
        query.get("wait").and_then(|ms| ms.parse().ok()).unwrap_or(90_000_u64).clamp(1_000, 300_000);
    let mut changed = endpoint.changed.subscribe();
    let job = match endpoint.enqueue(&body, "sync-") {
        Ok(job) => job,
        Err(refusal) => return refusal,
    };
    let done = tokio::time::timeout(Duration::from_millis(wait_ms), async {
        loop {
            let now = endpoint.store.visible(&job.id);
            if now.as_ref().is_none_or(|job| job.status.is_final()) || changed.changed().await.is_err() {
                return now;
            }
        }
    });
    match done.await.ok().flatten().or_else(|| endpoint.store.visible(&job.id)) {
        Some(job) => Json(endpoint.show(&job).await).into_response(),
        None => not_found(),
    }
}

async fn status(State(endpoint): Shared, Path((_, id)): JobPath) -> Response {
    if endpoint.admin.take("status_404").is_some() {
        return not_found();
    }
    match endpoint.store.visible(&id) {
        Some(job) => Json(endpoint.show(&job).await).into_response(),
        None => not_found(),
    }
}

/// worker-comfyui is no generator: there is never a chunk.
async fn stream(State(endpoint): Shared, Path((_, id)): JobPath) -> Response {
    match endpoint.store.visible(&id) {
        Some(job) => Json(json!({"status": job.status.name(), "stream": []})).into_response(),
        None => not_found(),
    }
}

async fn cancel(State(endpoint): Shared, Path((_, id)): JobPath) -> Response {
    let Some(job) = endpoint.store.visible(&id) else { return not_found() };
    if job.status.is_final() {
        return Json(json!({"id": id, "status": job.status.name()})).into_response();
    }
    let mut changed = endpoint.changed.subscribe();
    let token = {
        let mut book = endpoint.store.lock();
        book.queue.retain(|queued| *queued != id);
        book.cancels.get(&id).cloned()
    };
    match token {
        Some(token) => {
            token.cancel();
            // The worker notices at once; the answer waits for it so that /status agrees.
            while endpoint.store.visible(&id).is_some_and(|job| !job.status.is_final()) {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        }
        None => {
            endpoint.store.update(&id, |job| {
                job.status = Status::Cancelled;
                job.ended_ms = Some(clock::now_ms());
            });
            endpoint.touched("CANCELLED");
        }
    }
    let status = endpoint.store.visible(&id).map_or("CANCELLED", |job| job.status.name());
    Json(json!({"id": id, "status": status})).into_response()
}

/// The same id again: the earlier execution stays billed, the new one is billed under `{id}#retry-n`.
async fn retry(State(endpoint): Shared, Path((_, id)): JobPath) -> Response {
    let Some(job) = endpoint.store.visible(&id) else { return not_found() };
    if !matches!(job.status, Status::Failed | Status::TimedOut) {
        return bad_request("only FAILED or TIMED_OUT jobs can be retried");
    }
    endpoint.requeue(&id);
    Json(json!({"id": id, "status": "IN_QUEUE"})).into_response()
}

async fn purge(State(endpoint): Shared) -> Response {
    let queued: Vec<String> = endpoint.store.lock().queue.drain(..).collect();
    for id in &queued {
        endpoint.store.update(id, |job| {
            job.status = Status::Cancelled;
            job.ended_ms = Some(clock::now_ms());
        });
        endpoint.touched("CANCELLED");
    }
    Json(json!({"removed": queued.len(), "status": "completed"})).into_response()
}

async fn requests(State(endpoint): Shared) -> Response {
    let book = endpoint.store.lock();
    let shown = book.queue.iter().filter_map(|id| book.jobs.get(id));
    let list: Vec<_> = shown.map(|job| json!({"id": job.id, "status": job.status.name()})).collect();
    Json(json!({"requests": list})).into_response()
}

async fn health(State(endpoint): Shared) -> Response {
    let book = endpoint.store.lock();
    let count = |status: Status| book.jobs.values().filter(|job| job.status == status).count();
    let now_ms = clock::now_ms();
    let idle = book.free.iter().filter(|slot| slot.warm_until_ms > now_ms).count();
    let running = count(Status::InProgress);
    // Taken by a worker that is still starting.
    let starting = |id: &&String| book.jobs.get(*id).is_some_and(|job| job.status == Status::InQueue);
    let initializing = book.cancels.keys().filter(starting).count();
    Json(json!({
        "jobs": {"completed": count(Status::Completed), "failed": count(Status::Failed) + count(Status::TimedOut),
            "inProgress": running, "inQueue": count(Status::InQueue), "retried": book.retried},
        "workers": {"idle": idle, "initializing": initializing, "ready": idle, "running": running,
            "throttled": 0, "unhealthy": 0},
    }))
    .into_response()
}

async fn object(State(endpoint): Shared, Path(key): Path<String>) -> Response {
    match endpoint.object(&key).await {
        Some((name, bytes)) => {
            let kind = if name.ends_with(".png") { "image/png" } else { "application/octet-stream" };
            ([(header::CONTENT_TYPE, kind)], bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
