//! Why the winner won, put into words once it is known who it is.

use std::fmt::{self, Write as _};

use schemas::Candidate;

/// Room for the sentence, bytes: two names of usual length, so that it is written without growing.
const SENTENCE_BYTES: usize = 80;

/// What decided for the winner.
pub(super) enum Why<'a> {
    /// The job named it.
    Preferred,
    /// A retry was due there.
    Again {
        /// The attempt that is tried again.
        attempt: u32,
    },
    /// A slot of our own is free.
    FreeSlot,
    /// A schedule over all that wait says so.
    Scheduled(&'a str),
    /// Nothing else was eligible.
    Alone,
    /// A better score than the next.
    Ahead(&'a Candidate),
    /// The same score as the next, for less.
    Cheaper(&'a Candidate),
    /// The same score and cost as the next.
    Level(&'a Candidate),
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preferred => f.write_str("the job prefers it"),
            Self::Again { attempt } => write!(f, "attempt {attempt} is tried again there"),
            Self::FreeSlot => f.write_str("a slot of our own is free now"),
            Self::Scheduled(why) => f.write_str(why),
            Self::Alone => f.write_str("nothing else is eligible"),
            Self::Ahead(next) => write!(f, "ahead of {} with {:.3}", next.backend, next.score),
            Self::Cheaper(next) => write!(f, "cheaper than {} at the same score", next.backend),
            Self::Level(next) => write!(f, "level with {}, and first by name", next.backend),
        }
    }
}

/// The decision's reason: who won, with what score where that decided, and why.
pub(super) fn sentence(winner: &Candidate, why: &Why<'_>) -> String {
    let mut sentence = String::with_capacity(SENTENCE_BYTES);
    let written = match why {
        Why::FreeSlot | Why::Scheduled(_) => write!(sentence, "{}: {why}", winner.backend),
        _ => write!(sentence, "{} scores {:.3}; {why}", winner.backend, winner.score),
    };
    written.expect("a string takes all");
    sentence
}
