//! The provider's memory of its jobs, kept in a journal.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::handler::Files;
use crate::journal::{self, Journal};
use crate::{Error, clock};

/// How long results are kept: `/run` jobs, and `/runsync` jobs, wall milliseconds.
const RETENTION_MS: (u64, u64) = (30 * 60_000, 60_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    InQueue,
    InProgress,
    Completed,
    Failed,
    Cancelled,
    TimedOut,
}

impl Status {
    pub(super) fn is_final(self) -> bool {
        !matches!(self, Self::InQueue | Self::InProgress)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InQueue => "IN_QUEUE",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
        }
    }
}

/// One job; every change is written whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) status: Status,
    /// Left out of all journal lines but the first.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) input: Value,
    pub(super) webhook: Option<String>,
    pub(super) execution_timeout_ms: u64,
    pub(super) ttl_ms: u64,
    pub(super) submitted_ms: u64,
    pub(super) started_ms: Option<u64>,
    pub(super) ended_ms: Option<u64>,
    /// Provider milliseconds from submission to start.
    pub(super) delay_ms: Option<u64>,
    /// Provider milliseconds of execution, known at the end.
    pub(super) execution_ms: Option<u64>,
    pub(super) worker_id: Option<String>,
    pub(super) error: Option<String>,
    pub(super) retries: Option<u32>,
    /// How often `/retry` was called.
    #[serde(default)]
    pub(super) reruns: u32,
    /// It ended at a worker, and its webhook is still to be called.
    #[serde(default)]
    pub(super) untold: bool,
    /// The fault drawn for it at submission.
    pub(super) fate: Option<String>,
}

impl Job {
    pub(super) fn is_sync(&self) -> bool {
        self.id.starts_with("sync-")
    }

    /// Past its ttl, or ended so long ago that the result is gone.
    pub(super) fn is_gone(&self, now_ms: u64) -> bool {
        match self.ended_ms {
            Some(ended) => now_ms > ended + if self.is_sync() { RETENTION_MS.1 } else { RETENTION_MS.0 },
            None => now_ms > self.submitted_ms + self.ttl_ms,
        }
    }
}

/// A worker of the endpoint.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) id: String,
    /// Until when it needs no cold start, wall milliseconds.
    pub(super) warm_until_ms: u64,
    /// The time that is billed for it since it was last started.
    pub(super) session: Option<u64>,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) queue: VecDeque<String>,
    pub(super) free: Vec<Slot>,
    pub(super) cancels: HashMap<String, CancellationToken>,
    pub(super) files: HashMap<String, Arc<Files>>,
    pub(super) retried: u64,
}

pub(super) struct Store {
    book: Mutex<Book>,
    journal: Journal,
}

impl Store {
    /// Workers that are up keep their sessions.
    pub(super) fn open(dir: &Path, workers: usize, up: &[u64], warm_until_ms: u64) -> Result<Self, Error> {
        let path = dir.join("jobs.jsonl");
        let mut book = Book::default();
        for mut job in journal::read::<Job>(&path)? {
            if let Some(earlier) = book.jobs.remove(&job.id)
                && job.input.is_null()
            {
                job.input = earlier.input;
            }
            book.jobs.insert(job.id.clone(), job);
        }
        let mut open: Vec<&Job> = book.jobs.values().filter(|job| !job.status.is_final()).collect();
        // Running ones first: they had their worker already.
        open.sort_by_key(|job| (job.status == Status::InQueue, job.submitted_ms));
        book.queue = open.into_iter().map(|job| job.id.clone()).collect();
        let slot = |n: usize| {
            let session = up.get(n).copied();
            Slot { id: format!("simworker{n}"), warm_until_ms: session.map_or(0, |_| warm_until_ms), session }
        };
        book.free = (0..workers.max(1)).map(slot).collect();
        Ok(Self { book: Mutex::new(book), journal: Journal::open(&path)? })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new job, queued; forgets those that are long gone.
    pub(super) fn insert(&self, job: Job) {
        self.journal.append(&job);
        let now_ms = clock::now_ms();
        let mut book = self.lock();
        book.jobs.retain(|_, old| !(old.status.is_final() && old.is_gone(now_ms)));
        let Book { files, jobs, .. } = &mut *book;
        files.retain(|id, _| jobs.contains_key(id));
        book.queue.push_back(job.id.clone());
        book.jobs.insert(job.id.clone(), job);
    }

    /// Changes a job and writes it down; `None` if it does not exist (any more).
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut Job)) -> Option<Job> {
        let mut book = self.lock();
        let job = book.jobs.get_mut(id)?;
        change(job);
        let line = Job { input: Value::Null, ..job.clone() };
        self.journal.append(&line);
        Some(job.clone())
    }

    /// Those whose webhooks are still to be called.
    pub(super) fn untold(&self) -> Vec<Job> {
        self.lock().jobs.values().filter(|job| job.untold).cloned().collect()
    }

    /// The job as the API may show it: none if expired.
    pub(super) fn visible(&self, id: &str) -> Option<Job> {
        self.lock().jobs.get(id).filter(|job| !job.is_gone(clock::now_ms())).cloned()
    }
}
