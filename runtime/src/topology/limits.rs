//! Which of two numbers a limit becomes: never the lower one, unless an operator names the limit.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// A limit of a stream, a bucket or a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Copies of a stream.
    Replicas,
    /// Size in all.
    MaxBytes,
    /// Age at which a message is gone.
    MaxAge,
    /// Messages of one subject.
    MessagesPerSubject,
    /// Size of one message.
    MaxMessageSize,
    /// How long message ids are remembered.
    DuplicateWindow,
    /// Values kept of a key.
    History,
    /// How long a delivery may stay unanswered.
    AckWait,
    /// Deliveries before the broker gives up.
    MaxDeliver,
    /// Deliveries that may be unanswered at once.
    MaxAckPending,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 10] = [
        Self::Replicas,
        Self::MaxBytes,
        Self::MaxAge,
        Self::MessagesPerSubject,
        Self::MaxMessageSize,
        Self::DuplicateWindow,
        Self::History,
        Self::AckWait,
        Self::MaxDeliver,
        Self::MaxAckPending,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::MaxBytes => "max_bytes",
            Self::MaxAge => "max_age",
            Self::MessagesPerSubject => "max_messages_per_subject",
            Self::MaxMessageSize => "max_message_size",
            Self::DuplicateWindow => "duplicate_window",
            Self::History => "history",
            Self::AckWait => "ack_wait",
            Self::MaxDeliver => "max_deliver",
            Self::MaxAckPending => "max_ack_pending",
        }
    }

    /// From which number down there is no limit at all.
    const fn unlimited_up_to(self) -> i64 {
        match self {
            Self::MaxBytes
            | Self::MaxAge
            | Self::MessagesPerSubject
            | Self::MaxMessageSize
            | Self::MaxDeliver
            | Self::MaxAckPending => 0,
            Self::Replicas | Self::DuplicateWindow | Self::History | Self::AckWait => -1,
        }
    }

    const fn rank(self, value: i64) -> i64 {
        if value <= self.unlimited_up_to() { i64::MAX } else { value }
    }

    fn shown(self, value: i64) -> String {
        match self {
            _ if self.rank(value) == i64::MAX => "none".to_owned(),
            Self::MaxAge | Self::DuplicateWindow | Self::AckWait => format!("{value} ms"),
            _ => value.to_string(),
        }
    }
}

/// No limit has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no limit: use one of {names}", names = Limit::ALL.map(Limit::as_str).join(", "))]
pub struct UnknownLimit(String);

impl FromStr for Limit {
    type Err = UnknownLimit;

    fn from_str(text: &str) -> Result<Self, UnknownLimit> {
        let found = Self::ALL.into_iter().find(|limit| limit.as_str() == text);
        found.ok_or_else(|| UnknownLimit(text.to_owned()))
    }
}

/// Brings what is there to what it should be, one field at a time, and remembers what changes.
pub(super) struct Merge<'a> {
    /// The limits that may be lowered.
    lower: &'a [Limit],
    /// What differs, a line each.
    pub(super) differences: Vec<String>,
    /// What is done about it, a line each.
    pub(super) changes: Vec<String>,
}

impl<'a> Merge<'a> {
    pub(super) const fn new(lower: &'a [Limit]) -> Self {
        Self { lower, differences: Vec::new(), changes: Vec::new() }
    }

    /// What a field becomes that only one value is right for.
    pub(super) fn exact<T: PartialEq + std::fmt::Debug>(&mut self, field: &str, want: T, have: &mut T) {
        if want != *have {
            self.note(field, format!("{have:?}"), format!("{want:?}"), "changed");
            *have = want;
        }
    }

    /// What a limit becomes.
    pub(super) fn limit(&mut self, limit: Limit, want: i64, have: i64) -> i64 {
        let raises = limit.rank(want) > limit.rank(have);
        let lowers = limit.rank(want) < limit.rank(have) && self.lower.contains(&limit);
        if !raises && !lowers {
            return have;
        }
        let word = if raises { "raised" } else { "lowered" };
        self.note(limit.as_str(), limit.shown(have), limit.shown(want), word);
        want
    }

    /// The same of a time.
    pub(super) fn time(&mut self, limit: Limit, want: Duration, have: Duration) -> Duration {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        match self.limit(limit, ms(want), ms(have)) {
            chosen if chosen == ms(have) => have,
            _ => want,
        }
    }

    fn note(&mut self, field: &str, have: impl Display, want: impl Display, word: &str) {
        self.differences.push(format!("{field} is {have}, should be {want}"));
        self.changes.push(format!("{field} {word} from {have} to {want}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_and_never_lowered_by_itself() {
        let mut merge = Merge::new(&[]);
        assert_eq!(merge.limit(Limit::Replicas, 1, 3), 3, "three copies stay three");
        assert_eq!(merge.limit(Limit::MaxBytes, 1_000, -1), -1, "no limit is the highest");
        assert_eq!(merge.limit(Limit::MaxBytes, 1_000, 0), 0, "and so is 0");
        assert_eq!(merge.time(Limit::MaxAge, Duration::from_secs(1), Duration::ZERO), Duration::ZERO);
        assert_eq!(merge.limit(Limit::MaxDeliver, 20, -1), -1);
        assert!(merge.differences.is_empty() && merge.changes.is_empty());
        assert_eq!(merge.limit(Limit::MaxBytes, 2_000, 1_000), 2_000);
        assert_eq!(merge.limit(Limit::MaxBytes, -1, 1_000), -1);
        assert_eq!(merge.limit(Limit::Replicas, 3, 1), 3);
        assert_eq!(
            merge.changes,
            [
                "max_bytes raised from 1000 to 2000",
                "max_bytes raised from 1000 to none",
                "replicas raised from 1 to 3"
            ]
        );
    }

    #[test]
    fn a_limit_that_an_operator_names_is_lowered_and_told() {
        let mut merge = Merge::new(&[Limit::MaxAge]);
        let (day, week) = (Duration::from_secs(86_400), Duration::from_secs(7 * 86_400));
        assert_eq!(merge.time(Limit::MaxAge, day, week), day);
        assert_eq!(merge.limit(Limit::MaxBytes, 1, 2), 2, "another was not named");
        assert_eq!(merge.changes, ["max_age lowered from 604800000 ms to 86400000 ms"]);
        assert_eq!(merge.differences, ["max_age is 604800000 ms, should be 86400000 ms"]);
    }

    #[test]
    fn each_limit_is_read_by_its_name() {
        for limit in Limit::ALL {
            assert_eq!(limit.as_str().parse(), Ok(limit));
        }
        assert!("max-age".parse::<Limit>().expect_err("no limit").to_string().contains("max_age"));
    }
}
