//! A provider's workers that start when there is work and stop when there is none, billed from start to stop by the
//! second. Attempts are billed for their execution; the rest of a worker's time is overhead.

use schemas::MicroUsd;

use super::rows::{OverheadRow, Rows};
use crate::fleet::ServerlessSpec;
use crate::setting::Setting;

/// The provider's workers.
#[derive(Debug)]
pub(crate) struct Pool {
    spec: ServerlessSpec,
    workers: Vec<Worker>,
}

/// Where an attempt runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) worker: usize,
    pub(crate) exec_at_ms: i64,
}

#[derive(Debug, Default)]
struct Worker {
    free_at_ms: i64,
    /// Since when it has been up.
    up_since_ms: Option<i64>,
    /// What attempts were charged since then.
    charged: MicroUsd,
}

impl Pool {
    pub(crate) fn new(spec: ServerlessSpec) -> Self {
        let workers = (0..spec.workers).map(|_| Worker::default()).collect();
        Self { spec, workers }
    }

    /// The warmest free worker, else a cold one, else the first that comes free.
    pub(crate) fn place(&mut self, now_ms: i64, setting: &Setting, rows: &mut Rows) -> Place {
        let idle_ms = i64::try_from(self.spec.idle_timeout_ms).unwrap_or(i64::MAX / 4);
        let rank = |worker: &Worker| {
            let is_free = worker.free_at_ms <= now_ms;
            (!is_free, if is_free { -worker.free_at_ms } else { worker.free_at_ms })
        };
        let best =
            (0..self.workers.len()).min_by_key(|index| rank(&self.workers[*index])).unwrap_or_default();
        let worker = &mut self.workers[best];
        let begins_ms = now_ms.max(worker.free_at_ms);
        if worker.up_since_ms.is_some() && begins_ms <= worker.free_at_ms + idle_ms {
            return Place { worker: best, exec_at_ms: begins_ms };
        }
        worker.stop(idle_ms, best, setting, rows);
        *worker = Worker { free_at_ms: begins_ms, up_since_ms: Some(begins_ms), charged: MicroUsd::ZERO };
        Place { worker: best, exec_at_ms: begins_ms.saturating_add_unsigned(self.spec.cold_start_ms) }
    }

    pub(crate) fn busy_until(&mut self, worker: usize, ends_ms: i64) {
        let worker = &mut self.workers[worker];
        worker.free_at_ms = worker.free_at_ms.max(ends_ms);
    }

    /// An attempt ended, perhaps before its time.
    pub(crate) fn ended(&mut self, worker: usize, now_ms: i64, cost: MicroUsd) {
        let worker = &mut self.workers[worker];
        worker.charged = MicroUsd(worker.charged.0 + cost.0);
        // One that was stopped frees its worker; those behind it keep their places.
        worker.free_at_ms = worker.free_at_ms.max(now_ms);
    }

    pub(crate) fn close(&mut self, setting: &Setting, rows: &mut Rows) {
        let idle_ms = i64::try_from(self.spec.idle_timeout_ms).unwrap_or(i64::MAX / 4);
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.stop(idle_ms, index, setting, rows);
        }
    }
}

impl Worker {
    /// Books what its time costs beyond its attempts.
    fn stop(&mut self, idle_ms: i64, index: usize, setting: &Setting, rows: &mut Rows) {
        let Some(since_ms) = self.up_since_ms.take() else { return };
        let up_ms = (self.free_at_ms + idle_ms - since_ms).max(0).unsigned_abs();
        let bill = rows.serverless_price(up_ms, since_ms, setting);
        let cost = MicroUsd((bill.0 - self.charged.0).max(0));
        rows.overheads.push(OverheadRow { worker: index, since_ms, up_ms, cost });
    }
}
