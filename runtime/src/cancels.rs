//! Requests to cancel jobs: the `CANCELS` bucket, watched.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::{self, kv};
use futures::StreamExt;
use schemas::JobId;
use schemas::topology::bucket;
use tokio_util::sync::CancellationToken;

use crate::exit::Fault;
use crate::telemetry;
use crate::trouble::Trouble;

/// Called with each job of which a request arrives.
type Listener = dyn Fn(JobId) + Send + Sync;

/// Jobs that are to be cancelled. The bucket's expiry (a day) and size bound it. Clones share it.
#[derive(Clone, Default)]
pub struct Cancels {
    requested: Arc<Mutex<HashSet<JobId>>>,
    listener: Option<Arc<Listener>>,
}

impl Cancels {
    /// Requests that are also given to a listener. A request is known to [`Cancels::contains`] before the listener is
    /// called with it, and a repeated request calls it again.
    #[must_use]
    pub fn notifying(listener: impl Fn(JobId) + Send + Sync + 'static) -> Self {
        Self { requested: Arc::default(), listener: Some(Arc::new(listener)) }
    }

    /// Whether the job is to be cancelled.
    #[must_use]
    pub fn contains(&self, job: JobId) -> bool {
        self.requested().contains(&job)
    }

    /// Takes a request.
    pub fn request(&self, job: JobId) {
        self.requested().insert(job);
        if let Some(listener) = &self.listener {
            listener(job);
        }
    }

    fn requested(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the bucket until stopped.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn follow(self, jetstream: jetstream::Context, stop: CancellationToken) -> Result<(), Fault> {
        let mut trouble = Trouble::new("following cancels");
        loop {
            let wait = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                reason = self.follow_once(&jetstream) => trouble.failed(&reason),
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_before_the_listener_hears_of_it() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&heard);
        let cancels = Cancels::notifying(move |job| into.lock().expect("not poisoned").push(job));
        let (job, other) = (JobId::new(), JobId::new());
        cancels.clone().request(job);
        assert_eq!(*heard.lock().expect("not poisoned"), [job]);
        assert!(cancels.contains(job) && !cancels.contains(other));
    }
}
