//! Requests to cancel jobs: the `CANCELS` bucket, watched.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::{StreamExt, TryStreamExt};
use protocol::PortError;
use schemas::topology::bucket;
use schemas::{CancelRequest, JobId, Tenant};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::exit::Fault;
use crate::telemetry;
use crate::trouble::Trouble;

/// How often requests are looked for that the bucket no longer has.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Called with each request that arrives.
type Listener = dyn Fn(&CancelRequest) + Send + Sync;

/// Jobs that are to be cancelled. The bucket's size bounds it: routers remove the requests of jobs that are over, and what is
/// removed from the bucket or expires there is forgotten here. Clones share it.
#[derive(Clone, Default)]
pub struct Cancels {
    requested: Arc<Mutex<Requested>>,
    listener: Option<Arc<Listener>>,
}

impl Cancels {
    /// Requests that are also given to a listener. A request is known to [`Cancels::contains`] before the listener is
    /// called with it, and a repeated request calls it again.
    #[must_use]
    pub fn notifying(listener: impl Fn(&CancelRequest) + Send + Sync + 'static) -> Self {
        Self { requested: Arc::default(), listener: Some(Arc::new(listener)) }
    }

    /// Whether the tenant's job is to be cancelled.
    #[must_use]
    pub fn contains(&self, tenant: &Tenant, job: JobId) -> bool {
        self.requested().contains(tenant, job)
    }

    /// Takes a request that the broker took in at that time, Unix milliseconds.
    pub fn request(&self, request: &CancelRequest, at_ms: i64) {
        self.requested().insert(request, at_ms);
        if let Some(listener) = &self.listener {
            listener(request);
        }
    }

    fn requested(&self) -> MutexGuard<'_, Requested> {
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
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            let entry = tokio::select! {
                entry = requests.next() => entry,
                _ = forget.tick() => {
                    if let Err(error) = self.forget_removed(&store).await {
                        return telemetry::chain(&error);
                    }
                    continue;
                }
            };
            match entry {
                Some(Ok(entry)) => self.take(&entry),
                Some(Err(error)) => return telemetry::chain(&error),
                None => return "the watch closed".to_owned(),
            }
        }
    }

    /// Forgets what the bucket no longer has. What a router removes there leaves no mark, so a watch does not see it.
    async fn forget_removed(&self, store: &kv::Store) -> Result<(), PortError> {
        let began_ms = clock::now_ms();
        let status = store.status().await.map_err(away)?;
        // The bucket says for how long it keeps a request: that may be changed while this runs.
        self.requested().forget(began_ms, status.max_age());
        if self.requested().entries() <= status.values() {
            return Ok(());
        }
        let keys: HashSet<String> = store.keys().await.map_err(away)?.try_collect().await.map_err(away)?;
        self.requested().retain(&keys, began_ms);
        Ok(())
    }

    fn take(&self, entry: &kv::Entry) {
        let Some(request) = CancelRequest::read(&entry.key, &entry.value) else { return };
        match entry.operation {
            kv::Operation::Put => {
                self.request(&request, clock::ms_of_ns(entry.created.unix_timestamp_nanos()));
            }
            kv::Operation::Delete | kv::Operation::Purge => self.requested().remove(&request),
        }
    }
}

fn away<E: std::error::Error + Send + Sync + 'static>(error: E) -> PortError {
    PortError::Away { what: bucket::CANCELS, source: error.into() }
}

/// The requests that are known: of each job, whose, and when the broker took the request in.
#[derive(Default)]
struct Requested {
    jobs: HashMap<JobId, Vec<(Option<Tenant>, i64)>>,
}

impl Requested {
    fn contains(&self, tenant: &Tenant, job: JobId) -> bool {
        let requests = self.jobs.get(&job).map(Vec::as_slice).unwrap_or_default();
        requests.iter().any(|(whose, _)| whose.as_ref().is_none_or(|whose| whose == tenant))
    }

    fn insert(&mut self, request: &CancelRequest, at_ms: i64) {
        let requests = self.jobs.entry(request.job).or_default();
        match requests.iter_mut().find(|(whose, _)| *whose == request.tenant) {
            Some((_, known_ms)) => *known_ms = at_ms.max(*known_ms),
            None => requests.push((request.tenant.clone(), at_ms)),
        }
    }

    fn remove(&mut self, request: &CancelRequest) {
        if let Some(requests) = self.jobs.get_mut(&request.job) {
            requests.retain(|(whose, _)| *whose != request.tenant);
            if requests.is_empty() {
                self.jobs.remove(&request.job);
            }
        }
    }

    /// How many entries of the bucket these requests are.
    fn entries(&self) -> u64 {
        let each = |(tenant, _): &(Option<Tenant>, i64)| if tenant.is_some() { 2 } else { 1 };
        self.jobs.values().flatten().map(each).sum()
    }

    /// Forgets what is not among the bucket's keys, as they were listed from `began_ms` on; what came later stays.
    fn retain(&mut self, keys: &HashSet<String>, began_ms: i64) {
        let later_ms = began_ms.saturating_sub(i64::try_from(FORGET_EVERY.as_millis()).unwrap_or(i64::MAX));
        self.jobs.retain(|job, requests| {
            requests.retain(|(tenant, at_ms)| {
                let request = CancelRequest { tenant: tenant.clone(), job: *job };
                *at_ms >= later_ms || request.entries().iter().any(|(key, _)| keys.contains(key))
            });
            !requests.is_empty()
        });
    }

