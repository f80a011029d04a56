//! The endpoint's workers: taking jobs, spending time, ending them, billing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Endpoint;
use super::handler::{self, Checked, Files};
use super::jobs::{Job, Slot, Status};
use crate::admin::Line;
use crate::{chance, clock, webhook};

/// How a job will end, decided when it starts.
struct Ending {
    status: Status,
    error: Option<String>,
    retries: Option<u32>,
    execution_ms: u64,
    files: Option<Files>,
}

impl Endpoint {
    /// Gives queued jobs to free workers, for ever; first calls the webhooks that a restart kept from
    /// being called.
    pub(super) async fn dispatch(self: Arc<Self>) {
        let mut running = JoinSet::new();
        for job in self.store.untold() {
            let endpoint = Arc::clone(&self);
            running.spawn(async move { endpoint.call_webhook(&job).await });
        }
        loop {
            while let Some((job, slot)) = self.next_pair() {
                running.spawn(Arc::clone(&self).serve(job, slot));
            }
            tokio::select! {
                () = self.wake.notified() => {}
                Some(_) = running.join_next() => {}
            }
        }
    }

    /// The oldest runnable job and the warmest free worker.
    fn next_pair(&self) -> Option<(Job, Slot)> {
        let now_ms = clock::now_ms();
        let mut book = self.store.lock();
        if book.free.is_empty() {
            return None;
        }
        let at = book.queue.iter().position(|id| {
            book.jobs
                .get(id)
                .is_some_and(|job| job.fate.as_deref() != Some("queue_forever") && !job.is_gone(now_ms))
        })?;
        let id = book.queue.remove(at)?;
        let job = book.jobs.get(&id)?.clone();
        let warmest = (0..book.free.len()).max_by_key(|slot| book.free[*slot].warm_until_ms)?;
        let mut slot = book.free.swap_remove(warmest);
        let (session, is_cold) = self.sessions.work(slot.session, now_ms);
        slot.session = Some(session);
        if is_cold {
            slot.warm_until_ms = 0;
        }
        book.cancels.insert(id, CancellationToken::new());
        Some((job, slot))
    }

    async fn serve(self: Arc<Self>, job: Job, slot: Slot) {
        let cancel = self.store.lock().cancels.get(&job.id).cloned().unwrap_or_default();
        let ttl_left = (job.submitted_ms + job.ttl_ms).saturating_sub(clock::now_ms());
        let id = job.id.clone();
        let ended = tokio::select! {
            () = cancel.cancelled() => None,
            // Removed at its ttl, even while running; what ran is billed.
            () = tokio::time::sleep(Duration::from_millis(ttl_left)) => None,
            ended = self.run(&job, &slot) => ended,
        };
        let last = match ended {
            Some(ending) => self.end(&id, ending),
            None => self.stop(&id),
        };
        let idle_ms = self.scale.wall(self.config.idle_timeout_ms).as_millis() as u64;
        {
            let mut book = self.store.lock();
            book.cancels.remove(&id);
            let warm_until_ms = clock::now_ms() + idle_ms;
            if let Some(session) = slot.session {
                self.sessions.idle(session, warm_until_ms);
            }
            book.free.push(Slot { warm_until_ms, ..slot });
        }
        self.wake.notify_one();
        if let Some(job) = last {
            self.call_webhook(&job).await;
        }
    }

    async fn run(&self, job: &Job, slot: &Slot) -> Option<Ending> {
        let resumed = job.started_ms.is_some();
        if !resumed && slot.warm_until_ms == 0 {
            tokio::time::sleep(self.scale.wall(self.config.cold_start_ms)).await;
        }
        let _running = self.admin.running();
        let started_ms = job.started_ms.unwrap_or_else(clock::now_ms);
        self.store.update(&job.id, |job| {
            job.status = Status::InProgress;
            job.started_ms = Some(started_ms);
            job.delay_ms.get_or_insert(self.scale.provider_ms(started_ms - job.submitted_ms.min(started_ms)));
            job.worker_id = Some(slot.id.clone());
        })?;
        self.touched("IN_PROGRESS");
        let ending = self.conclude(job).await;
        let spent = Duration::from_millis(clock::now_ms().saturating_sub(started_ms));
        tokio::time::sleep(self.scale.wall(ending.execution_ms).saturating_sub(spent)).await;
        Some(ending)
    }

