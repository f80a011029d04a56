//! How long to wait before the next try: a validated value with a pure core.
//!
//! The jitter comes from a seed, a hash of job and attempt: many jobs that fail together spread out,
//! and the same job always gets the same wait. A random generator was rejected for that reason.

use schemas::{AttemptId, PolicyConfig};

/// The longest wait a provider's hint can cause, milliseconds: an hour. Longer ones are quotas.
pub const HINT_MAX_MS: u64 = 60 * 60 * 1000;

/// Why a window is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    /// A wait of nothing is a busy loop.
    #[error("backoff_min_ms is 0: it must be 1 or more")]
    NoWait,
    /// The window is upside down.
    #[error("backoff_max_ms is {max_ms}: it must be backoff_min_ms ({min_ms}) or more")]
    MaxBelowMin {
        /// Shortest wait, milliseconds.
        min_ms: u64,
        /// Longest wait, milliseconds.
        max_ms: u64,
    },
}

/// A window of waits that doubles from its shortest to its longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
}

impl Backoff {
    /// Checks and takes a window, milliseconds.
    ///
    /// # Errors
    /// [`BackoffError`] unless 1 ≤ `min_ms` ≤ `max_ms`.
    pub const fn try_new(min_ms: u64, max_ms: u64) -> Result<Self, BackoffError> {
        if min_ms == 0 {
            return Err(BackoffError::NoWait);
        }
        if max_ms < min_ms {
            return Err(BackoffError::MaxBelowMin { min_ms, max_ms });
        }
        Ok(Self { min_ms, max_ms })
    }

    /// The configured window; one that [`crate::validate`] would refuse is widened until it is one.
    #[must_use]
    pub fn of(policy: &PolicyConfig) -> Self {
        let min_ms = policy.backoff_min_ms.max(1);
        Self { min_ms, max_ms: policy.backoff_max_ms.max(min_ms) }
    }

    /// The wait before the try that follows `failures` failures in a row, without jitter, milliseconds.
    #[must_use]
    pub fn base_ms(&self, failures: u32) -> u64 {
        let factor = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        self.min_ms.saturating_mul(factor).min(self.max_ms)
    }

    /// The same with jitter: a quarter more or less, inside the window, milliseconds.
    #[must_use]
    pub fn delay_ms(&self, failures: u32, seed: u64) -> u64 {
        let base_ms = self.base_ms(failures);
        let spread_ms = base_ms / 2;
        let lowest_ms = base_ms - base_ms / 4;
        lowest_ms.saturating_add(part_of(spread_ms, seed)).clamp(self.min_ms, self.max_ms)
    }

    /// The wait for a provider that named one: never shorter than asked, up to a tenth longer so that
    /// not all come back at once, and at most [`HINT_MAX_MS`] (or the window's longest, if that is more).
    #[must_use]
    pub fn hinted_ms(&self, hint_ms: u64, seed: u64) -> u64 {
        let longest_ms = HINT_MAX_MS.max(self.max_ms);
        let asked_ms = hint_ms.clamp(self.min_ms, longest_ms);
        asked_ms.saturating_add(part_of(asked_ms / 10, seed)).min(longest_ms)
    }
}

/// The seed of an attempt's jitter.
#[must_use]
pub fn seed_of(attempt: AttemptId) -> u64 {
    let (high, low) = attempt.job.0.as_u64_pair();
    mix(mix(high ^ u64::from(attempt.attempt)) ^ low)
}

/// Spreads the bits of a number over all 64 (the finaliser of splitmix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A share of `whole` between none and all of it.
const fn part_of(whole: u64, seed: u64) -> u64 {
    if whole == u64::MAX { seed } else { seed % (whole + 1) }
}
