//! The one clock. Decisions get the time as an argument; only plumbing asks for it.

use std::time::Duration;

/// Now, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Now, in Unix microseconds: for measurements.
#[must_use]
pub fn now_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX)
}

/// The broker's time of a message, which comes in Unix nanoseconds, in Unix milliseconds.
#[must_use]
pub fn ms_of_ns(unix_ns: i128) -> i64 {
    i64::try_from(unix_ns / 1_000_000).unwrap_or_default()
}

fn since_epoch() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
