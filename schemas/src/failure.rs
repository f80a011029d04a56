//! What went wrong: a closed code to branch on, and words to read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{cut, cut_owned};

/// A failure: the code decides what follows, the words are for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What kind it is.
    pub code: FailureCode,
    /// What happened, and the cure where there is one.
    pub message: String,
    /// The field of the job to mend, for `invalid_job`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The provider's own words, shortened to [`Failure::PROVIDER_WORDS_MAX_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_words: Option<String>,
    /// For `rate_limited` and `quota_exhausted`: how long the provider asks us to wait, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// For `backend_down`: the server went away, or stood still, while it ran this very job, which may be why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub while_running: bool,
    /// For `capability_missing`: the models or nodes that are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Failure {
    /// Provider answers can be long (tracebacks, HTML); this much of one travels with the job.
    pub const PROVIDER_WORDS_MAX_BYTES: usize = 2_000;
    /// Our words may quote a client's or a provider's; this much of them travels.
    pub const MESSAGE_MAX_BYTES: usize = 2_000;
    /// The path of a field may hold a client's names; this much of it travels.
    pub const FIELD_MAX_BYTES: usize = 200;
    /// So many missing models and nodes are named,
    pub const MISSING_MAX: usize = 32;
    /// each with so many bytes.
    pub const MISSING_NAME_MAX_BYTES: usize = 255;
    /// What is left of the words where a failure is history.
    const BRIEF_MAX_BYTES: usize = 300;

    /// A failure with our words.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: cut_owned(message.into(), Self::MESSAGE_MAX_BYTES),
            field: None,
            provider_words: None,
            retry_after_ms: None,
            while_running: false,
            missing: Vec::new(),
        }
    }

    /// An `invalid_job` that names the field.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: Some(cut(field, Self::FIELD_MAX_BYTES).into_owned()),
            ..Self::new(FailureCode::InvalidJob, message)
        }
    }

    /// Adds the provider's words, cut with a mark.
    #[must_use]
    pub fn with_words(mut self, words: &str) -> Self {
        let words = cut(words, Self::PROVIDER_WORDS_MAX_BYTES);
        self.provider_words = (!words.is_empty()).then(|| words.into_owned());
        self
    }

    /// Adds the wait that the provider asked for.
    #[must_use]
    pub const fn with_retry_after_ms(mut self, wait_ms: Option<u64>) -> Self {
        self.retry_after_ms = wait_ms;
        self
    }

    /// Adds what was missing.
    #[must_use]
    pub fn with_missing(mut self, missing: Vec<String>) -> Self {
        let named = missing.into_iter().take(Self::MISSING_MAX);
        self.missing = named.map(|name| cut_owned(name, Self::MISSING_NAME_MAX_BYTES)).collect();
        self
    }

    /// What goes on with later attempts: the code, what decisions look at, and few words. All of them are in the
    /// attempt's own event.
    #[must_use]
    pub fn brief(&self) -> Self {
        let mut missing = self.missing.clone();
        missing.truncate(8);
        Self {
            message: cut(&self.message, Self::BRIEF_MAX_BYTES).into_owned(),
            provider_words: None,
            missing,
            ..self.clone()
        }
    }
}

/// The closed set of failures. Workers map onto it; only `policy` decides what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The job itself is wrong; nothing can run it.
    InvalidJob,
    /// The provider refused the content.
    ContentRefused,
    /// A model or node is not there.
    CapabilityMissing,
    /// The GPU's memory did not suffice.
    OutOfMemory,
    /// Too many requests; a wait is known or assumed.
    RateLimited,
    /// A quota is used up until some time.
    QuotaExhausted,
    /// It may work next time.
    Transient,
    /// The backend does not answer or does not work.
    BackendDown,
    /// Key or billing: out until a person acts.
    ProviderStopped,
    /// It took longer than it may.
    Timeout,
    /// A drain or a lost worker; costs no attempt.
    Interrupted,
    /// Money may have been spent and the provider cannot tell us.
    OutcomeUnknown,
    /// The provider ended the work as done, and what it gave is no file that can be read: words only, an
    /// unknown shape, nothing at all. The same would come again, so it ends the job; charged once.
    UnusableResult,
    /// The provider delivered, and the files could not be fetched or stored for as long as they are kept.
    /// Never a reason to start new paid work; charged once.
    NotStored,
    /// It killed its workers.
    Poison,
    /// Somebody cancelled it.
    Cancelled,
    /// Its deadline passed.
    Expired,
    /// Its schema version is newer than this fleet's; put aside for a newer router, not ended.
    TooNew,
    /// A code of a newer version; ends the job, with its words.
    #[serde(other)]
    Unknown,
}

impl FailureCode {
    /// All codes, for exhaustive tables.
    pub const ALL: [Self; 19] = [
        Self::InvalidJob,
        Self::ContentRefused,
        Self::CapabilityMissing,
        Self::OutOfMemory,
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::Transient,
        Self::BackendDown,
        Self::ProviderStopped,
        Self::Timeout,
        Self::Interrupted,
        Self::OutcomeUnknown,
        Self::UnusableResult,
        Self::NotStored,
        Self::Poison,
        Self::Cancelled,
        Self::Expired,
        Self::TooNew,
        Self::Unknown,
    ];

    /// Its token in subjects, SQL, metrics and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJob => "invalid_job",
            Self::ContentRefused => "content_refused",
            Self::CapabilityMissing => "capability_missing",
            Self::OutOfMemory => "out_of_memory",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Transient => "transient",
            Self::BackendDown => "backend_down",
            Self::ProviderStopped => "provider_stopped",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::UnusableResult => "unusable_result",
            Self::NotStored => "not_stored",
            Self::Poison => "poison",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::TooNew => "too_new",
            Self::Unknown => "unknown",
        }
    }
}
