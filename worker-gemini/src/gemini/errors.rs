//! What a refusal means. Two shapes of error body are in use (`google.rpc.Status`, and one with a word as
//! its code), either may come wrapped in an array, and the front end sometimes answers in HTML.
//!
//! `transient` is only what may end otherwise the next time and costs nothing until then: HTTP 409, 500, 503,
//! and their like inside an answer, none of which is billed. `tests/tables/outcomes.txt` lists every outcome.

use schemas::calendar::DAY_MS;
use schemas::{Failure, FailureCode, Usage};
use serde_json::Value;

use crate::gemini::usage;
use crate::gemini::wire::ErrorDetail;

/// The wait after "too many requests" when the API gives none, milliseconds.
const RATE_LIMIT_WAIT_MS: u64 = 60_000;
/// Pacific standard time lies this far behind UTC, milliseconds. In summer the quota is back an hour
/// earlier than we say: late by an hour, never early.
const PACIFIC_BEHIND_MS: i64 = 8 * 3_600_000;

/// Why a call did not give what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection: nothing was sent.
    #[error("no connection to Gemini: {0}")]
    NotSent(String),
    /// Sent, or partly sent, and no whole answer.
    #[error("the answer was lost: {0}")]
    Lost(String),
    /// An answer that says no.
    #[error("Gemini answered {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The wait in its header, milliseconds.
        retry_after_ms: Option<u64>,
        /// Its body, shortened.
        body: String,
    },
    /// A success that cannot be read.
    #[error("Gemini's answer cannot be read: {0}")]
    Unreadable(String),
    /// An answer or file larger than we take.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

impl CallError {
    /// The HTTP status, where there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What an error body says, whatever its shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `status` or the worded `code`, upper case.
    pub token: String,
    /// In words.
    pub message: String,
    /// `ErrorInfo.reason`s.
    pub reasons: Vec<String>,
    /// Violated quotas: id and value.
    pub quotas: Vec<(String, String)>,
    /// The wait asked for, milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Reads an error body.
#[must_use]
pub fn said(body: &str) -> Said {
    let Ok(mut document) = serde_json::from_str::<Value>(body) else {
        return Said { message: body.trim().to_owned(), ..Said::default() };
    };
    if let Value::Array(items) = document {
        document = items.into_iter().next().unwrap_or_default();
    }
    let error = document.get("error").unwrap_or(&document);
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let message = text(error, "message").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_default();
    let token = text(error, "status").or_else(|| text(error, "code")).unwrap_or_default();
    let mut said = Said { token: token.to_ascii_uppercase(), message, ..Said::default() };
    for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
        said.reasons.extend(text(detail, "reason"));
        said.retry_after_ms = said.retry_after_ms.or(text(detail, "retryDelay").and_then(|t| seconds(&t)));
        for violation in detail.get("violations").and_then(Value::as_array).into_iter().flatten() {
            let quota = text(violation, "quotaId").unwrap_or_default();
            said.quotas.push((quota, text(violation, "quotaValue").unwrap_or_default()));
        }
    }
    let in_words = said.message.split_once("retry in ").map(|(_, rest)| rest);
    let in_words = in_words.and_then(|rest| rest.split_once('s')).map(|(number, _)| format!("{number}s"));
    said.retry_after_ms = said.retry_after_ms.or_else(|| in_words.and_then(|text| seconds(&text)));
    said
}

/// The failure of a call that starts work. `now_ms` is the present, Unix milliseconds.
#[must_use]
pub fn start_failure(error: &CallError, model: &str, now_ms: i64) -> Failure {
    match error {
        CallError::NotSent(words) => {
            Failure::new(FailureCode::BackendDown, "Gemini was not reached; nothing was started")
                .with_words(words)
        }
        CallError::Lost(words) | CallError::Unreadable(words) => lost(words),
        CallError::TooLarge(_) => too_large(error),
        CallError::Refused { status, retry_after_ms, body } => {
            refused(*status, body, *retry_after_ms, model, now_ms)
        }
    }
}

