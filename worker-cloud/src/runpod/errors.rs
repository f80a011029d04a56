//! What an HTTP answer, or its absence, means. Starting work and asking about it differ: a start whose
//! answer is missing may have cost money, a question can be asked again.

use schemas::{Failure, FailureCode};

/// Why a call did not give what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection: nothing was sent.
    #[error("no connection to the provider: {0}")]
    NotSent(String),
    /// Sent, or partly sent, and no whole answer.
    #[error("the answer was lost: {0}")]
    Lost(String),
    /// An answer that says no.
    #[error("the provider answered {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The wait that it asks for, milliseconds.
        retry_after_ms: Option<u64>,
        /// Its body, shortened.
        body: String,
    },
    /// A success that cannot be read.
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(String),
    /// A file larger than we take.
    #[error("the file is larger than {0} bytes")]
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

/// The failure of a start. `wait_ms` is what to propose when the provider is busy and gives no wait.
#[must_use]
pub fn start_failure(error: &CallError, wait_ms: u64) -> Failure {
    use FailureCode as Code;
    let (status, retry_after_ms, words) = match error {
        CallError::NotSent(words) => {
            return Failure::new(Code::BackendDown, "the endpoint was not reached; nothing was started")
                .with_words(words);
        }
        CallError::Lost(words) | CallError::Unreadable(words) => return lost(words),
        CallError::TooLarge(_) => return lost("the answer was too large to read"),
        CallError::Refused { status, retry_after_ms, body } => (*status, *retry_after_ms, body.as_str()),
    };
    let failure = match status {
        400 | 413 | 422 => {
            Failure::invalid("body", format!("the endpoint refused the request with {status}"))
        }
        429 => Failure::new(Code::RateLimited, "the endpoint takes no more requests for now")
            .with_retry_after_ms(Some(retry_after_ms.unwrap_or(wait_ms))),
        // An answer of a server in between says nothing about the one behind it.
        408 | 500.. => return lost(&format!("HTTP {status} {words}")),
        _ => stopped(status).unwrap_or_else(|| {
            Failure::new(Code::Transient, format!("the endpoint answered {status}; nothing was started"))
        }),
    };
    failure.with_words(words)
}

/// Statuses that end every call alike until a person acts.
#[must_use]
pub fn stopped(status: u16) -> Option<Failure> {
    let message = match status {
        401 | 403 => "RunPod refused the key: set RUNPOD_API_KEY to one that may use this endpoint",
        402 => "RunPod refused for lack of money: top up the account",
        404 | 405 | 410 => "RunPod does not know the endpoint: check its id and the base URL (api.runpod.ai)",
        300..=399 => "RunPod sent us elsewhere: check the base URL (api.runpod.ai)",
        _ => return None,
    };
    Some(Failure::new(FailureCode::ProviderStopped, message))
}

fn lost(words: &str) -> Failure {
    let message = "the answer to the start was lost: the endpoint may be working, and billing";
    Failure::new(FailureCode::OutcomeUnknown, message).with_words(words)
}

/// The provider no longer knows a job that it had accepted.
///
/// Watched until its time to live ran out, it was removed by that limit. Otherwise its result was dropped
/// or its queue was lost, and nobody can tell whether it ran.
#[must_use]
pub fn gone(age_ms: u64, ttl_ms: u64, watched: bool) -> Failure {
    if watched && age_ms >= ttl_ms {
        let message = format!("RunPod removed the job when its time to live of {ttl_ms} ms ran out");
        return Failure::new(FailureCode::Timeout, message);
    }
    let message = "RunPod no longer knows the job; whether it ran cannot be found out";
    Failure::new(FailureCode::OutcomeUnknown, message)
}

/// The provider could not be asked about running work for too long.
#[must_use]
pub fn unanswered(error: &CallError, times: u32) -> Failure {
    let message = format!("RunPod gave no usable answer about the job {times} times in a row");
    let failure = Failure::new(FailureCode::OutcomeUnknown, message);
    match error {
        CallError::Refused { body, status, .. } => failure.with_words(&format!("HTTP {status} {body}")),
        other => failure.with_words(&other.to_string()),
    }
}
