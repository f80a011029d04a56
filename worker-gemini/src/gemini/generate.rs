//! Pictures by `generateContent`: the request, and what its answer means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::{Failure, FailureCode, Job, Kind, workflow};
use serde_json::{Value, json};

use crate::gemini::media::{self, MediaRef};
use crate::gemini::sizes::ImageSize;
use crate::gemini::wire::{Candidate, GenerateReply};
use crate::gemini::{bounds, errors};

/// The largest request with files in it, bytes.
pub const REQUEST_MAX_BYTES: usize = 20_000_000;
/// Seeds are 32 bits with a sign.
const SEED_MASK: u64 = 0x7fff_ffff;
/// Ends of an answer by which the provider says that it refuses the content.
const REFUSALS: [&str; 9] = [
    "SAFETY",
    "IMAGE_SAFETY",
    "PROHIBITED_CONTENT",
    "IMAGE_PROHIBITED_CONTENT",
    "BLOCKLIST",
    "SPII",
    "RECITATION",
    "IMAGE_RECITATION",
    "LANGUAGE",
];
/// Kinds of parts that are named of an answer without a picture.
const KINDS_MAX: usize = 8;

/// An input file: its media type and bytes.
pub type InputFile = (String, Bytes);

/// The request's body.
///
/// # Errors
/// No prompt, or files larger than a request may be.
pub fn request(
    job: &Job,
    size: &ImageSize,
    inputs: &[InputFile],
    output_max: u64,
) -> Result<Vec<u8>, Failure> {
    let mut parts = vec![json!({"text": prompt(job)?})];
    parts.extend(inputs.iter().map(|(media_type, bytes)| {
        let media_type = bounds::media_type(media_type).unwrap_or(media_type);
        json!({"inlineData": {"mimeType": media_type, "data": STANDARD.encode(bytes)}})
    }));
    let body = json!({
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {
            "responseModalities": ["IMAGE"],
            "imageConfig": {"aspectRatio": size.aspect, "imageSize": size.size},
            "seed": seed(job),
            "candidateCount": 1,
            "maxOutputTokens": output_max,
        },
    });
    bounded(&body)
}

/// The job's words.
///
/// # Errors
/// It is a workflow.
pub fn prompt(job: &Job) -> Result<&str, Failure> {
    let prompt = job.body.prompt.as_deref().filter(|prompt| !prompt.is_empty());
    prompt.ok_or_else(|| {
        let message = "Gemini takes prompts, and this job is a ComfyUI workflow";
        Failure::new(FailureCode::CapabilityMissing, message)
    })
}

/// The job's seed in the API's range.
#[must_use]
pub fn seed(job: &Job) -> u64 {
    job.body.seed.unwrap_or_else(|| workflow::seed_of(job.id)) & SEED_MASK
}

/// A body as bytes.
///
/// # Errors
/// `invalid_job` naming the inputs when it is larger than the API takes.
pub fn bounded(body: &Value) -> Result<Vec<u8>, Failure> {
    let bytes = body.to_string().into_bytes();
    if bytes.len() > REQUEST_MAX_BYTES {
        let message = format!(
            "prompt and inputs make a request of {} bytes and Gemini takes {REQUEST_MAX_BYTES}: use smaller files",
            bytes.len()
        );
        return Err(Failure::invalid("body.inputs", message));
    }
    Ok(bytes)
}

/// The pictures in an answer, of all its candidates, in their order. Drafts in the thoughts are not among
/// them unless there is nothing else, and never where the provider refuses to show the picture.
#[must_use]
pub fn media(reply: &GenerateReply) -> Vec<MediaRef<'_>> {
    let of = |thought: bool| -> Vec<MediaRef<'_>> {
        let parts = reply.candidates.iter().flat_map(|candidate| &candidate.parts);
        let blobs = parts.filter(|part| part.thought == thought).filter_map(|part| part.blob.as_ref());
        blobs.filter_map(|blob| MediaRef::of(blob, Kind::Image, false)).collect()
    };
    let drafts = if is_refused(reply) { Vec::new() } else { of(true) };
    media::chosen(of(false), drafts)
}

/// Whether the provider says that it refuses the content.
fn is_refused(reply: &GenerateReply) -> bool {
    let blocked = reply.prompt_feedback.as_ref().is_some_and(|feedback| feedback.block_reason.is_some());
    blocked || refusing(reply).is_some()
}

fn refusing(reply: &GenerateReply) -> Option<&Candidate> {
    let refuses = |candidate: &&Candidate| {
        candidate.finish_reason.as_deref().is_some_and(|reason| REFUSALS.contains(&reason))
    };
    reply.candidates.iter().find(refuses)
}

/// Why an answer has no picture. A refusal is the content's; every other end without a picture is a result
/// that nobody can use: it was charged, and the same request would be answered so again.
#[must_use]
pub fn failure(reply: &GenerateReply) -> Failure {
    let feedback = reply.prompt_feedback.as_ref();
    if let Some(reason) = feedback.and_then(|feedback| feedback.block_reason.as_deref()) {
        let words =
            feedback.and_then(|feedback| feedback.block_reason_message.as_deref()).unwrap_or_default();
        let message = format!("Gemini refused the prompt: {reason}");
        return Failure::new(FailureCode::ContentRefused, message).with_words(words);
    }
    if reply.candidates.is_empty() && !reply.errors.is_empty() {
        return errors::of_details(&reply.errors);
    }
    if let Some(candidate) = refusing(reply) {
        let reason = candidate.finish_reason.as_deref().unwrap_or_default();
        let message = format!("Gemini refused to show the picture: {reason}");
        return Failure::new(FailureCode::ContentRefused, message).with_words(&words(reply));
    }
    let message = match reply.candidates.last() {
        None => "Gemini answered without a picture and without a reason".to_owned(),
        Some(candidate) => match candidate.finish_reason.as_deref() {
            Some("MAX_TOKENS") => {
                "Gemini used up its output tokens (MAX_TOKENS) before the picture was made: raise \
                                   image_token in the catalog's maximum_usage, or use a simpler prompt"
                    .to_owned()
            }
            reason => format!("Gemini made no picture: {}{}", reason.unwrap_or("no reason"), shape(reply)),
        },
    };
    Failure::new(FailureCode::UnusableResult, message).with_words(&words(reply))
}

/// What an answer is made of instead.
fn shape(reply: &GenerateReply) -> String {
    let parts = reply.candidates.iter().flat_map(|candidate| &candidate.parts);
    let kinds: Vec<String> = parts
        .take(KINDS_MAX)
        .map(|part| match part.blob.as_ref().and_then(|blob| blob.mime_type.as_deref()) {
            Some(media_type) => format!("{} of {media_type}", part.kind),
            None if part.thought => format!("{} of its thoughts", part.kind),
            None => part.kind.clone(),
        })
        .collect();
    if kinds.is_empty() {
        ", an answer without parts".to_owned()
    } else {
        format!(", only {}", kinds.join(", "))
    }
}

/// What the provider says, its thoughts left out.
fn words(reply: &GenerateReply) -> String {
    let of = |candidate: &Candidate| {
        let said = candidate.parts.iter().filter(|part| !part.thought).filter_map(|part| part.text.clone());
        let all: Vec<String> = candidate.finish_message.clone().into_iter().chain(said).collect();
        all
    };
    reply.candidates.iter().flat_map(of).collect::<Vec<_>>().join("\n")
}
