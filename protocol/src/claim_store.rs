//! What the absence of a claim proves, by how long the broker keeps claims.
//!
//! A claim is written after its assignment was stored, so it is kept for at least as long after that moment as the bucket
//! keeps anything. Within that time no claim means that the attempt was never started. After it, a claim may have been
//! there and be gone: whether the provider was called cannot be known, and the attempt must not be started.

use policy::waiting::length;
use schemas::{Failure, FailureCode};

/// An assignment that is younger is not compared with the bucket's age, milliseconds: a bucket that keeps claims for less
/// than this guards nothing, and `argosy doctor` says so.
pub const YOUNG_MS: i64 = 10 * 60 * 1_000;

/// This part of the bucket's age is not trusted: clocks differ, and a step takes its time.
const MARGIN_PART: i64 = 8;

/// Work that waits for longer than this part of the bucket's age is planned again, under a new claim.
const WAITS_PART: i64 = 2;

/// The claims' bucket as the broker has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimStore {
    /// When it was made, Unix milliseconds.
    pub created_at_ms: i64,
    /// The age at which a claim is gone, milliseconds; none for never.
    pub kept_ms: Option<i64>,
}

/// What it means that an attempt has no claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// It was never started.
    NotStarted,
    /// It may have been started and its claim be gone. The failure says so.
    Unknowable(Failure),
}

/// Whether an assignment is so old that the bucket's age has to be looked at. Free work has no claim.
#[must_use]
pub const fn is_to_be_compared(assigned_at_ms: i64, is_paid: bool, now_ms: i64) -> bool {
    is_paid && now_ms.saturating_sub(assigned_at_ms) >= YOUNG_MS
}

impl ClaimStore {
    /// What it means that an attempt has no claim. `assigned_at_ms` is when its assignment was stored.
    #[must_use]
    pub fn absence(&self, assigned_at_ms: i64, now_ms: i64) -> Absence {
        if assigned_at_ms < self.created_at_ms {
            let words = "bucket ATTEMPTS was made after the attempt was assigned, so its claim may be lost: whether the \
                         provider was called cannot be known";
            return Absence::Unknowable(Failure::new(FailureCode::OutcomeUnknown, words));
        }
        let Some(kept_ms) = self.kept_ms else { return Absence::NotStarted };
        let age_ms = now_ms.saturating_sub(assigned_at_ms);
        if age_ms < kept_ms - kept_ms / MARGIN_PART {
            return Absence::NotStarted;
        }
        let words = format!(
            "assigned {} ago, and bucket ATTEMPTS keeps claims for {}: whether the provider was called cannot be known",
            length(age_ms),
            length(kept_ms)
        );
        Absence::Unknowable(Failure::new(FailureCode::OutcomeUnknown, words))
    }

    /// Whether an assignment that waits is to be planned again before the absence of its claim proves nothing.
    #[must_use]
    pub fn waits_too_long(&self, assigned_at_ms: i64, now_ms: i64) -> bool {
        self.kept_ms.is_some_and(|kept_ms| now_ms.saturating_sub(assigned_at_ms) >= kept_ms / WAITS_PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn store(kept_ms: Option<i64>) -> ClaimStore {
        ClaimStore { created_at_ms: 1_000, kept_ms }
    }

    #[test]
    fn no_claim_proves_something_for_as_long_as_a_claim_would_be_kept() {
        let week = store(Some(168 * HOUR_MS));
        let of = |age_ms| week.absence(1_000, 1_000 + age_ms);
        for age_ms in [0, HOUR_MS, 147 * HOUR_MS - 1] {
            assert_eq!(of(age_ms), Absence::NotStarted, "{age_ms}");
        }
        for age_ms in [147 * HOUR_MS, 168 * HOUR_MS, 400 * HOUR_MS] {
            let Absence::Unknowable(failure) = of(age_ms) else { panic!("{age_ms} is known") };
            assert_eq!(failure.code, FailureCode::OutcomeUnknown);
            assert!(failure.message.contains("keeps claims for 7 days"), "{}", failure.message);
        }
    }

    #[test]
    fn a_bucket_without_an_age_keeps_every_claim_but_not_those_from_before_it() {
        assert_eq!(store(None).absence(1_000, i64::MAX), Absence::NotStarted);
        assert!(!store(None).waits_too_long(0, i64::MAX));
        assert!(
            matches!(store(None).absence(999, 2_000), Absence::Unknowable(_)),
            "the bucket was made anew"
        );
    }

    #[test]
    fn work_is_planned_again_long_before_nothing_is_known() {
        for kept_ms in [2 * HOUR_MS, 24 * HOUR_MS, 336 * HOUR_MS] {
            let there = store(Some(kept_ms));
            let first =
                (0..=kept_ms).step_by(60_000).find(|age_ms| there.waits_too_long(1_000, 1_000 + age_ms));
            let first = first.expect("it is planned again");
            assert_eq!(there.absence(1_000, 1_000 + first), Absence::NotStarted, "{kept_ms}");
            let left = (first..)
                .step_by(60_000)
                .find(|age_ms| there.absence(1_000, 1_000 + age_ms) != Absence::NotStarted);
            assert!(left.expect("it ends") - first >= kept_ms / 4, "{kept_ms}: too close");
        }
    }

    #[test]
    fn only_paid_work_that_is_not_young_is_compared() {
        assert!(!is_to_be_compared(0, true, YOUNG_MS - 1) && is_to_be_compared(0, true, YOUNG_MS));
        assert!(!is_to_be_compared(0, false, i64::MAX));
        assert!(!is_to_be_compared(50, true, 0), "a clock that is behind");
    }
}
