//! The fleet as a router sees it: who is there, what waits where, what failed lately.
//!
//! Updated in place as watched values change. The order in which news arrives leaves no trace in it:
//! workers are kept by name.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Deref;

use schemas::breaker::BreakerRecord;
use schemas::{AttemptFacts, Backend, Class, Health, JobId, Offer, PolicyConfig, Queue, WorkerId};

use crate::breakers::{Breakers, Success};

/// All backends of which anything is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// By name.
    pub backends: BTreeMap<Backend, BackendView>,
}

/// A worker's latest offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    offer: Offer,
    kind: u64,
    told_at_ms: i64,
}

impl Known {
    fn new(offer: Offer, told_at_ms: i64) -> Self {
        // The hasher's keys are fixed: the same offer has the same kind everywhere.
        let mut hasher = DefaultHasher::new();
        offer.classes.iter().for_each(|class| class.class.hash(&mut hasher));
        (&offer.models, &offer.nodes, &offer.file_choices).hash(&mut hasher);
        offer.gpus.iter().map(|gpu| gpu.vram_total_bytes).max().hash(&mut hasher);
        Self { kind: hasher.finish(), offer, told_at_ms }
    }

    /// The same for workers that can do the same: classes, models, nodes and memory. Told once, when the offer
    /// arrives, so that a plan compares a number and not hundreds of names.
    pub(crate) const fn kind(&self) -> u64 {
        self.kind
    }

    /// How old it is, milliseconds: by when the broker took it in, whatever its worker's clock says.
    #[must_use]
    pub fn age_ms(&self, now_ms: i64) -> u64 {
        u64::try_from(now_ms.saturating_sub(self.told_at_ms)).unwrap_or_default()
    }

    /// The one rule of presence: plans, the sweep, `backends` and `argosy doctor` go by it.
    #[must_use]
    pub fn is_fresh(&self, offer_max_age_ms: u64, now_ms: i64) -> bool {
        self.age_ms(now_ms) < offer_max_age_ms
    }

    /// Whether its worker is alive and well, and takes work from the queue.
    #[must_use]
    pub fn serves(&self, queue: &Queue, max_age_ms: u64, now_ms: i64) -> bool {
        self.is_fresh(max_age_ms, now_ms) && self.health == Health::Healthy && self.reads(queue)
    }

    /// Whether its worker lists a job as running, or has more in hand than it lists.
    #[must_use]
    pub fn may_have(&self, job: JobId) -> bool {
        self.running.iter().any(|attempt| attempt.job == job)
            || self.slots.saturating_sub(self.free_slots) as usize > self.running.len()
    }

    /// How far its worker's clock is ahead of the broker's, milliseconds: as it measured, else as its time shows.
    #[must_use]
    pub fn clock_skew_ms(&self) -> i64 {
        self.offer.clock_skew_ms.unwrap_or_else(|| self.offer.time_ms.saturating_sub(self.told_at_ms))
    }

    /// The offer itself.
    #[must_use]
    pub fn into_offer(self) -> Offer {
        self.offer
    }
}

impl Deref for Known {
    type Target = Offer;

    fn deref(&self) -> &Offer {
        &self.offer
    }
}

/// One backend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackendView {
    /// Its workers' latest offers, by worker name; old ones are told by their age.
    pub offers: Vec<Known>,
    /// Jobs waiting or running there, by queue.
    pub backlog: BTreeMap<Queue, u64>,
    /// What is remembered of its failures, those apart that its workers answer for.
    pub breakers: Breakers,
}

impl BackendView {
    /// Whether a worker that is alive serves the queue; one that drains does not take more, and finishes what it has.
    #[must_use]
    pub fn serves(&self, queue: &Queue, max_age_ms: u64, now_ms: i64) -> bool {
        self.offers.iter().any(|offer| offer.serves(queue, max_age_ms, now_ms))
    }

    /// How many jobs of a class wait or run there, in all its queues.
    #[must_use]
    pub fn backlog_of(&self, class: &Class) -> u64 {
        let of_class = self.backlog.iter().filter(|(queue, _)| queue.class == *class);
        of_class.map(|(_, jobs)| jobs).fold(0, |all, jobs| all.saturating_add(*jobs))
    }