    async fn conclude(&self, job: &Job) -> Ending {
        let key = job.id.as_bytes();
        let quick_ms = self.whole(chance::latency_ms(1_500, self.config.seed, key));
        let failed = |error: String, execution_ms| Ending {
            status: Status::Failed,
            error: Some(error),
            retries: None,
            execution_ms,
            files: None,
        };
        let lost = |execution_ms| Ending {
            retries: Some(1),
            ..failed("job timed out after 1 retries".to_owned(), execution_ms)
        };
        let (accepted, uploads, video) = match handler::check(&job.input, &self.catalog) {
            Checked::NoInput => return lost(quick_ms),
            Checked::Refused(text) => return failed(text, quick_ms),
            Checked::Runs { accepted, uploads, video } => (accepted, uploads, video),
        };
        let median_ms = if video { self.config.video_median_ms } else { self.config.image_median_ms };
        let execution_ms = self.whole(chance::latency_ms(median_ms, self.config.seed, key));
        if execution_ms > job.execution_timeout_ms {
            let ending = failed("executionTimeout exceeded".to_owned(), job.execution_timeout_ms);
            // Both have been seen in life.
            let timed_out = chance::hash(self.config.seed, &[b"timeout", key]).is_multiple_of(2);
            return if timed_out { Ending { status: Status::TimedOut, ..ending } } else { ending };
        }
        match job.fate.as_deref() {
            Some("timed_out_after_retries") => return lost(execution_ms),
            Some("failed_oom") => {
                let text = "Job processing failed: Workflow execution error: Node Type: KSampler, Node ID: 3, Message: \
                            Allocation on device 0 would exceed allowed memory. (out of memory)";
                return failed(text.to_owned(), self.whole(execution_ms / 2));
            }
            Some("failed_json_error") => {
                let text = json!({"error_type": "<class 'RuntimeError'>", "error_message": "simulated failure",
                    "error_traceback": "<simulated>", "hostname": "simulator", "worker_id": "simworker0",
                    "runpod_version": "1.12.0"});
                return failed(text.to_string(), execution_ms);
            }
            _ => {}
        }
        let catalog = Arc::clone(&self.catalog);
        let drawn = tokio::task::spawn_blocking(move || handler::run(&accepted, &uploads, &catalog)).await;
        let Ok(files) = drawn else {
            return failed("An unexpected error occurred: drawing failed".to_owned(), quick_ms);
        };
        Ending { status: Status::Completed, error: None, retries: None, execution_ms, files: Some(files) }
    }

    /// Bills first, then shows the end: a result nobody was billed for would falsify the audit.
    fn end(&self, id: &str, ending: Ending) -> Option<Job> {
        if !self.bill(id, ending.status, ending.execution_ms) {
            return None;
        }
        let ended = self.store.update(id, |job| {
            job.status = ending.status;
            job.error = ending.error;
            job.retries = ending.retries;
            job.execution_ms = Some(ending.execution_ms);
            job.ended_ms = Some(clock::now_ms());
            job.untold = job.webhook.is_some();
        })?;
        if let Some(files) = ending.files {
            self.store.lock().files.insert(id.to_owned(), Arc::new(files));
        }
        self.touched(ending.status.name());
        Some(ended)
    }

    /// A job that was cancelled or expired on a worker: what ran is billed.
    fn stop(&self, id: &str) -> Option<Job> {
        let now_ms = clock::now_ms();
        let job = self.store.lock().jobs.get(id)?.clone();
        let execution_ms =
            job.started_ms.map_or(0, |started| self.scale.provider_ms(now_ms.saturating_sub(started)));
        let execution_ms = self.whole(execution_ms);
        if !self.bill(id, Status::Cancelled, execution_ms) {
            return None;
        }
        let stopped = self.store.update(id, |job| {
            job.status = Status::Cancelled;
            job.execution_ms = Some(execution_ms);
            job.ended_ms = Some(now_ms);
            job.untold = job.webhook.is_some();
        });
        self.touched("CANCELLED");
        stopped
    }

    /// In whole seconds, where jobs take those.
    const fn whole(&self, ms: u64) -> u64 {
        if self.config.whole_seconds { ms.div_ceil(1_000) * 1_000 } else { ms }
    }

    /// False if the simulator stopped meanwhile.
    fn bill(&self, id: &str, status: Status, execution_ms: u64) -> bool {
        if execution_ms == 0 {
            return true;
        }
        let Some(job) = self.store.lock().jobs.get(id).cloned() else { return false };
        // Each rerun is a purchase of its own.
        let provider_id = if job.reruns == 0 { id.to_owned() } else { format!("{id}#retry-{}", job.reruns) };
        self.admin.bill_once(Line {
            at_ms: clock::now_ms(),
            what: format!("serverless {} {}", self.config.endpoint_id, status.name()),
            provider_id,
            job_hint: handler::hint(&job.input),
            quantity: execution_ms.div_ceil(1_000),
            unit: "execution_s".to_owned(),
            amount_micro_usd: price(execution_ms, self.config.rate_micro_usd_per_s),
        })
    }

    /// Puts an ended job back into the queue; its old output is dropped.
    pub(super) fn requeue(&self, id: &str) {
        self.store.update(id, |job| {
            job.status = Status::InQueue;
            job.submitted_ms = clock::now_ms();
            (job.started_ms, job.ended_ms, job.delay_ms, job.execution_ms) = (None, None, None, None);
            (job.error, job.retries, job.fate) = (None, None, None);
            job.reruns += 1;
            job.untold = false;
        });
        {
            let mut book = self.store.lock();
            book.files.remove(id);
            book.queue.push_back(id.to_owned());
            book.retried += 1;
        }
        self.touched("IN_QUEUE");
        self.wake.notify_one();
    }

    pub(super) fn touched(&self, state: &str) {
        self.admin.count_state(state);
        self.changed.send_modify(|version| *version += 1);
    }

    async fn call_webhook(&self, job: &Job) {
        let Some(url) = &job.webhook else { return };
        let body = self.show(job).await;
        if !webhook::send(url, &body).await {
            tracing::warn!(job = job.id, "simulator: the webhook was not accepted");
        }
        self.store.update(&job.id, |job| job.untold = false);
    }
}

/// A job's share of the bill: each second of execution that was begun × rate.
fn price(execution_ms: u64, rate_micro_usd_per_s: u64) -> u64 {
    execution_ms.div_ceil(1_000) * rate_micro_usd_per_s
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn begun_seconds_are_billed() {
        for (ms, rate, micro_usd) in
            [(0, 190, 0), (1, 190, 190), (1000, 190, 190), (1001, 190, 380), (33_333, 190, 6460)]
        {
            assert_eq!(price(ms, rate), micro_usd, "{ms} ms");
        }
    }
}
