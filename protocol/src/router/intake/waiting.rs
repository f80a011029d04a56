//! How many jobs of a lane wait for room in a router's hands, and whether it pulls more.

use std::sync::atomic::{AtomicUsize, Ordering};

use schemas::config::Scoring;

/// Jobs of a lane that may wait before it pulls no more, and the bytes of their messages: what a schedule sees.
pub(super) const JOBS_MAX: usize = 1_024;
const BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// The same where each job is placed by itself: more would only lie in hand.
const JOBS_MAX_WEIGHTED: usize = 64;

/// What waits of a lane.
#[derive(Debug)]
pub(super) struct Waiting {
    jobs_max: usize,
    jobs: AtomicUsize,
    bytes: AtomicUsize,
}

impl Waiting {
    pub(super) fn new(jobs_max: usize) -> Self {
        Self { jobs_max, jobs: AtomicUsize::default(), bytes: AtomicUsize::default() }
    }

    /// A job begins to wait, whose message has so many bytes.
    pub(super) fn enter(&self, bytes: usize) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It waits no more.
    pub(super) fn leave(&self, bytes: usize) {
        self.jobs.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many more jobs to pull where `in_hand` of `in_hand_max` are in hand.
    pub(super) fn wanted(&self, scoring: Scoring, in_hand: usize, in_hand_max: usize) -> usize {
        let free = in_hand_max.saturating_sub(in_hand);
        match self.jobs.load(Ordering::Relaxed) {
            // A pull costs as much as a job: not one for each that is settled.
            0 if free < in_hand_max.div_ceil(4) => 0,
            0 => free,
            _ if self.is_full(scoring) => 0,
            waiting => free.min(self.jobs_max(scoring).saturating_sub(waiting)),
        }
    }

    /// Whether no more may wait.
    pub(super) fn is_full(&self, scoring: Scoring) -> bool {
        self.jobs.load(Ordering::Relaxed) >= self.jobs_max(scoring)
            || self.bytes.load(Ordering::Relaxed) >= BYTES_MAX
    }

    fn jobs_max(&self, scoring: Scoring) -> usize {
        match scoring {
            Scoring::Weighted => self.jobs_max.min(JOBS_MAX_WEIGHTED),
            Scoring::Schedule => self.jobs_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_pulls_no_more_while_many_jobs_or_bytes_wait() {
        let (weighted, schedule) = (Scoring::Weighted, Scoring::Schedule);
        let waiting = Waiting::new(JOBS_MAX);
        assert_eq!([0, 700, 800].map(|in_hand| waiting.wanted(schedule, in_hand, 1_000)), [1_000, 300, 0]);
        (0..64).for_each(|_| waiting.enter(1_000));
        assert!(waiting.is_full(weighted) && !waiting.is_full(schedule));
        assert_eq!([weighted, schedule].map(|scoring| waiting.wanted(scoring, 64, 2_000)), [0, 960]);
        waiting.leave(1_000);
        assert_eq!([weighted, schedule].map(|scoring| waiting.wanted(scoring, 63, 2_000)), [1, 961]);
        // Few that are large fill it as well.
        waiting.enter(BYTES_MAX);
        assert!(waiting.is_full(schedule) && waiting.wanted(schedule, 64, 2_000) == 0);
    }
}
