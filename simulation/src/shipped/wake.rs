//! What a wake-up is for, and when.

use std::time::Duration;

pub(crate) const RETURN: u64 = 0;
pub(crate) const POLL: u64 = 1;
pub(crate) const READ_PAST: u64 = 2;
pub(crate) const SWEEP: u64 = 3;

/// The code of a wake-up of one router.
pub(crate) const fn code(kind: u64, router: usize) -> u64 {
    kind + 4 * router as u64
}

/// A time of the shipped steps as the simulated clock counts it, milliseconds.
pub(super) const fn ms(time: Duration) -> i64 {
    time.as_millis() as i64
}
