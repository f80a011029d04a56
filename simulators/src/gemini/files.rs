//! Files that interactions made, and the other host that hands out their bytes.
//!
//! The API answers a download with a redirect to a signed URL elsewhere. A client that takes its key along leaks it;
//! the download host counts that.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::request::FPS;
use super::store::Interaction;
use super::{Gemini, errors};
use crate::{chance, clock};

/// Larger than anybody wants to keep.
const HUGE_BYTES: usize = 257 * 1024 * 1024;

/// Files are kept for two days.
const KEPT_MS: u64 = 48 * 3_600_000;

fn denied() -> Response {
    let message = "You do not have permission to access the File, or it may not exist.";
    errors::rpc(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message, Value::Null)
}

/// `GET /v1beta/files/{id}` and `…/{id}:download`.
pub(super) async fn file(gemini: &Gemini, spec: &str) -> Response {
    let (id, action) = spec.split_once(':').unwrap_or((spec, ""));
    let Some(one) = gemini.store.by_file(id).filter(|one| one.status == "completed") else { return denied() };
    let now_ms = clock::now_ms();
    if gemini.admin.take("file_expired").is_some() || now_ms > one.updated_ms + KEPT_MS {
        return denied();
    }
    let processing = gemini.scale.wall(gemini.config.file_processing_ms).as_millis() as u64;
    let ready = now_ms >= one.ready_ms + processing;
    match action {
        "" => Json(describe(gemini, &one, ready).await).into_response(),
        "download" if ready => {
            let location = format!("{}/download/{id}?sig={}", gemini.download_url, gemini.signature(id));
            (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
        }
        "download" => errors::rpc(
            StatusCode::BAD_REQUEST,
            "FAILED_PRECONDITION",
            "The File is not ACTIVE.",
            Value::Null,
        ),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn describe(gemini: &Gemini, one: &Interaction, ready: bool) -> Value {
    let mut shown = json!({
        "name": format!("files/{}", one.file), "uri": format!("{}/v1beta/files/{}", gemini.public_url, one.file),
        "mimeType": "video/mp4", "state": if ready { "ACTIVE" } else { "PROCESSING" },
        "createTime": clock::rfc3339(one.updated_ms), "expirationTime": clock::rfc3339(one.updated_ms + KEPT_MS),
        "source": "GENERATED", "videoMetadata": {"frameRate": FPS},
    });
    if ready {
        let bytes = gemini.media(one).await;
        shown["sizeBytes"] = json!(bytes.len().to_string());
        shown["downloadUri"] =
            json!(format!("{}/v1beta/files/{}:download?alt=media", gemini.public_url, one.file));
    }
    shown
}

impl Gemini {
    fn signature(&self, file: &str) -> String {
        chance::hex(self.config.seed, &[b"signature", file.as_bytes()], 32)
    }
}

/// The other host.
pub(super) fn download_host(gemini: Arc<Gemini>) -> Router {
    Router::new().route("/download/{id}", get(download)).with_state(gemini)
}

async fn download(
    State(gemini): State<Arc<Gemini>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key("x-goog-api-key") || query.contains_key("key") {
        tracing::warn!("simulator: the download host was shown the API key");
        gemini.admin.count_key_leak();
    }
    if query.get("sig") != Some(&gemini.signature(&id)) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(one) = gemini.store.by_file(&id) else { return StatusCode::NOT_FOUND.into_response() };
    if gemini.admin.take("file_huge").is_some() {
        return ([(header::CONTENT_TYPE, "video/mp4")], vec![0; HUGE_BYTES]).into_response();
    }
    let bytes = gemini.media(&one).await;
    let kind = if bytes.starts_with(b"\x89PNG") { "image/png" } else { "video/mp4" };
    ([(header::CONTENT_TYPE, kind)], bytes.as_ref().clone()).into_response()
}
