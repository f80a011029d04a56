//! The files in a completed job's output, in worker-comfyui's forms: base64 in the answer, or a URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::{Failure, FailureCode};
use serde_json::Value;

/// One file of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// The name ComfyUI gave it; tells its type.
    pub name: String,
    /// Where its bytes are.
    pub content: Content,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Bytes(Bytes),
    /// Behind a presigned URL that needs no key and must not get ours.
    Url(String),
}

/// The files of an output.
///
/// # Errors
/// `invalid_job` when the handler says that the workflow makes none; `transient` when the result was lost
/// on its way (results above about 20 MB are) or cannot be read.
pub fn files(output: Option<&Value>) -> Result<Vec<OutputFile>, Failure> {
    if output.and_then(|output| output.get("status")).and_then(Value::as_str) == Some("success_no_images") {
        let message = "the workflow ran and saved nothing: end it in a SaveImage node";
        return Err(Failure::invalid("body.workflow", message));
    }
    let images = output.and_then(|output| output.get("images")).and_then(Value::as_array);
    let images = images.filter(|images| !images.is_empty()).ok_or_else(|| lost("it has no files"))?;
    images.iter().map(file).collect()
}

fn file(item: &Value) -> Result<OutputFile, Failure> {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    let data = text("data").ok_or_else(|| lost("a file has no data"))?;
    let name = text("filename").unwrap_or("output.png").to_owned();
    let is_url =
        text("type") == Some("s3_url") || data.starts_with("https://") || data.starts_with("http://");
    let content = if is_url { Content::Url(data.to_owned()) } else { Content::Bytes(decode(data)?) };
    Ok(OutputFile { name, content })
}

fn decode(data: &str) -> Result<Bytes, Failure> {
    let data =
        if data.starts_with("data:") { data.split_once(',').map_or("", |(_, rest)| rest) } else { data };
    let bytes =
        STANDARD.decode(data.trim()).map_err(|error| lost(&format!("a file is not base64: {error}")))?;
    if bytes.is_empty() { Err(lost("a file is empty")) } else { Ok(Bytes::from(bytes)) }
}

/// A job that says it succeeded and whose result is not there.
#[must_use]
pub fn lost(why: &str) -> Failure {
    Failure::new(FailureCode::Transient, format!("RunPod completed the job and the result was lost: {why}"))
}
