//! The server's HTTP routes, under `/` and under `/api`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};

use super::answers::{Shared, crashed, json_answer};
use super::files::{Denied, annotated, content_type};
use super::{Comfy, MAX_BODY_BYTES, Mode, jobs, submit, uploads};
use crate::{chance, clock};

pub(super) fn router(comfy: Arc<Comfy>) -> Router {
    let mut routes = Router::new()
        .route("/ws", get(websocket))
        .route("/prompt", get(queue_length).post(submit::submit))
        .route("/queue", get(show_queue).post(change_queue))
        .route("/interrupt", post(interrupt))
        .route("/free", post(free))
        .route("/history", get(show_history).post(change_history))
        .route("/history/{id}", get(one_history))
        .route("/view", get(view))
        .route("/upload/image", post(uploads::image))
        .route("/system_stats", get(system_stats))
        .route("/object_info", get(object_info))
        .route("/object_info/{class}", get(one_object_info))
        .route("/models", get(model_folders))
        .route("/models/{folder}", get(model_files))
        .route("/embeddings", get(|| async { json_answer(&json!([])) }))
        .route("/features", get(features));
    if comfy.config.mode == Mode::New {
        routes = routes.merge(jobs::routes());
    }
    let guard = axum::middleware::from_fn(origin_guard);
    Router::new()
        .merge(routes.clone())
        .nest("/api", routes)
        .fallback(unknown)
        .method_not_allowed_fallback(async |request: Request| wrong_method(request.method()))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(guard)
        .with_state(comfy)
}

/// Static files are served under `/`, so an unknown GET is an empty 404 and anything else a wrong method.
async fn unknown(request: Request) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => StatusCode::NOT_FOUND.into_response(),
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => wrong_method(request.method()),
    }
}

fn wrong_method(method: &Method) -> Response {
    match *method {
        Method::GET | Method::HEAD => StatusCode::NOT_FOUND.into_response(),
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed").into_response(),
    }
}

/// A browser page of another host may not use a server on loopback.
async fn origin_guard(request: Request, next: Next) -> Response {
    if foreign_origin(request.headers()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

fn foreign_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(host), Some(origin)) = (text(header::HOST), text(header::ORIGIN)) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
    local && origin.split_once("://").map_or(origin, |(_, rest)| rest) != host
}

async fn websocket(
    State(comfy): Shared,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let id = query
        .get("clientId")
        .filter(|id| !id.is_empty())
        .cloned()
        .unwrap_or_else(|| chance::hex(comfy.config.seed, &[b"sid", &clock::now_ms().to_be_bytes()], 32));
    let mut status = comfy.status_data();
    status["sid"] = json!(id);
    let mut greeting = vec![json!({"type": "status", "data": status})];
    if let Some(running) = &comfy.queue().running
        && running.item.client_id.as_deref() == Some(&id)
        && let Some(node) = &running.last_node
    {
        greeting.push(json!({"type": "executing", "data": {"node": node}}));
    }
    upgrade.on_upgrade(move |socket| async move {
        let features = comfy.features();
        comfy.sockets.serve(socket, id, greeting, features).await;
    })
}

async fn queue_length(State(comfy): Shared) -> Response {
    json_answer(&comfy.status_data()["status"])
}

async fn show_queue(State(comfy): Shared) -> Response {
    let queue = comfy.queue();
    let running: Vec<_> = queue.running.iter().map(|running| running.item.show()).collect();
    let pending: Vec<_> = queue.pending.iter().map(super::queue::Item::show).collect();
    json_answer(&json!({"queue_running": running, "queue_pending": pending}))
}

/// `{"delete": [...]}` of a queue or history change.
fn ids_to_delete(body: &Value) -> Vec<String> {
    let list = body["delete"].as_array().into_iter().flatten();
    list.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).collect()
}

async fn change_queue(State(comfy): Shared, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return crashed() };
    let clear = body["clear"] == Value::Bool(true);
    let changed = {
        let mut queue = comfy.queue();
        if clear {
            queue.pending.clear();
        }
        queue.delete_pending(&ids_to_delete(&body))
    };
    if clear || changed {
        comfy.status();
    }
    StatusCode::OK.into_response()
}

async fn interrupt(State(comfy): Shared, body: Bytes) -> Response {
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_else(|_| json!({}));
    if !body.is_object() {
        return crashed();
    }
    let wanted = body["prompt_id"].as_str().filter(|_| comfy.config.mode != Mode::Old);
    comfy.interrupt(wanted);
    StatusCode::OK.into_response()
}

