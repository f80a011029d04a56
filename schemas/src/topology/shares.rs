//! What part of `storage.bytes` each stream, bucket and object store gets.

/// Parts of a thousand, by name. What is not named does not grow with the fleet's storage.
const SHARES: [(&str, i64); 9] = [
    ("JOBS", 150),
    ("WORK", 75),
    ("DEAD", 50),
    ("EVENTS", 250),
    ("PARKED", 60),
    ("ATTEMPTS", 40),
    ("KEYS", 15),
    ("CANCELS", 5),
    ("ARTIFACTS", 350),
];

/// What something of this name gets of `storage_bytes`: its share, and never less than it has without that setting.
#[must_use]
pub(super) fn bytes(name: &str, least: i64, storage_bytes: i64) -> i64 {
    let share = SHARES.iter().find(|(known, _)| *known == name).map_or(0, |(_, share)| *share);
    least.max(storage_bytes / 1_000 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1024 * 1024 * 1024;

    #[test]
    fn all_shares_together_are_no_more_than_all_there_is() {
        let all: i64 = SHARES.iter().map(|(_, share)| share).sum();
        assert!(all <= 1_000, "{all}");
        assert_eq!(bytes("EVENTS", 3 * GIB, 1_000 * GIB), 250 * GIB);
        assert_eq!(bytes("EVENTS", 3 * GIB, GIB), 3 * GIB, "never less than without");
        assert_eq!(bytes("CONFIG", 64, 1_000 * GIB), 64, "what does not grow");
        assert_eq!(bytes("JOBS", 5, i64::MAX), i64::MAX / 1_000 * 150, "as much as there is");
    }
}
