//! Why a step did not succeed. Decisions look at the variants, never at the words.

use schemas::AttemptId;

/// What an implementation of a port found out, kept as the cause.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The subject holds something that the publisher did not expect: another publisher was quicker.
    #[error("{subject} already holds a message")]
    Occupied {
        /// Where it was published.
        subject: String,
    },
    /// It is longer than a message may be. It is never tried again: what it is made of has bounds, so this is a defect.
    #[error("publishing to {subject}: {bytes} bytes are more than the {limit_bytes} of a message")]
    TooLarge {
        /// Where it was to be published.
        subject: String,
        /// How long it is.
        bytes: usize,
        /// How long a message may be.
        limit_bytes: usize,
    },
    /// The broker did not answer: absent, or slow.
    #[error("publishing to {subject}: {source}")]
    Away {
        /// Where it was published.
        subject: String,
        /// The cause.
        source: Source,
    },
    /// The broker did not store it: no stream takes it, or the stream is full.
    #[error("publishing to {subject}: {source}")]
    Refused {
        /// Where it was published.
        subject: String,
        /// The cause.
        source: Source,
    },
}

/// Why a call to the broker or the ledger brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// What was to be read or changed is not there.
    #[error("{what} is not there")]
    Missing {
        /// What was called for.
        what: &'static str,
    },
    /// The other side did not answer.
    #[error("{what}: no answer: {source}")]
    Away {
        /// What was called for.
        what: &'static str,
        /// The cause.
        source: Source,
    },
    /// The other side answered no.
    #[error("{what}: refused: {source}")]
    Refused {
        /// What was called for.
        what: &'static str,
        /// The cause.
        source: Source,
    },
    /// The answer cannot be read.
    #[error("{what} cannot be read: {source}")]
    Unreadable {
        /// What was called for.
        what: &'static str,
        /// The cause.
        source: Source,
    },
}

/// Why a claim could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process wrote the claim in between.
    #[error("attempt {0} was claimed by another process in between")]
    Lost(AttemptId),
    /// The claims' bucket is full: nothing is written until it is made larger.
    #[error("claim of attempt {attempt}: bucket ATTEMPTS is full, make it larger: {source}")]
    Full {
        /// Which attempt.
        attempt: AttemptId,
        /// The broker's word.
        source: Source,
    },
    /// The broker did not do it, or what is there cannot be read.
    #[error("claim of attempt {attempt}: {source}")]
    Port {
        /// Which attempt.
        attempt: AttemptId,
        /// What happened.
        source: PortError,
    },
}

/// Why a message is handed back. Nothing is lost: the message stays in its queue and is delivered again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// An event, an assignment or a failed attempt was not stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broker or the ledger did not do what was asked.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A claim could not be read or written.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The event that is in the way cannot be read yet: a replica lags behind.
    #[error("the event that is in the way cannot be read yet")]
    Lagging,
}
