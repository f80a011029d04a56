//! What a loop does when a step of it fails: it waits longer each time, and logs with a rate limit.
//!
//! A consumer that was deleted answers each pull at once with an error. Without a wait, a loop over such a consumer fills
//! a disk with one line in a minute.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// The same loop logs at most so often.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// After this time without a failure a loop begins with the first wait again.
const CALM: Duration = Duration::from_secs(10);

/// The failures of one loop.
#[derive(Debug)]
pub struct Trouble {
    what: &'static str,
    in_a_row: u32,
    last: Option<Instant>,
    logged: Option<Instant>,
    unlogged: u64,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Follows {
    wait: Duration,
    /// It is to be logged, with the number of failures that were not.
    log: Option<u64>,
}

impl Trouble {
    /// None yet, of a loop that does `what`.
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what, in_a_row: 0, last: None, logged: None, unlogged: 0 }
    }

    /// Takes a failure, and logs it unless one was logged a moment ago; how long to wait before the next try.
    #[must_use]
    pub fn failed(&mut self, error: &dyn Display) -> Duration {
        let follows = self.follows(Instant::now());
        let (what, wait_ms) = (self.what, follows.wait.as_millis());
        match follows.log {
            Some(unlogged) => {
                tracing::warn!(action = what, %error, wait_ms, unlogged, "failed, trying again");
            }
            None => tracing::debug!(action = what, %error, wait_ms, "failed, trying again"),
        }
        follows.wait
    }

    fn follows(&mut self, now: Instant) -> Follows {
        if self.last.is_some_and(|last| now.duration_since(last) > LONGEST + CALM) {
            self.in_a_row = 0;
        }
        self.last = Some(now);
        let wait = FIRST.saturating_mul(1 << self.in_a_row.min(10)).min(LONGEST);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_EVERY) {
            self.unlogged += 1;
            return Follows { wait, log: None };
        }
        self.logged = Some(now);
        Follows { wait, log: Some(std::mem::take(&mut self.unlogged)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_fails_for_a_minute_waits_and_logs_twice() {
        let (mut trouble, begun) = (Trouble::new("pulling"), Instant::now());
        let (mut now, mut tries, mut lines) = (begun, 0, Vec::new());
        while now.duration_since(begun) <= Duration::from_secs(60) {
            let follows = trouble.follows(now);
            lines.extend(follows.log);
            now += follows.wait;
            tries += 1;
        }
        assert!((12..=20).contains(&tries), "{tries} tries");
        assert_eq!(lines.len(), 2, "the first, and one after half a minute");
        assert_eq!(lines[0], 0);
        assert!(lines[1] > 5, "those between are counted: {lines:?}");
    }

    #[test]
    fn what_fails_and_goes_well_by_turns_logs_no_more_than_that() {
        let (mut trouble, begun) = (Trouble::new("watching"), Instant::now());
        let lines =
            (0..600).filter(|second| trouble.follows(begun + Duration::from_secs(*second)).log.is_some());
        assert_eq!(lines.count(), 20, "one each half minute in ten minutes");
    }

    #[test]
    fn after_a_calm_time_the_first_wait_is_short_again() {
        let (mut trouble, begun) = (Trouble::new("pulling"), Instant::now());
        for second in 0..20 {
            let _ = trouble.follows(begun + Duration::from_secs(second));
        }
        assert_eq!(trouble.follows(begun + Duration::from_secs(21)).wait, LONGEST);
        assert_eq!(trouble.follows(begun + Duration::from_secs(60)).wait, FIRST);
    }
}
