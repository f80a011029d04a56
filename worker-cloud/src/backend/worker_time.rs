//! What this worker sees of the provider's workers: which of them were started for its jobs, and how long they idled. It is
//! the estimate of what the endpoint costs beside its jobs, until the bill is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::bill::utc_day;
use worker_host::overhead::{Scaling, Served, start_and_idle_ms};

use crate::runpod::wire::JobReply;

/// The provider's workers that are remembered; far more than an endpoint has at a time.
const WORKERS_MAX: usize = 1_000;

/// Start and idle of the provider's workers, by UTC day.
pub struct WorkerTime {
    scaling: Scaling,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When each of the provider's workers ended its last job, Unix milliseconds.
    idle_since_ms: HashMap<String, i64>,
    /// Not taken yet: milliseconds of worker time.
    by_day: BTreeMap<i32, u64>,
}

impl WorkerTime {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(scaling: Scaling) -> Self {
        Self { scaling, seen: Mutex::default() }
    }

    /// Notes a job that ended. One that no worker took cost no worker time.
    pub fn note(&self, reply: &JobReply, ended_at_ms: i64) {
        let Some(worker) = reply.worker_id.as_ref().and_then(|id| id.as_str()) else { return };
        let ran_ms = i64::try_from(reply.execution_ms.unwrap_or_default()).unwrap_or(i64::MAX);
        let mut seen = self.lock();
        if seen.idle_since_ms.len() >= WORKERS_MAX {
            // Those that stopped long ago; what is forgotten counts as started anew.
            let oldest = seen.idle_since_ms.iter().min_by_key(|(_, since_ms)| **since_ms);
            if let Some(oldest) = oldest.map(|(worker, _)| worker.clone()) {
                seen.idle_since_ms.remove(&oldest);
            }
        }
        let served = Served {
            delay_ms: reply.delay_ms.unwrap_or(self.scaling.start_ms),
            started_at_ms: ended_at_ms.saturating_sub(ran_ms),
            idle_since_ms: seen.idle_since_ms.insert(worker.to_owned(), ended_at_ms),
        };
        let ms = start_and_idle_ms(served, self.scaling);
        let day = seen.by_day.entry(utc_day(ended_at_ms)).or_default();
        *day = day.saturating_add(ms);
    }

    /// Takes what was seen since the last time, milliseconds by day.
    pub fn take(&self) -> BTreeMap<i32, u64> {
        std::mem::take(&mut self.lock().by_day)
    }

    /// Puts back what could not be published.
    pub fn put_back(&self, day: i32, ms: u64) {
        let mut seen = self.lock();
        let entry = seen.by_day.entry(day).or_default();
        *entry = entry.saturating_add(ms);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
