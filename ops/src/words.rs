//! Figures and failures as people read them.

use crate::moment;
use schemas::Failure;

/// How much of a provider's words is shown on a line with others; `argosy explain` shows them whole.
const WORDS_MAX_CHARS: usize = 300;

/// Why something failed, on one line: our words, then the provider's own.
#[must_use]
pub fn failure(failure: &Failure) -> String {
    format!("{}{}", failure.message, provider_words(failure))
}

/// The beginning of what the provider says of a failure, to follow ours on the same line.
#[must_use]
pub fn provider_words(failure: &Failure) -> String {
    let words = failure.provider_words.as_deref().unwrap_or_default().trim();
    let (shown, more) = match words.char_indices().nth(WORDS_MAX_CHARS) {
        Some((at, _)) => (&words[..at], "…"),
        None => (words, ""),
    };
    if shown.is_empty() { String::new() } else { format!("; the provider says: {shown}{more}") }
}

/// A duration: `340 ms`, `2.5 s`, `3 min 20 s`.
#[must_use]
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// How much time is between two moments, Unix milliseconds; none when the later is before the earlier.
#[must_use]
pub fn between(from_ms: i64, to_ms: i64) -> String {
    duration(u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or_default())
}

/// How long ago.
#[must_use]
pub fn ago(now_ms: i64, then_ms: i64) -> String {
    format!("{} ago", between(then_ms, now_ms))
}

/// A moment in UTC, to the second: `2026-11-30 16:18:48`. Whoever shows it says that it is UTC.
#[must_use]
pub fn time(at_ms: i64) -> String {
    let (date, clock) = moment::parts(at_ms - at_ms.rem_euclid(1_000));
    format!("{date} {clock}")
}

/// A size: `1.5 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::FailureCode;

    #[test]
    fn a_failure_quotes_its_provider() {
        let said = Failure::new(FailureCode::UnusableResult, "no file").with_words("sorry, no");
        assert_eq!(failure(&said), "no file; the provider says: sorry, no");
        assert_eq!(failure(&Failure::new(FailureCode::Transient, "gone")), "gone");
        let long = Failure::new(FailureCode::Transient, "gone").with_words(&"ü".repeat(900));
        assert_eq!(failure(&long).chars().filter(|c| *c == 'ü').count(), WORDS_MAX_CHARS);
    }

    #[test]
    fn moments_are_dates_and_times_of_utc() {
        assert_eq!(time(schemas::samples::TIME_MS), "2026-11-23 10:00:00");
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(-1), "1969-12-31 23:59:59");
        assert_eq!((between(5, 2_545), between(9, 5)), ("2.5 s".to_owned(), "0 ms".to_owned()));
    }
}