impl Comfy {
    /// Asks the running job to stop; with an id, only that job. Says whether there was one to ask.
    pub(super) fn interrupt(&self, wanted: Option<&str>) -> bool {
        let matches = |id: &str| wanted.is_none_or(|wanted| wanted == id);
        if !self.queue().running.as_ref().is_some_and(|running| matches(&running.item.id)) {
            return false;
        }
        let slow = self.admin.take("slow_interrupt").map_or(0, |fault| fault.delay_ms.unwrap_or(3_000));
        let mut queue = self.queue();
        let Some(running) = queue.running.as_mut().filter(|running| matches(&running.item.id)) else {
            return false;
        };
        running.interrupt_at_ms.get_or_insert(clock::now_ms() + slow);
        true
    }
}

async fn free(State(comfy): Shared, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return crashed() };
    if body["free_memory"] == Value::Bool(true) {
        comfy.queue().cache.clear();
    }
    StatusCode::OK.into_response()
}

async fn show_history(State(comfy): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let number = |name: &str| query.get(name).map(|text| text.parse::<i64>()).transpose();
    let (Ok(max), Ok(offset)) = (number("max_items"), number("offset")) else { return crashed() };
    let max = max.map(|max| max.max(0) as usize);
    json_answer(&comfy.queue().page(max, offset))
}

async fn one_history(State(comfy): Shared, Path(id): Path<String>) -> Response {
    let queue = comfy.queue();
    json_answer(&queue.past(&id).map_or_else(|| json!({}), |past| json!({id.as_str(): past.show()})))
}

async fn change_history(State(comfy): Shared, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return crashed() };
    let mut queue = comfy.queue();
    if body["clear"] == Value::Bool(true) {
        queue.history.clear();
    }
    let ids = ids_to_delete(&body);
    queue.history.retain(|past| !ids.contains(&past.id));
    StatusCode::OK.into_response()
}

async fn view(State(comfy): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let Some(filename) = query.get("filename") else { return StatusCode::NOT_FOUND.into_response() };
    let (name, folder) = annotated(filename, query.get("type").map_or("output", String::as_str));
    if name.is_empty() || name.starts_with('/') || name.contains("..") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let subfolder = query.get("subfolder").map_or("", String::as_str);
    // Only the last part counts; folders belong into `subfolder`.
    let name = name.rsplit('/').next().unwrap_or(name);
    let path = match comfy.files.path(folder, subfolder, name) {
        Ok(path) => path,
        Err(Denied::UnknownFolder) => return StatusCode::BAD_REQUEST.into_response(),
        Err(Denied::Escape) => return StatusCode::FORBIDDEN.into_response(),
    };
    let Ok(bytes) = tokio::fs::read(path).await else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    if let Ok(value) = HeaderValue::from_bytes(format!("filename=\"{name}\"").as_bytes()) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

async fn system_stats(State(comfy): Shared) -> Response {
    let version = if comfy.config.mode == Mode::New { "0.9.2" } else { "0.3.64" };
    let vram = comfy.config.vram_bytes;
    let busy = comfy.queue().running.is_some();
    let free = if busy { vram / 4 } else { vram / 10 * 9 };
    json_answer(&json!({
        "system": {
            "os": "posix", "ram_total": 67_430_686_720_u64, "ram_free": 50_000_000_000_u64,
            "comfyui_version": version, "required_frontend_version": "1.27.10",
            "installed_templates_version": "0.1.95", "required_templates_version": "0.1.95",
            "python_version": "3.12.3 (simulator)", "pytorch_version": "2.8.0+cu128",
            "embedded_python": false, "argv": ["main.py", "--simulator"],
        },
        "devices": [{"name": comfy.config.gpu_name, "type": "cuda", "index": 0, "vram_total": vram,
            "vram_free": free, "torch_vram_total": 0, "torch_vram_free": 0}],
    }))
}

async fn object_info(State(comfy): Shared) -> Response {
    json_answer(&comfy.installed().describe(None, &comfy.files.inputs()))
}

async fn one_object_info(State(comfy): Shared, Path(class): Path<String>) -> Response {
    json_answer(&comfy.installed().describe(Some(&class), &comfy.files.inputs()))
}

async fn model_folders(State(comfy): Shared) -> Response {
    json_answer(&json!(comfy.catalog.folders()))
}

async fn model_files(State(comfy): Shared, Path(folder): Path<String>) -> Response {
    match comfy.catalog.files(&folder) {
        Some(files) => json_answer(&json!(files)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn features(State(comfy): Shared) -> Response {
    json_answer(&comfy.features())
}
