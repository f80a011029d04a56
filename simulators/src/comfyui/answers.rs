//! What all routes share: the server behind them, and the forms of its answers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Comfy;

pub(super) type Shared = State<Arc<Comfy>>;

pub(super) fn json_status(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}

pub(super) fn json_answer(value: &Value) -> Response {
    json_status(StatusCode::OK, value)
}

/// What an unhandled exception looks like.
pub(super) fn crashed() -> Response {
    let text = "500 Internal Server Error\n\nServer got itself in trouble";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}
