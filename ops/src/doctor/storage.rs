//! For how long the streams that keep messages last at the rate at which they fill.

use runtime::store_room::{StoreRoom, mib};
use schemas::topology::stream;

use super::{Finding, Verdict};

/// Below this many days it is a warning.
const DAYS_MIN: u64 = 3;

/// A stream, and how it fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    /// Its name.
    pub stream: String,
    /// What it holds and may hold.
    pub room: StoreRoom,
}

/// For how many days the room lasts.
#[must_use]
pub fn storage(streams: &[Filling]) -> Finding {
    const CHECK: &str = "storage";
    let mut lines = Vec::new();
    let mut is_short = false;
    for Filling { stream, room } in streams {
        let (Some(days), Some(rate)) = (room.days(), room.bytes_per_day()) else { continue };
        let what = match stream.as_str() {
            // It makes room for itself for as long as a ledger books.
            stream::EVENTS => "without a ledger",
            _ => "at that rate",
        };
        lines.push(format!("{stream} takes {} MiB a day and lasts {days} days {what}", mib(rate)));
        is_short |= days < DAYS_MIN;
    }
    if lines.is_empty() {
        return Finding::good(
            CHECK,
            "nothing fills up, or too little is known to tell for how long it lasts",
        );
    }
    let seen = lines.join("; ");
    if !is_short {
        return Finding::good(CHECK, seen);
    }
    let cure =
        "`argosy topology apply --storage-bytes` makes everything larger; no later apply makes it smaller";
    Finding::not(Verdict::Warning, CHECK, seen, cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    fn filling(stream: &str, gib: u64, days: u64) -> Filling {
        let filling_ms = days * schemas::topology::DAY_MS;
        let room = StoreRoom { bytes: gib * GIB, limit_bytes: Some(30 * GIB), filling_ms, max_age_ms: 0 };
        Filling { stream: stream.to_owned(), room }
    }

    #[test]
    fn days_follow_from_what_came_in_and_a_few_of_them_are_a_warning() {
        let lasts = storage(&[filling("EVENTS", 10, 5), filling("PARKED", 1, 10)]);
        assert_eq!(lasts.verdict, Verdict::Good);
        assert!(
            lasts.seen.contains("EVENTS takes 2048 MiB a day and lasts 10 days without a ledger"),
            "{lasts:?}"
        );
        assert!(lasts.seen.contains("PARKED takes 102 MiB a day and lasts 290 days"), "{lasts:?}");
        let short = storage(&[filling("EVENTS", 28, 2)]);
        assert!(short.verdict == Verdict::Warning && short.cure.is_some(), "{short:?}");
        assert_eq!(storage(&[filling("EVENTS", 0, 5)]).verdict, Verdict::Good);
    }
}
