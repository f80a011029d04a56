//! Video (and pictures) by the Interactions API, in the background: the id comes at once, so a lost worker
//! loses nothing. The request, and what an ended interaction means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::{AttemptId, Failure, FailureCode, Job, Kind};
use serde_json::{Value, json};

use crate::gemini::generate::{self, InputFile};
use crate::gemini::media::{self, MediaRef};
use crate::gemini::sizes::{ImageSize, VideoSize};
use crate::gemini::wire::{ErrorDetail, Interaction, Status, Step, StepContent};
use crate::gemini::{bounds, errors, usage};

/// What a step's content may be, by the API's words.
const KINDS: [&str; 5] = ["text", "image", "video", "audio", "document"];

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A picture, inline.
    Image {
        /// Its size.
        size: ImageSize,
        /// Most tokens of the answer.
        output_max: u64,
    },
    /// A video, as a file to fetch.
    Video(VideoSize),
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
        let media_type = bounds::media_type(media_type).unwrap_or(media_type);
        let kind = media_type.split('/').next().unwrap_or("image");
        json!({"type": kind, "mime_type": media_type, "data": STANDARD.encode(bytes)})
    }));
    let format = match wanted {
        Wanted::Image { size, .. } => json!({
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
    if let Wanted::Image { output_max, .. } = wanted {
        request["generation_config"]["max_output_tokens"] = json!(output_max);
    }
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

/// The files of an ended interaction, of the wanted kind, in their order; see [`media::chosen`].
#[must_use]
pub fn media(interaction: &Interaction, kind: Kind) -> Vec<MediaRef<'_>> {
    let of = |step: &str| -> Vec<MediaRef<'_>> {
        let files = contents(interaction, step).filter_map(|content| {
            let is_named = content.kind == kind.as_str();
            let is_other = !is_named && KINDS.contains(&content.kind.as_str());
            let blob = content.blob.as_ref().filter(|_| !is_other)?;
            MediaRef::of(blob, kind, is_named)
        });
        files.collect()
    };
    media::chosen(of(Step::OUTPUT), of(Step::THOUGHT))
}

/// Why an ended interaction has nothing for us. What ended well and made nothing, or was cut short, would
/// end so again.
#[must_use]
pub fn failure(interaction: &Interaction) -> Failure {
    let steps = interaction.steps.iter().filter_map(|step| step.error.as_ref());
    let errors: Vec<ErrorDetail> = interaction.errors.iter().chain(steps).cloned().collect();
    if !errors.is_empty() {
        return errors::of_details(&errors);
    }
    use FailureCode as Code;
    let said = contents(interaction, Step::OUTPUT).filter_map(|content| content.text.as_deref());
    let said: Vec<&str> = said.collect();
    let (code, message) = match interaction.status {
        Status::Completed if said.is_empty() => {
            (Code::UnusableResult, "Gemini completed the work and made nothing (completed)")
        }
        Status::Completed => (Code::UnusableResult, "Gemini answered in words and made nothing (completed)"),
        Status::RequiresAction => (
            Code::UnusableResult,
            "Gemini wants an action of us that a job cannot give (requires_action): use another prompt",
        ),
        Status::BudgetExceeded => {
            (Code::ProviderStopped, "the Gemini project's budget is used up (budget_exceeded)")
        }
        Status::Incomplete => (Code::UnusableResult, "Gemini ended the work before it was done (incomplete)"),
        Status::Cancelled if !usage::of_interaction(interaction, Kind::Unknown, false).is_empty() => {
            (Code::Transient, "somebody cancelled the work at Gemini, not through Argosy (cancelled)")
        }
        // Whether it is billed is not documented, and nothing was counted.
        Status::Cancelled => {
            (Code::OutcomeUnknown, "somebody cancelled the work at Gemini, not through Argosy (cancelled)")
        }
        _ => (Code::Transient, "Gemini failed without a reason (failed)"),
    };
    Failure::new(code, message).with_words(&said.join("\n"))
}

/// What is in the steps of a kind; our own input is in none that is asked for.
fn contents<'a>(interaction: &'a Interaction, kind: &str) -> impl Iterator<Item = &'a StepContent> {
    let steps = interaction.steps.iter().filter(move |step| step.kind == kind);
    steps.flat_map(|step| &step.content)
}
