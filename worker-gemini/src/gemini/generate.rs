//! A picture by `generateContent`: the request, and what its answer means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::{Failure, FailureCode, Job, workflow};
use serde_json::{Value, json};

use crate::gemini::sizes::ImageSize;
use crate::gemini::wire::{Candidate, GenerateReply};

/// The largest request with files in it, bytes.
pub const REQUEST_MAX_BYTES: usize = 20_000_000;
/// Seeds are 32 bits with a sign.
const SEED_MASK: u64 = 0x7fff_ffff;

/// An input file: its media type and bytes.
pub type InputFile = (String, Bytes);

/// A made file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its media type, as the API says: 3.x models may give JPEG.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The request's body.
///
/// # Errors
/// No prompt, or files larger than a request may be.
pub fn request(job: &Job, size: &ImageSize, inputs: &[InputFile]) -> Result<Vec<u8>, Failure> {
    let mut parts = vec![json!({"text": prompt(job)?})];
    parts.extend(inputs.iter().map(
        |(media_type, bytes)| json!({"inlineData": {"mimeType": media_type, "data": STANDARD.encode(bytes)}}),
    ));
    let body = json!({
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {
            "responseModalities": ["IMAGE"],
            "imageConfig": {"aspectRatio": size.aspect, "imageSize": size.size},
            "seed": seed(job),
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

/// The picture in an answer: the last one that is not a thought's draft.
///
/// # Errors
/// Why there is none.
pub fn made(reply: &GenerateReply) -> Result<Made, Failure> {
    let parts = reply.candidates.iter().filter_map(|candidate| candidate.content.as_ref());
    let parts = parts.flat_map(|content| &content.parts).filter(|part| !part.thought);
    let Some(blob) = parts.filter_map(|part| part.inline_data.as_ref()).next_back() else {
        return Err(refusal(reply));
    };
    let bytes = decode(&blob.data)?;
    let media_type = if blob.mime_type.is_empty() { "image/png" } else { &blob.mime_type };
    Ok(Made { media_type: media_type.to_owned(), bytes })
}

/// Base64 to bytes.
///
/// # Errors
/// `transient`: the answer was damaged.
pub fn decode(data: &str) -> Result<Bytes, Failure> {
    let bytes = STANDARD.decode(data).map_err(|error| {
        Failure::new(FailureCode::Transient, "the file in Gemini's answer is not base64")
            .with_words(&error.to_string())
    })?;
    if bytes.is_empty() {
        return Err(Failure::new(FailureCode::Transient, "the file in Gemini's answer is empty"));
    }
    Ok(Bytes::from(bytes))
}

/// Why an answer has no picture.
#[must_use]
pub fn refusal(reply: &GenerateReply) -> Failure {
    let feedback = reply.prompt_feedback.as_ref();
    if let Some(reason) = feedback.and_then(|feedback| feedback.block_reason.as_deref()) {
        let words =
            feedback.and_then(|feedback| feedback.block_reason_message.as_deref()).unwrap_or_default();
        let message = format!("Gemini refused the prompt: {reason}");
        return Failure::new(FailureCode::ContentRefused, message).with_words(words);
    }
    let Some(candidate) = reply.candidates.last() else {
        return Failure::new(
            FailureCode::Transient,
            "Gemini answered without a picture and without a reason",
        );
    };
    let reason = candidate.finish_reason.as_deref().unwrap_or("no reason");
    let words = words_of(candidate);
    let failure = match reason {
        "SAFETY"
        | "IMAGE_SAFETY"
        | "PROHIBITED_CONTENT"
        | "IMAGE_PROHIBITED_CONTENT"
        | "BLOCKLIST"
        | "SPII"
        | "RECITATION"
        | "IMAGE_RECITATION"
        | "LANGUAGE" => {
            Failure::new(FailureCode::ContentRefused, format!("Gemini refused to show the picture: {reason}"))
        }
        "MAX_TOKENS" => Failure::invalid("body.prompt", "Gemini ran out of tokens: use a shorter prompt"),
        _ => Failure::new(FailureCode::Transient, format!("Gemini made no picture: {reason}")),
    };
    failure.with_words(&words)
}

fn words_of(candidate: &Candidate) -> String {
    let parts = candidate.content.iter().flat_map(|content| &content.parts);
    let said = parts.filter(|part| !part.thought).filter_map(|part| part.text.as_deref());
    let all: Vec<&str> = candidate.finish_message.as_deref().into_iter().chain(said).collect();
    all.join("\n")
}