/// What an HTTP refusal means.
#[must_use]
pub fn refused(status: u16, body: &str, retry_after_ms: Option<u64>, model: &str, now_ms: i64) -> Failure {
    use FailureCode as Code;
    let said = said(body);
    let wait_ms = said.retry_after_ms.or(retry_after_ms);
    let failure = match status {
        429 => too_many(&said, wait_ms, now_ms),
        _ if is_stopped(status, &said) => stopped(&said),
        404 | 410 => {
            Failure::new(Code::CapabilityMissing, format!("Gemini no longer has the model `{model}`"))
                .with_missing(vec![model.to_owned()])
        }
        400 if said.message.contains("only supports Interactions API") => {
            Failure::new(Code::CapabilityMissing, format!("the catalog names the wrong family for `{model}`"))
                .with_missing(vec![model.to_owned()])
        }
        400 | 413 | 422 => Failure::invalid("body", format!("Gemini refused the request: {}", said.message)),
        // These are not billed: to ask again is free.
        409 => Failure::new(Code::Transient, "Gemini asks to try again"),
        500 => Failure::new(Code::Transient, "Gemini failed"),
        503 => Failure::new(Code::Transient, "Gemini is overloaded").with_retry_after_ms(wait_ms),
        // Given up in between or too late: it may have been made, and billed.
        408 | 499 | 501.. => return lost(&format!("HTTP {status} {}", said.message)),
        // What it is, it will be again.
        _ => Failure::new(
            Code::CapabilityMissing,
            format!("Gemini does not take such a request: it answered {status}"),
        ),
    };
    failure.with_words(&said.message)
}

/// Key or billing, in any shape: nothing works until a person acts.
#[must_use]
pub fn is_stopped(status: u16, said: &Said) -> bool {
    matches!(status, 300..=399 | 401 | 402 | 403)
        || said.reasons.iter().any(|reason| reason.starts_with("API_KEY"))
        || (status == 400
            && (matches!(said.token.as_str(), "FAILED_PRECONDITION" | "API_KEY_INVALID")
                || said.message.contains("API key not valid")))
}

fn stopped(said: &Said) -> Failure {
    let message = match said.token.as_str() {
        "FAILED_PRECONDITION" => "Gemini refuses the project: check its billing and its region",
        _ => "Gemini refused the key: set GEMINI_API_KEY to a valid key of a project with billing",
    };
    Failure::new(FailureCode::ProviderStopped, message)
}

fn too_many(said: &Said, wait_ms: Option<u64>, now_ms: i64) -> Failure {
    use FailureCode as Code;
    let message = said.message.to_ascii_lowercase();
    let no_quota = said.quotas.iter().any(|(id, value)| value == "0" || id.contains("FreeTier"));
    if no_quota || message.contains("limit: 0") || message.contains("free_tier") {
        return Failure::new(
            Code::ProviderStopped,
            "the project's tier has no quota for the model: set up billing",
        );
    }
    if message.contains("spend")
        || said.quotas.iter().any(|(id, _)| id.to_ascii_lowercase().contains("spend"))
    {
        return Failure::new(Code::ProviderStopped, "the project's spending limit is reached: raise it");
    }
    if said.quotas.iter().any(|(id, _)| id.contains("PerDay")) {
        let failure = Failure::new(Code::QuotaExhausted, "the day's quota is used up");
        return failure.with_retry_after_ms(Some(until_pacific_midnight_ms(now_ms)));
    }
    Failure::new(Code::RateLimited, "Gemini takes no more requests for now")
        .with_retry_after_ms(Some(wait_ms.unwrap_or(RATE_LIMIT_WAIT_MS)))
}

/// How long until daily quotas come back, milliseconds.
#[must_use]
pub fn until_pacific_midnight_ms(now_ms: i64) -> u64 {
    (DAY_MS - (now_ms - PACIFIC_BEHIND_MS).rem_euclid(DAY_MS)).unsigned_abs()
}

