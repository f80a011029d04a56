//! How values lie in columns, for the ledger that writes them and for readers alike.

use schemas::Event;
use uuid::Uuid;

use crate::Unreadable;

/// The latest moment that Postgres and people can show: the end of the year 9999.
pub const LATEST_MS: i64 = 253_402_300_799_999;

/// Brings a time from the wire into the range that a column can hold. A client may send any number as
/// its deadline, and no number may stop the ledger.
#[must_use]
pub fn clamp_ms(time_ms: i64) -> i64 {
    time_ms.clamp(0, LATEST_MS)
}

/// Reads an event as it was stored.
///
/// # Errors
/// [`Unreadable`] when a newer version wrote it.
pub fn stored_event(body: &str, job: Uuid, attempt: i32, kind: &str) -> Result<Event, Unreadable> {
    serde_json::from_str(body)
        .map_err(|error| Unreadable { id: format!("{job}.{attempt}.{kind}"), message: error.to_string() })
}