    /// Forgets what is older than what the bucket keeps; a bucket without an age keeps everything.
    fn forget(&mut self, now_ms: i64, max_age: Duration) {
        if max_age.is_zero() {
            return;
        }
        let max_age_ms = i64::try_from((max_age + FORGET_EVERY).as_millis()).unwrap_or(i64::MAX);
        self.jobs.retain(|_, requests| {
            requests.retain(|(_, at_ms)| now_ms.saturating_sub(*at_ms) <= max_age_ms);
            !requests.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn tenant(name: &str) -> Tenant {
        name.parse().expect("a name")
    }

    fn of(name: &str, job: JobId) -> CancelRequest {
        CancelRequest { tenant: Some(tenant(name)), job }
    }

    fn of_any(job: JobId) -> CancelRequest {
        CancelRequest { tenant: None, job }
    }

    #[test]
    fn a_request_is_known_before_the_listener_hears_of_it() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&heard);
        let cancels = Cancels::notifying(move |request| into.lock().expect("sound").push(request.clone()));
        let (job, other) = (JobId::new(), JobId::new());
        cancels.clone().request(&of("a", job), 1);
        assert_eq!(*heard.lock().expect("sound"), [of("a", job)]);
        assert!(cancels.contains(&tenant("a"), job) && !cancels.contains(&tenant("a"), other));
    }

    #[test]
    fn a_request_cancels_the_job_of_its_tenant_and_one_without_whatever_tenants() {
        let (job, mut requested) = (JobId::new(), Requested::default());
        requested.insert(&of("a", job), 1);
        assert!(requested.contains(&tenant("a"), job));
        assert!(!requested.contains(&tenant("b"), job), "a borrowed id cancels nothing of another tenant");
        requested.insert(&of_any(job), 1);
        assert!(requested.contains(&tenant("b"), job));
    }

    #[test]
    fn what_is_removed_is_forgotten_and_nothing_else() {
        let (job, mut requested) = (JobId::new(), Requested::default());
        for request in [of("a", job), of("b", job), of_any(job)] {
            requested.insert(&request, 1);
        }
        requested.remove(&of_any(job));
        requested.remove(&of("c", job));
        requested.remove(&of("a", JobId::new()));
        assert!(requested.contains(&tenant("a"), job) && requested.contains(&tenant("b"), job));
        assert!(!requested.contains(&tenant("c"), job));
        requested.remove(&of("a", job));
        assert!(!requested.contains(&tenant("a"), job));
        requested.remove(&of("b", job));
        assert!(requested.jobs.is_empty(), "the set shrinks");
    }

    #[test]
    fn what_routers_removed_without_a_mark_is_forgotten() {
        let (kept, gone, any, young) = (JobId::new(), JobId::new(), JobId::new(), JobId::new());
        let mut requested = Requested::default();
        let now_ms = 100 * 3_600_000;
        for request in [of("a", kept), of("b", kept), of("a", gone), of_any(any)] {
            requested.insert(&request, 1);
        }
        requested.insert(&of("a", young), now_ms);
        assert_eq!(requested.entries(), 9);
        let keys = [format!("a.{kept}"), any.to_string()].into();
        requested.retain(&keys, now_ms);
        assert!(requested.contains(&tenant("a"), kept) && !requested.contains(&tenant("b"), kept));
        assert!(!requested.contains(&tenant("a"), gone) && requested.contains(&tenant("z"), any));
        assert!(requested.contains(&tenant("a"), young), "it was stored while the keys were listed");
        assert_eq!(requested.jobs.len(), 3);
    }

    #[test]
    fn what_the_bucket_no_longer_keeps_is_forgotten_here() {
        let (young, old, again) = (JobId::new(), JobId::new(), JobId::new());
        let mut requested = Requested::default();
        let now_ms = 100 * 3_600_000;
        let ago = |hours: i64| now_ms - hours * 3_600_000;
        for nth in 0..1_000 {
            requested.insert(&of(&format!("tenant-{nth}"), old), ago(3));
            requested.insert(&of("a", JobId::new()), ago(3));
        }
        requested.insert(&of("a", young), ago(1));
        // Asked for again after two hours: it is as old as the last request.
        requested.insert(&of("a", again), ago(3));
        requested.insert(&of("a", again), ago(1));
        requested.insert(&of("a", again), ago(3));
        requested.forget(now_ms, Duration::ZERO);
        assert_eq!(requested.jobs.len(), 1_003, "a bucket without an age keeps all");
        requested.forget(now_ms, 2 * HOUR);
        assert_eq!(requested.jobs.len(), 2);
        assert!(requested.contains(&tenant("a"), young) && requested.contains(&tenant("a"), again));
        requested.forget(now_ms + 60_000, HOUR);
        assert_eq!(requested.jobs.len(), 2, "never before the bucket");
        requested.forget(now_ms + 60_001, HOUR);
        assert!(requested.jobs.is_empty());
    }
}
