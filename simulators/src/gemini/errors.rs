//! Errors in the two shapes that the API has.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// `google.rpc` shape.
pub(super) fn rpc(code: StatusCode, status: &str, message: &str, details: Value) -> Response {
    let mut error = json!({"code": code.as_u16(), "status": status, "message": message});
    if details.is_array() {
        error["details"] = details;
    }
    (code, Json(json!({"error": error}))).into_response()
}

pub(super) fn invalid(message: &str) -> Response {
    rpc(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message, Value::Null)
}

/// The interactions' shape: `code` is a string.
pub(super) fn interaction(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

pub(super) fn key_invalid() -> Response {
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
        "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}]);
    let message = "API key not valid. Please pass a valid API key.";
    rpc(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message, details)
}

pub(super) fn no_key() -> Response {
    let message = "Method doesn't allow unregistered callers (callers without established identity).";
    rpc(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message, Value::Null)
}

/// Which quota was hit.
pub(super) enum Quota {
    /// Per minute, with the wait in wall milliseconds.
    Minute(u64),
    Day,
    /// The model is not offered on this tier at all.
    LimitZero,
}

pub(super) fn quota(quota: &Quota, model: &str) -> Response {
    let (id, value) = match quota {
        Quota::Minute(_) => ("GenerateRequestsPerMinutePerProjectPerModel", "10"),
        Quota::Day => ("GenerateRequestsPerDayPerProjectPerModel", "250"),
        Quota::LimitZero => ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "0"),
    };
    let mut details = vec![
        json!({"@type": "type.googleapis.com/google.rpc.Help", "links": []}),
        json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/generate_requests", "quotaId": id,
            "quotaDimensions": {"location": "global", "model": model}, "quotaValue": value}]}),
    ];
    let mut message = format!("You exceeded your current quota. Limit: {value}, model: {model}.");
    if let Quota::Minute(wait_ms) = quota {
        let seconds = *wait_ms as f64 / 1000.0;
        message.push_str(&format!(" Please retry in {seconds}s."));
        details.push(
            json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}),
        );
    }
    rpc(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", &message, json!(details))
}

pub(super) fn overloaded() -> Response {
    let message = "The model is overloaded. Please try again later.";
    rpc(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message, Value::Null)
}

/// An internal error as some front ends send it: wrapped in an array.
pub(super) fn in_array() -> Response {
    let body =
        json!([{"error": {"code": 500, "status": "INTERNAL", "message": "An internal error has occurred."}}]);
    (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
}

pub(super) fn no_model(model: &str, retired: bool) -> Response {
    let message = if retired {
        format!(
            "This model models/{model} is no longer available. Please update your code to use a newer model."
        )
    } else {
        format!("models/{model} is not found for API version v1beta, or is not supported for this method.")
    };
    rpc(StatusCode::NOT_FOUND, "NOT_FOUND", &message, Value::Null)
}
