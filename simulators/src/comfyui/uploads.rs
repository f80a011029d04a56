//! `POST /upload/image`: any file, under the name the server chooses.

use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use super::answers::{Shared, crashed, json_answer};
use super::files::Denied;

#[derive(Default)]
struct Form {
    file: Option<(String, Bytes)>,
    folder: Option<String>,
    subfolder: String,
    overwrite: bool,
}

/// The part called `image` was a text, not a file; the real server stumbles over that.
struct NotAFile;

async fn read(mut multipart: Multipart) -> Option<Result<Form, NotAFile>> {
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.ok()? {
        let name = field.name().unwrap_or_default().to_owned();
        let filename = field.file_name().map(str::to_owned);
        let bytes = field.bytes().await.ok()?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        match name.as_str() {
            "image" => match filename {
                Some(filename) => form.file = Some((filename, bytes)),
                None => return Some(Err(NotAFile)),
            },
            "type" => form.folder = Some(text()),
            "subfolder" => form.subfolder = text(),
            "overwrite" => form.overwrite = matches!(text().as_str(), "true" | "1"),
            _ => {}
        }
    }
    Some(Ok(form))
}

pub(super) async fn image(
    State(comfy): Shared,
    multipart: Result<Multipart, MultipartRejection>,
) -> Response {
    let bad = || StatusCode::BAD_REQUEST.into_response();
    let Ok(multipart) = multipart else { return bad() };
    let form = match read(multipart).await {
        Some(Ok(form)) => form,
        Some(Err(NotAFile)) => return crashed(),
        None => return bad(),
    };
    let Some((name, bytes)) = form.file.filter(|(name, _)| !name.is_empty()) else { return bad() };
    let folder = form.folder.as_deref().unwrap_or("input");
    let stored = comfy.files.upload((folder, &form.subfolder, &name), &bytes, form.overwrite);
    match stored {
        Ok(Ok(name)) => json_answer(&json!({"name": name, "subfolder": form.subfolder, "type": folder})),
        Ok(Err(Denied::Escape)) => bad(),
        Ok(Err(Denied::UnknownFolder)) | Err(_) => crashed(),
    }
}
