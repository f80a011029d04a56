//! When things happened to a job: in UTC, and how long after it was submitted.

use crate::words::{between, time};
use schemas::{Event, JobId};

/// When a job was submitted, Unix milliseconds: as its events say, else as its id does.
pub(crate) fn submitted_ms<'a>(job: JobId, events: impl IntoIterator<Item = &'a Event>) -> Option<i64> {
    let said = events.into_iter().find_map(|event| event.fact.facts()).map(|facts| facts.submitted_at_ms);
    said.or_else(|| job.time_ms())
}

/// How long after it was submitted; empty where that is not known.
pub(crate) fn after(submitted_ms: Option<i64>, at_ms: i64) -> String {
    submitted_ms.map(|from_ms| format!("+{}", between(from_ms, at_ms))).unwrap_or_default()
}

/// The beginning of a line about an event.
pub(crate) fn stamp(event: &Event) -> String {
    let after = after(submitted_ms(event.job, [event]), event.time_ms);
    format!("{} UTC  {after:>10}", time(event.time_ms))
}
