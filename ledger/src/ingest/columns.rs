//! Rows to columns: arrays for `unnest`, so that a batch is one statement however many rows it has.

use ledger_read::clamp_ms;
use schemas::Event;
use uuid::Uuid;

/// Where an event is stored: the key of `events`. Its kind is one that this version knows, or `unknown`.
pub(super) type Key = (Uuid, i32, &'static str);

pub(super) fn key(event: &Event) -> Key {
    (event.job.0, number(event.attempt), event.fact.kind())
}

/// An attempt's number; checked when the event came in.
pub(super) fn number(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

/// An attempt's number from its column, which holds none below zero.
pub(super) fn attempt(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

pub(super) fn clamp(time_ms: Option<i64>) -> Option<i64> {
    time_ms.map(clamp_ms)
}

/// One column of all rows.
pub(super) fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
