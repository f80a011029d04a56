//! Which events describe an attempt that ended, and how sure each of them is.

use std::cmp::Reverse;

use schemas::{AttemptFacts, Event, Fact};

/// Everything told about an attempt after it ended, with how sure its teller is.
pub(super) fn ended_facts<'a>(number: u32, events: &[&'a Event]) -> Vec<(Source, i64, &'a AttemptFacts)> {
    let mut told = Vec::new();
    for event in events {
        match &event.fact {
            Fact::Retrying { ended_attempt, .. } if ended_attempt.attempt == number => {
                told.push((Source::Retrying, event.time_ms, ended_attempt));
            }
            Fact::Charged { ended_attempt, .. } if ended_attempt.attempt == number => {
                told.push((Source::Charged, event.time_ms, ended_attempt));
            }
            Fact::Ended { attempts, .. } => {
                let listed = attempts.iter().filter(|facts| facts.attempt == number);
                told.extend(listed.map(|facts| (Source::Ended, event.time_ms, facts)));
            }
            _ => {}
        }
    }
    told.sort_by_key(|(source, time_ms, _)| Reverse((*source, *time_ms)));
    told
}

/// Who told of an ended attempt, least sure first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// While the job went on.
    Retrying,
    /// At the end of the job.
    Ended,
    /// After it.
    Charged,
}

impl Source {
    /// Its token in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Ended => "ended",
            Self::Charged => "charged",
        }
    }
}