    /// The queues that its workers read, and those in which something waits or runs.
    #[must_use]
    pub fn queues(&self) -> BTreeSet<Queue> {
        let read = |known: &Known| -> Vec<Queue> {
            known.classes.iter().map(|offered| known.queue(&offered.class)).collect()
        };
        let waiting = self.backlog.iter().filter(|(_, jobs)| **jobs > 0).map(|(queue, _)| queue.clone());
        self.offers.iter().flat_map(read).chain(waiting).collect()
    }
}

impl Fleet {
    /// One backend; nothing when nothing is known of it.
    #[must_use]
    pub fn view(&self, backend: &Backend) -> Option<&BackendView> {
        self.backends.get(backend)
    }

    /// Some backend failed since it last succeeded.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.backends.values().any(|view| view.breakers.is_troubled())
    }

    /// One backend, to be updated.
    pub fn view_mut(&mut self, backend: &Backend) -> &mut BackendView {
        self.backends.entry(backend.clone()).or_default()
    }

    /// An attempt of a job failed. A worker with a server of its own holds that server's breaker by itself
    /// ([`Offer::breaker`]), and nothing is said of the backend's other servers; else it speaks of the backend. The
    /// record to be written if one of its breakers opened, or opened for longer.
    pub fn attempt_failed(
        &mut self,
        job: JobId,
        facts: &AttemptFacts,
        policy: &PolicyConfig,
        now_ms: i64,
    ) -> Option<BreakerRecord> {
        let view = self.view_mut(&facts.backend);
        let is_its_servers = facts.worker.as_ref().is_some_and(|worker| {
            view.offers.iter().any(|offer| offer.worker == *worker && offer.breaker.is_some())
        });
        if is_its_servers { None } else { view.breakers.on_failure(job, facts, policy, now_ms) }
    }

    /// An attempt succeeded; the records of the breakers to be written that this closed.
    pub fn attempt_succeeded(&mut self, success: &Success<'_>, now_ms: i64) -> Vec<BreakerRecord> {
        self.view_mut(success.backend).breakers.on_success(success, now_ms)
    }

    /// Another router, or a person, wrote the state of a provider's breaker.
    pub fn take_breaker(&mut self, record: &BreakerRecord) {
        self.view_mut(&record.backend).breakers.take(record);
    }

    /// A worker said something about itself; it replaces what the worker said before. `told_at_ms` is when the broker
    /// took it in.
    pub fn upsert_offer(&mut self, offer: Offer, told_at_ms: i64) {
        for (backend, view) in &mut self.backends {
            if *backend != offer.backend {
                view.offers.retain(|known| known.worker != offer.worker);
            }
        }
        let offers = &mut self.view_mut(&offer.backend).offers;
        match offers.binary_search_by(|known| known.worker.cmp(&offer.worker)) {
            Ok(at) => offers[at] = Known::new(offer, told_at_ms),
            Err(at) => offers.insert(at, Known::new(offer, told_at_ms)),
        }
    }

    /// A worker is gone.
    pub fn remove_offer(&mut self, worker: &WorkerId) {
        for view in self.backends.values_mut() {
            view.offers.retain(|offer| offer.worker != *worker);
        }
    }

    /// So many jobs wait or run in a queue of a backend.
    pub fn set_backlog(&mut self, backend: &Backend, queue: Queue, jobs: u64) {
        self.view_mut(backend).backlog.insert(queue, jobs);
    }

    /// So many more, or fewer when negative; never below none.
    pub fn add_backlog(&mut self, backend: &Backend, queue: Queue, jobs: i64) {
        let backlog = self.view_mut(backend).backlog.entry(queue).or_default();
        *backlog = backlog.saturating_add_signed(jobs);
    }

    /// How many jobs wait or run in a queue of a backend.
    #[must_use]
    pub fn backlog(&self, backend: &Backend, queue: &Queue) -> u64 {
        self.view(backend).and_then(|view| view.backlog.get(queue)).copied().unwrap_or_default()
    }
}