/// Errors inside a success: a refusal outranks a reason, and a reason a mere failure.
#[must_use]
pub fn of_details(errors: &[ErrorDetail]) -> Failure {
    use FailureCode as Code;
    let mut failures: Vec<Failure> =
        errors.iter().map(|error| of_detail(&error.code, &error.message)).collect();
    failures.sort_by_key(|failure| match failure.code {
        Code::ContentRefused => 0,
        Code::Transient => 2,
        _ => 1,
    });
    let Some(first) = failures.into_iter().next() else {
        return Failure::new(Code::Transient, "Gemini failed without a reason");
    };
    let mut words: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    words.dedup();
    first.with_words(&words.join("\n"))
}

/// What is charged is never asked for again by itself: a failure that would be is a result that nobody can
/// use, once the provider counts that it put something out.
#[must_use]
pub fn charged(failure: Failure, usage: &[Usage]) -> Failure {
    use FailureCode as Code;
    let again = matches!(
        failure.code,
        Code::Transient
            | Code::Timeout
            | Code::RateLimited
            | Code::QuotaExhausted
            | Code::BackendDown
            | Code::OutcomeUnknown
    );
    if !again || !usage::is_charged(usage) {
        return failure;
    }
    let message = format!("{}; it was charged, so it is not asked for again", failure.message);
    Failure { code: Code::UnusableResult, message, retry_after_ms: None, ..failure }
}

/// An error inside a success: `google.rpc.Code` as a number, or a word.
#[must_use]
pub fn of_detail(code: &str, message: &str) -> Failure {
    use FailureCode as Code;
    let token = code.to_ascii_lowercase();
    let words = message.to_ascii_lowercase();
    let refused = ["safety", "prohibited", "blocked", "content_policy", "content policy", "responsible ai"];
    if refused.iter().any(|sign| token.contains(sign) || words.contains(sign)) {
        return Failure::new(Code::ContentRefused, "Gemini refused the content").with_words(message);
    }
    let failure = match token.as_str() {
        "3" | "invalid_argument" | "invalid_request" => {
            Failure::invalid("body", "Gemini refused the request")
        }
        // Too much for one request: the same would be too much again.
        "11" | "out_of_range" => Failure::invalid("body", "Gemini cannot make what the request asks"),
        "4" | "deadline_exceeded" => Failure::new(Code::Timeout, "Gemini took too long"),
        "5" | "12" | "not_found" | "unimplemented" => {
            Failure::new(Code::CapabilityMissing, "Gemini does not have what the request names")
        }
        "7" | "9" | "16" | "permission_denied" | "failed_precondition" | "unauthenticated" => {
            Failure::new(Code::ProviderStopped, "Gemini refuses the project or its key")
        }
        "8" | "resource_exhausted" | "rate_limit_exceeded" => {
            Failure::new(Code::RateLimited, "Gemini ran out of room for the project")
                .with_retry_after_ms(Some(RATE_LIMIT_WAIT_MS))
        }
        "" => Failure::new(Code::Transient, "Gemini failed without a code"),
        _ => Failure::new(Code::Transient, format!("Gemini failed: {code}")),
    };
    failure.with_words(message)
}

/// The work is done, and its answer is beyond what is taken: so would the next one be.
#[must_use]
pub fn too_large(error: &CallError) -> Failure {
    Failure::new(FailureCode::NotStored, format!("Gemini's answer was not taken: {error}"))
}

/// Money may have been spent, and nothing brings the answer back.
#[must_use]
pub fn lost(words: &str) -> Failure {
    let message = "Gemini's answer was lost: the work may be done, and billed";
    Failure::new(FailureCode::OutcomeUnknown, message).with_words(words)
}

/// Protobuf's duration, `37s` or `3.957525076s`, in milliseconds rounded up.
fn seconds(text: &str) -> Option<u64> {
    let (whole, part) = match text.strip_suffix('s')?.split_once('.') {
        Some((whole, part)) => (whole, part),
        None => (text.strip_suffix('s')?, ""),
    };
    let whole: u64 = whole.parse().ok()?;
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    let rest = part.len() > 3 && part[3..].bytes().any(|byte| byte != b'0');
    whole.checked_mul(1_000)?.checked_add(millis + u64::from(rest))
}
