//! Video (and pictures) by the Interactions API, in the background: the id comes at once, so a lost worker
//! loses nothing. The request, and what an ended interaction means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::{AttemptId, Failure, FailureCode, Job};
use serde_json::{Value, json};

use crate::gemini::errors;
use crate::gemini::generate::{self, InputFile};
use crate::gemini::sizes::{ImageSize, VideoSize};
use crate::gemini::wire::{ErrorDetail, Interaction, Status, StepContent};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A picture, inline.
    Image(ImageSize),
    /// A video, as a file to fetch.
    Video(VideoSize),
}

/// A made file, here or to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRef {
    /// Its media type.
    pub media_type: String,
    /// Where its bytes are.
    pub source: Source,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In base64, here.
    Data(String),
    /// Behind this address.
    Uri(String),
}

/// The body of `POST /v1beta/interactions`. The webhook hears of its end, and the labels let a person find the attempt at the provider.
///
/// # Errors
/// No prompt, or files larger than a request may be.
pub fn request(
    job: &Job,
    attempt: AttemptId,
    model: &str,
    wanted: &Wanted,
    inputs: &[InputFile],
    webhook: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    let mut input = vec![json!({"type": "text", "text": generate::prompt(job)?})];
    input.extend(inputs.iter().map(|(media_type, bytes)| {
        let kind = media_type.split('/').next().unwrap_or("image");
        json!({"type": kind, "mime_type": media_type, "data": STANDARD.encode(bytes)})
    }));
    let format = match wanted {
        Wanted::Image(size) => json!({
            "type": "image", "aspect_ratio": size.aspect, "image_size": size.size, "delivery": "inline",
        }),
        Wanted::Video(size) => json!({
            "type": "video", "aspect_ratio": size.aspect, "resolution": size.resolution,
            "duration": format!("{}s", size.seconds), "delivery": "uri",
        }),
    };
    let mut request = json!({
        "model": model,
        "input": input,
        "response_format": format,
        "generation_config": {"seed": generate::seed(job)},
        "background": true,
        "store": true,
        "labels": {"job": attempt.job.to_string(), "attempt": attempt.attempt.to_string()},
    });
    if let Some(webhook) = webhook {
        request["webhook_config"] = json!({"uris": [webhook]});
    }
    generate::bounded(&request)
}

/// The interaction that a webhook's report is about.
#[must_use]
pub fn reported_id(report: &[u8]) -> Option<String> {
    let report: Value = serde_json::from_slice(report).ok()?;
    let about_us = report["type"].as_str().is_some_and(|kind| kind.starts_with("interaction."));
    let id = report["data"]["id"].as_str().filter(|id| about_us && !id.is_empty());
    id.map(str::to_owned)
}

/// The files of a completed interaction, of the wanted kind (`image` or `video`).
#[must_use]
pub fn media(interaction: &Interaction, kind: &str) -> Vec<MediaRef> {
    let wanted = contents(interaction).into_iter().filter(|content| content.kind == kind);
    wanted
        .filter_map(|content| {
            let usual = if kind == "video" { "video/mp4" } else { "image/png" };
            let media_type = content.mime_type.unwrap_or_else(|| usual.to_owned());
            let source = content.data.map(Source::Data).or_else(|| content.uri.map(Source::Uri))?;
            Some(MediaRef { media_type, source })
        })
        .collect()
}

/// Why an ended interaction has nothing for us.
#[must_use]
pub fn failure(interaction: &Interaction) -> Failure {
    let steps = interaction.steps.iter().filter_map(|step| step.error.as_ref());
    let errors: Vec<&ErrorDetail> = interaction.errors.iter().chain(steps).collect();
    if let Some(error) = errors.first() {
        return errors::of_detail(&code_text(&error.code), &error.message);
    }
    let said: Vec<String> = contents(interaction).into_iter().filter_map(|content| content.text).collect();
    let said = said.join("\n");
    let failure = match interaction.status {
        Status::Completed if said.is_empty() => {
            Failure::new(FailureCode::Transient, "Gemini completed the work and made nothing")
        }
        Status::Completed => {
            Failure::new(FailureCode::ContentRefused, "Gemini answered in words and made nothing")
        }
        Status::RequiresAction => {
            Failure::invalid("body.prompt", "Gemini wants an action of us that a job cannot give")
        }
        Status::BudgetExceeded => {
            Failure::new(FailureCode::ProviderStopped, "the Gemini project's budget is used up")
        }
        Status::Cancelled => {
            Failure::new(FailureCode::Transient, "somebody cancelled the work at Gemini, not through Argosy")
        }
        Status::Incomplete => {
            Failure::new(FailureCode::Transient, "Gemini ended the work before it was done")
        }
        _ => Failure::new(FailureCode::Transient, "Gemini failed without a reason"),
    };
    failure.with_words(&said)
}

/// What the model said and made; our own input and its thoughts are not it.
fn contents(interaction: &Interaction) -> Vec<StepContent> {
    let steps = interaction.steps.iter().filter(|step| step.kind == "model_output");
    let parts = steps.flat_map(|step| match &step.content {
        Value::Array(parts) => parts.clone(),
        Value::Null => Vec::new(),
        part => vec![part.clone()],
    });
    parts.filter_map(|part| serde_json::from_value(part).ok()).collect()
}

fn code_text(code: &Value) -> String {
    code.as_str().map_or_else(|| code.to_string(), str::to_owned)
}
