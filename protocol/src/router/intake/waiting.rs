//! How many jobs of a lane wait for room in a router's hands, and whether it pulls more.

use std::sync::atomic::{AtomicUsize, Ordering};

use schemas::config::Scoring;

/// Jobs of a lane that may wait before it pulls no more, and the bytes of their messages: what a schedule sees.
pub(super) const JOBS_MAX: usize = 1_024;
const BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Bytes of a lane's messages in hand that do not wait: they are admitted, placed or refused. With [`BYTES_MAX`] it bounds
/// what a router holds of a lane, whatever is published; a message that is refused is copied twice on its way to the inbox.
const AT_WORK_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// A pull asks for at least this: the largest message with its subject and headers, and not for each that is settled.
const PULL_BYTES_MIN: usize = 4 * 1_024 * 1_024;

/// The same where each job is placed by itself: more would only lie in hand.
const JOBS_MAX_WEIGHTED: usize = 64;

/// What waits of a lane.
#[derive(Debug)]
pub(super) struct Waiting {
    jobs_max: usize,
    jobs: AtomicUsize,
    bytes: AtomicUsize,
    /// Of all messages in hand, those that wait among them.
    in_hand_bytes: AtomicUsize,
}

/// The bytes of a message, which count as in hand until this is dropped.
pub(super) struct Counted<'a> {
    waiting: &'a Waiting,
    bytes: usize,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.waiting.in_hand_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Waiting {
    pub(super) fn new(jobs_max: usize) -> Self {
        let (jobs, bytes, in_hand_bytes) = Default::default();
        Self { jobs_max, jobs, bytes, in_hand_bytes }
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

    /// Counts a message as in hand.
    pub(super) fn count(&self, bytes: usize) -> Counted<'_> {
        self.in_hand_bytes.fetch_add(bytes, Ordering::Relaxed);
        Counted { waiting: self, bytes }
    }

    /// How many bytes of messages to pull at most; none where it is less than a message may have.
    pub(super) fn wanted_bytes(&self) -> Option<usize> {
        let in_hand = self.in_hand_bytes.load(Ordering::Relaxed);
        let waiting = self.bytes.load(Ordering::Relaxed);
        let in_hand_max = BYTES_MAX + AT_WORK_BYTES_MAX;
        let at_work = in_hand.saturating_sub(waiting);
        let free = in_hand_max.saturating_sub(in_hand).min(AT_WORK_BYTES_MAX.saturating_sub(at_work));
        (free >= PULL_BYTES_MIN).then_some(free)
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

    fn wanted_at(waiting: &Waiting, in_hand: usize) -> Option<usize> {
        let _counted = waiting.count(in_hand);
        waiting.wanted_bytes()
    }

    #[test]
    fn no_lane_holds_more_bytes_than_it_may_whatever_is_published() {
        const MIB: usize = 1_024 * 1_024;
        let waiting = Waiting::new(JOBS_MAX);
        for (in_hand, wanted) in [
            (0, Some(32 * MIB)),
            (1_000 * 2_000, Some(32 * MIB - 2_000_000)),
            (28 * MIB, Some(4 * MIB)),
            (28 * MIB + 1, None),
            (40 * MIB, None),
            (usize::MAX, None),
        ] {
            assert_eq!(wanted_at(&waiting, in_hand), wanted, "{in_hand}");
        }
        // What waits has room of its own, and takes none from what is at work.
        waiting.enter(60 * MIB);
        assert_eq!(wanted_at(&waiting, 60 * MIB), Some(32 * MIB));
        assert_eq!(wanted_at(&waiting, 87 * MIB), Some(5 * MIB));
        assert_eq!(wanted_at(&waiting, 93 * MIB), None);
        // As the last pull brought it: more than may wait, and no more is pulled.
        waiting.enter(30 * MIB);
        assert_eq!(wanted_at(&waiting, 90 * MIB), Some(6 * MIB));
        assert!(waiting.is_full(Scoring::Schedule));
    }

    #[test]
    fn a_flood_of_the_largest_messages_is_pulled_in_small_parts() {
        // As the loop of a lane does: each pull brings messages of 900 KB up to its bytes, and some are settled.
        let waiting = Waiting::new(JOBS_MAX);
        let (mut in_hand, mut most, mut pulled) = (0, 0, 0);
        while pulled < 1_500 {
            let bytes = wanted_at(&waiting, in_hand * 900_000).unwrap_or_default();
            let brought = bytes / 900_000;
            (in_hand, pulled) = (in_hand + brought, pulled + brought);
            most = most.max(in_hand);
            in_hand = in_hand.saturating_sub(3);
        }
        assert!(most * 900_000 <= AT_WORK_BYTES_MAX && most > 30, "{most}");
    }

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
