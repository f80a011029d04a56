//! What a request can cost at most, known before it is sent: every unit stays within the service's
//! `maximum_usage`, which is what was reserved for it.
//!
//! - Input: a token of text is at least one byte, a picture has a documented number of tokens. Whatever else
//!   (video, sound, documents) is counted by its length, which nothing here knows: it is not sent.
//! - Output of pictures: `maxOutputTokens` caps pictures, words and thoughts together, so the shipped catalog
//!   reserves all of it at the price of pictures.
//! - Output of video: its length and resolution are asked for (see [`crate::gemini::sizes`]). Video models
//!   document no cap on the words and thoughts beside it; the catalog's `text_token` is for those.

use schemas::{Failure, FailureCode, Job, Service, Unit};

/// Tokens of an input picture at the default resolution of all living models: pricing and media resolution
/// pages, October 2026.
const PICTURE_TOKENS: u64 = 1_120;
/// Tokens around the job's own: roles, separators, the beginning of the text.
const AROUND_TOKENS: u64 = 256;
/// Pictures that the models read.
const PICTURES: [&str; 5] = ["image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"];

/// Most tokens that pictures, words and thoughts of an answer may have together.
#[must_use]
pub fn output_max(service: &Service) -> u64 {
    let output = [Unit::TextToken, Unit::ImageToken].map(|unit| maximum(service, unit).unwrap_or_default());
    output.into_iter().fold(0, u64::saturating_add)
}

/// Checks a job against what was reserved for its request.
///
/// # Errors
/// `capability_missing` with the field that is too large or of no known price: another backend may take it.
pub fn check(job: &Job, service: &Service) -> Result<(), Failure> {
    for (index, input) in job.body.inputs.iter().enumerate() {
        if media_type(&input.media_type).is_none() {
            let message = format!(
                "body.inputs[{index}] `{}` is {}, and what Gemini charges for it is not known before it is sent: \
                 use PNG, JPEG, WebP, HEIC or HEIF, or another backend",
                input.name, input.media_type
            );
            return Err(refused(&format!("body.inputs[{index}].media_type"), message));
        }
    }
    let (class, backend) = (&service.class, &service.backend);
    let Some(most) = maximum(service, Unit::InputToken) else {
        let message = format!(
            "the catalog's maximum_usage of {backend} for {class} has no input_token: add it, so that it is reserved"
        );
        return Err(refused("body.prompt", message));
    };
    let bytes = job.body.prompt.as_deref().unwrap_or_default().len();
    let text = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(AROUND_TOKENS);
    if text > most {
        let message = format!(
            "body.prompt may be {text} tokens ({bytes} bytes), and {most} input tokens are reserved at {backend} for \
             {class}: shorten it, or raise input_token in the catalog's maximum_usage"
        );
        return Err(refused("body.prompt", message));
    }
    let count = job.body.inputs.len();
    let pictures = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(PICTURE_TOKENS);
    if text.saturating_add(pictures) > most {
        let message = format!(
            "body.inputs are {count} pictures of {PICTURE_TOKENS} tokens each beside a prompt of up to {text}, and \
             {most} input tokens are reserved at {backend} for {class}: use fewer, or raise input_token in the \
             catalog's maximum_usage"
        );
        return Err(refused("body.inputs", message));
    }
    Ok(())
}

/// A picture's media type as the API spells it; none for what is no picture that it reads.
#[must_use]
pub fn media_type(written: &str) -> Option<&'static str> {
    let bare = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let bare = if matches!(bare.as_str(), "image/jpg" | "image/pjpeg") { "image/jpeg" } else { &bare };
    PICTURES.into_iter().find(|known| *known == bare)
}

/// The most of a unit that is reserved for the service.
#[must_use]
pub fn maximum(service: &Service, unit: Unit) -> Option<u64> {
    service.maximum_usage.iter().find(|usage| usage.unit == unit).map(|usage| usage.quantity)
}

fn refused(field: &str, message: String) -> Failure {
    Failure { field: Some(field.to_owned()), ..Failure::new(FailureCode::CapabilityMissing, message) }
}
