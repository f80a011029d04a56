//! The API's routes, behind its key.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use super::errors::{self, Quota};
use super::models::{self, Makes, Model};
use super::{Gemini, files, generate, interactions};
use crate::host::Conn;

type Shared = State<Arc<Gemini>>;

/// Inline requests.
const MAX_BODY_BYTES: usize = 20_000_000;
/// Wait that `http_429_minute` names, provider milliseconds, unless the fault says otherwise.
const MINUTE_WAIT_MS: u64 = 37_000;

pub(super) fn router(gemini: Arc<Gemini>) -> Router {
    Router::new()
        .route("/v1beta/models", get(list))
        .route("/v1beta/models/{spec}", get(describe).post(call))
        .route("/v1beta/interactions", post(create))
        .route("/v1beta/interactions/{id}", get(show).delete(forget))
        .route("/v1beta/interactions/{id}/cancel", post(cancel))
        .route("/v1beta/files/{spec}", get(file))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&gemini), guard))
        .with_state(gemini)
}

/// The key, and the faults that answer instead of the API. Without a `node` they only hit calls that cost money.
async fn guard(
    State(gemini): Shared,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get("x-goog-api-key").and_then(|value| value.to_str().ok());
    let Some(key) = header.or(query.get("key").map(String::as_str)) else {
        gemini.admin.count_auth_failure();
        return errors::no_key();
    };
    if key != gemini.config.api_key {
        gemini.admin.count_auth_failure();
        return errors::key_invalid();
    }
    let path = request.uri().path().to_owned();
    let paid = request.method() == Method::POST && !path.ends_with("/cancel");
    let hits = |fault: &crate::Fault| fault.node.as_ref().map_or(paid, |part| path.contains(part.as_str()));
    let fault = |name: &str| gemini.admin.take_if(name, hits);
    let model = path.rsplit('/').next().and_then(|spec| spec.split(':').next()).unwrap_or_default();
    if fault("api_key_invalid").is_some() {
        gemini.admin.count_auth_failure();
        return errors::key_invalid();
    }
    if let Some(fault) = fault("http_429_minute") {
        let default_ms = gemini.scale.wall(MINUTE_WAIT_MS).as_millis() as u64;
        return errors::quota(&Quota::Minute(fault.delay_ms.unwrap_or(default_ms)), model);
    }
    if fault("http_429_day").is_some() {
        return errors::quota(&Quota::Day, model);
    }
    if fault("http_429_limit_zero").is_some() {
        return errors::quota(&Quota::LimitZero, model);
    }
    if fault("http_503").is_some() {
        return errors::overloaded();
    }
    if fault("error_in_array").is_some() {
        return errors::in_array();
    }
    next.run(request).await
}

fn card(model: &Model) -> Value {
    // The film models advertise generateContent too, and refuse it: as in life.
    let methods = match model.makes {
        Makes::Images => json!(["generateContent", "countTokens"]),
        Makes::Films => json!(["generateContent"]),
    };
    json!({"name": format!("models/{}", model.name), "displayName": format!("{} (simulator)", model.name),
        "inputTokenLimit": 65_536, "outputTokenLimit": 32_768, "supportedGenerationMethods": methods})
}

async fn list(Query(query): Query<HashMap<String, String>>) -> Response {
    let number = |name: &str| query.get(name).map(|text| text.parse::<usize>()).transpose();
    let (Ok(size), Ok(start)) = (number("pageSize"), number("pageToken")) else {
        return errors::invalid("pageSize and pageToken must be valid");
    };
    let (size, start) = (size.unwrap_or(50).max(1), start.unwrap_or(0));
    let cards: Vec<_> = models::all().iter().skip(start).take(size).map(card).collect();
    let mut page = json!({"models": cards});
    if start + size < models::all().len() {
        page["nextPageToken"] = json!((start + size).to_string());
    }
    Json(page).into_response()
}

async fn describe(Path(name): Path<String>) -> Response {
    match models::find(&name) {
        Some(model) => Json(card(model)).into_response(),
        None => errors::no_model(&name, models::is_retired(&name)),
    }
}

/// `{model}:{method}`.
async fn call(
    State(gemini): Shared,
    ConnectInfo(conn): ConnectInfo<Conn>,
    Path(spec): Path<String>,
    body: Bytes,
) -> Response {
    let (model, method) = spec.split_once(':').unwrap_or((&spec, ""));
    match method {
        "generateContent" => match serde_json::from_slice(&body) {
            Ok(body) => generate::generate(gemini, conn, model, body).await,
            Err(_) => errors::invalid("Invalid JSON payload received."),
        },
        // Imagen and Veo are gone from this host.
        "predict" | "predictLongRunning" => errors::no_model(model, true),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn create(State(gemini): Shared, ConnectInfo(conn): ConnectInfo<Conn>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(request) => interactions::create(gemini, conn, request).await,
        Err(_) => {
            errors::interaction(StatusCode::BAD_REQUEST, "invalid_request", "Invalid JSON payload received.")
        }
    }
}

async fn show(State(gemini): Shared, Path(id): Path<String>) -> Response {
    interactions::show(&gemini, &id, true).await
}

async fn cancel(State(gemini): Shared, Path(id): Path<String>) -> Response {
    interactions::cancel(&gemini, &id).await
}

/// Deleting does not unbill; the simulator keeps the interaction, for the audit.
async fn forget(State(gemini): Shared, Path(id): Path<String>) -> Response {
    match gemini.store.get(&id) {
        Some(_) => Json(json!({})).into_response(),
        None => errors::interaction(StatusCode::NOT_FOUND, "not_found", "Interaction not found."),
    }
}

async fn file(State(gemini): Shared, Path(spec): Path<String>) -> Response {
    files::file(&gemini, &spec).await
}
