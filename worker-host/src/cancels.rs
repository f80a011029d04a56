//! Cancel requests: the `CANCELS` bucket, watched. A request stops a running attempt at once and keeps
//! a waiting one from starting.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::StreamExt;
use schemas::JobId;
use schemas::topology::bucket;
use tokio_util::sync::CancellationToken;

use crate::{Stop, Stopper};
use runtime::exit::Fault;
use runtime::telemetry;

/// How long to wait before a broken watch is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Jobs that somebody asked to cancel. The bucket's expiry (a day) and size bound it.
#[derive(Debug, Clone, Default)]
pub struct Cancels {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    requested: HashSet<JobId>,
    running: HashMap<JobId, Stopper>,
}

impl Cancels {
    /// Whether the job is to be cancelled.
    #[must_use]
    pub fn contains(&self, job: JobId) -> bool {
        self.lock().requested.contains(&job)
    }

    /// Registers a running attempt; it is stopped at once if a request came before.
    pub fn running(&self, job: JobId, stopper: &Stopper) {
        let mut inner = self.lock();
        if inner.requested.contains(&job) {
            stopper.stop(Stop::Cancelled);
        }
        inner.running.insert(job, stopper.clone());
    }

    /// Forgets an attempt that ended.
    pub fn ended(&self, job: JobId) {
        self.lock().running.remove(&job);
    }

    /// Takes a request.
    pub fn request(&self, job: JobId) {
        let mut inner = self.lock();
        inner.requested.insert(job);
        if let Some(stopper) = inner.running.get(&job) {
            stopper.stop(Stop::Cancelled);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the bucket until stopped.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn follow(self, jetstream: jetstream::Context, stop: CancellationToken) -> Result<(), Fault> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                reason = self.follow_once(&jetstream) => tracing::warn!(error = reason, "cancel watch ended, opening it again"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(REOPEN_AFTER) => {}
            }
        }
    }

    async fn follow_once(&self, jetstream: &jetstream::Context) -> String {
        let store = match jetstream.get_key_value(bucket::CANCELS).await {
            Ok(store) => store,
            Err(error) => return telemetry::chain(&error),
        };
        let mut requests = match store.watch_with_history(">").await {
            Ok(requests) => requests,
            Err(error) => return telemetry::chain(&error),
        };
        while let Some(entry) = requests.next().await {
            match entry {
                Ok(entry) if entry.operation == kv::Operation::Put => {
                    if let Ok(job) = entry.key.parse() {
                        self.request(job);
                    }
                }
                Ok(_) => {}
                Err(error) => return telemetry::chain(&error),
            }
        }
        "the watch closed".to_owned()
    }
}
