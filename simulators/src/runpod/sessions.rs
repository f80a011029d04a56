//! What the provider bills: the time of its workers, from start to stop, each second that was begun.
//!
//! Start, load, work and idle time are billed alike; time in the queue without a worker is free. A job's own line on the
//! invoice is its execution in whole seconds; what is left of the bill is start and idle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::clock::Scale;
use crate::journal::{self, Journal};

const HOUR_MS: u64 = 3_600_000;

/// A worker from its start to its stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Its number; counts up.
    pub(super) number: u64,
    /// When it was started, wall milliseconds.
    pub(super) started_ms: u64,
    /// When it stops, wall milliseconds: its idle timeout after the last job; none while it works.
    pub(super) stops_ms: Option<u64>,
}

impl Session {
    /// The seconds that are billed until a moment.
    fn seconds_until(&self, until_ms: u64, scale: Scale) -> u64 {
        let until_ms = self.stops_ms.map_or(until_ms, |stops_ms| stops_ms.min(until_ms));
        scale.provider_ms(until_ms.saturating_sub(self.started_ms)).div_ceil(1_000)
    }

    /// The seconds that are billed for a span of time. What a second belongs to is decided where it begins to be
    /// billed, so that the spans add up to the whole.
    fn seconds_within(&self, from_ms: u64, until_ms: u64, scale: Scale) -> u64 {
        let until = self.seconds_until(until_ms.max(self.started_ms), scale);
        until.saturating_sub(self.seconds_until(from_ms.max(self.started_ms), scale))
    }
}

/// All sessions, kept in a journal.
pub(super) struct Sessions {
    all: Mutex<BTreeMap<u64, Session>>,
    journal: Journal,
}

impl Sessions {
    /// Reads the journal. Workers that were at work when the simulator was killed go on, and stop when nothing comes.
    pub(super) fn open(dir: &Path, stop_ms: u64) -> Result<Self, Error> {
        let path = dir.join("sessions.jsonl");
        let read = journal::read::<Session>(&path)?;
        let mut all: BTreeMap<u64, Session> =
            read.into_iter().map(|session| (session.number, session)).collect();
        let journal = Journal::open(&path)?;
        for session in all.values_mut().filter(|session| session.stops_ms.is_none()) {
            session.stops_ms = Some(stop_ms);
            journal.append(session);
        }
        Ok(Self { all: Mutex::new(all), journal })
    }

    /// Those that are up at a moment.
    pub(super) fn up(&self, now_ms: u64) -> Vec<u64> {
        let all = self.lock();
        let up = all.values().filter(|session| session.stops_ms.is_none_or(|stops_ms| now_ms < stops_ms));
        up.map(|session| session.number).collect()
    }

    /// A worker takes a job: the session of a warm one goes on, any other begins. True if it has to start first.
    pub(super) fn work(&self, session: Option<u64>, now_ms: u64) -> (u64, bool) {
        let mut all = self.lock();
        let warm = session.and_then(|number| all.get_mut(&number));
        if let Some(session) =
            warm.filter(|session| session.stops_ms.is_none_or(|stops_ms| now_ms <= stops_ms))
        {
            session.stops_ms = None;
            self.journal.append(session);
            return (session.number, false);
        }
        let number = all.last_key_value().map_or(0, |(number, _)| number + 1);
        let session = Session { number, started_ms: now_ms, stops_ms: None };
        self.journal.append(&session);
        all.insert(number, session);
        (number, true)
    }

    /// A worker is without work, and stops at that moment unless it gets some.
    pub(super) fn idle(&self, number: u64, stops_ms: u64) {
        if let Some(session) = self.lock().get_mut(&number) {
            session.stops_ms = Some(stops_ms);
            self.journal.append(session);
        }
    }

    /// The billed seconds until now, by the first moment of their bucket; buckets of whole hours.
    pub(super) fn seconds(&self, bucket_ms: u64, now_ms: u64, scale: Scale) -> BTreeMap<u64, u64> {
        let bucket_ms = bucket_ms.max(HOUR_MS);
        let mut buckets = BTreeMap::new();
        for session in self.lock().values() {
            let mut from_ms = session.started_ms / bucket_ms * bucket_ms;
            let end_ms = session.stops_ms.map_or(now_ms, |stops_ms| stops_ms.min(now_ms));
            while from_ms <= end_ms {
                let until_ms = now_ms.min(from_ms + bucket_ms);
                let seconds = session.seconds_within(from_ms, until_ms, scale);
                if seconds > 0 {
                    *buckets.entry(from_ms).or_default() += seconds;
                }
                from_ms += bucket_ms;
            }
        }
        buckets
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::StateDir;

    #[test]
    fn begun_seconds_are_billed_and_buckets_add_up_to_the_session() {
        let scale = Scale::new(1.0);
        for (started_ms, stops_ms, now_ms, wanted) in [
            (0, None, 0, vec![]),
            (0, None, 1, vec![(0, 1)]),
            (0, Some(5_000), 9_000, vec![(0, 5)]),
            (0, Some(5_001), 9_000, vec![(0, 6)]),
            (0, Some(9_000), 4_200, vec![(0, 5)]),
            // Half a second before the hour: its first begun second is billed in the hour before.
            (HOUR_MS - 500, Some(HOUR_MS + 1_700), 2 * HOUR_MS, vec![(0, 1), (HOUR_MS, 2)]),
        ] {
            let session = Session { number: 0, started_ms, stops_ms };
            let dir = StateDir::open(None).unwrap();
            let sessions = Sessions::open(dir.path(), 0).unwrap();
            sessions.lock().insert(0, session);
            let found: Vec<(u64, u64)> = sessions.seconds(HOUR_MS, now_ms, scale).into_iter().collect();
            assert_eq!(found, wanted, "{started_ms} to {stops_ms:?} at {now_ms}");
        }
    }

    #[test]
    fn a_warm_worker_goes_on_and_a_cold_one_starts_and_a_restart_forgets_neither() {
        let dir = StateDir::open(None).unwrap();
        let sessions = Sessions::open(dir.path(), 0).unwrap();
        assert_eq!(sessions.work(None, 100), (0, true));
        sessions.idle(0, 600);
        assert_eq!(sessions.work(Some(0), 500), (0, false), "still warm");
        sessions.idle(0, 900);
        assert_eq!(sessions.work(Some(0), 901), (1, true), "it had stopped");
        drop(sessions);
        let sessions = Sessions::open(dir.path(), 2_000).unwrap();
        assert_eq!(sessions.up(1_999), [1], "it worked when the simulator was killed");
        assert_eq!(sessions.up(2_000), [0_u64; 0]);
        let seconds = sessions.seconds(HOUR_MS, 5_000, Scale::new(1.0));
        assert_eq!(seconds, BTreeMap::from([(0, 1 + 2)]), "800 ms and 1,099 ms");
    }
}
