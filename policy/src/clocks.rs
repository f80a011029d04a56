//! How far clocks may differ.
//!
//! Ages are taken by the broker's clock: each process corrects its own by what it measures against the broker, and
//! whoever receives a message goes by when the broker took it in. What is left (a step of a clock between two
//! measurements, the error of a measurement, another node of a cluster) is tolerated up to [`SKEW_MAX_MS`].

/// By how much a machine's clock may differ from the broker's before `argosy doctor` calls it wrong, milliseconds. The
/// shortest time that processes measure together (a young claim) is as long; every other is a multiple of it.
pub const SKEW_MAX_MS: u64 = 5_000;

/// Whether a clock is as right as the fleet needs it.
#[must_use]
pub const fn is_tolerated(skew_ms: i64) -> bool {
    skew_ms.unsigned_abs() <= SKEW_MAX_MS
}

/// The skew in words.
#[must_use]
pub fn words(skew_ms: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let seconds = skew_ms.unsigned_abs() as f64 / 1_000.0;
    let side = if skew_ms < 0 { "behind" } else { "ahead of" };
    format!("{seconds:.1} s {side} the broker's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_on_both_sides() {
        let bound = i64::try_from(SKEW_MAX_MS).expect("it is small");
        for (skew_ms, tolerated) in
            [(0, true), (bound, true), (-bound, true), (bound + 1, false), (-bound - 1, false)]
        {
            assert_eq!(is_tolerated(skew_ms), tolerated, "{skew_ms}");
        }
        assert_eq!(words(-12_000), "12.0 s behind the broker's");
        assert_eq!(words(600_000), "600.0 s ahead of the broker's");
    }
}
