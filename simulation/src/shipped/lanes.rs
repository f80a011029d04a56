//! The lanes' stream and the stream of failed attempts, without a broker: what lies there, what is in hand, what comes
//! back after a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use schemas::{DeadLetter, Job, Lane, Tenant, subjects};

use super::delivery::{Payload, SimDelivery};

#[derive(Debug)]
struct Lying {
    job: Arc<Job>,
    published_ms: i64,
    deliveries: i64,
}

#[derive(Debug, Default)]
struct OneLane {
    lying: BTreeMap<u64, Lying>,
    ready: VecDeque<u64>,
    by_tenant: BTreeMap<Tenant, BTreeSet<u64>>,
    subjects: BTreeMap<Tenant, Rc<str>>,
}

#[derive(Debug)]
enum Returning {
    Job(usize),
    Failed(SimDelivery),
}

/// All lanes.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: [OneLane; 3],
    failed: VecDeque<SimDelivery>,
    returning: BTreeMap<(i64, u64), Returning>,
    planned_return_ms: Option<i64>,
    sequence: u64,
}

/// A lane's place.
pub(crate) fn place(lane: Lane) -> usize {
    Lane::ALL.iter().position(|one| *one == lane).unwrap_or(1)
}

impl OneLane {
    fn subject(&mut self, lane: Lane, tenant: &Tenant) -> Rc<str> {
        let subject = self.subjects.entry(tenant.clone());
        Rc::clone(subject.or_insert_with(|| subjects::jobs(lane, tenant).into()))
    }

    fn delivery(&mut self, lane: Lane, sequence: u64, deliveries: i64) -> Option<SimDelivery> {
        let has_more_behind = !self.ready.is_empty();
        let lying = self.lying.get(&sequence)?;
        let (job, published_ms) = (Arc::clone(&lying.job), lying.published_ms);
        let subject = self.subject(lane, &job.tenant);
        let payload = Payload::Job(job);
        Some(SimDelivery { payload, subject, sequence, published_ms, deliveries, has_more_behind })
    }
}

impl Lanes {
    pub(crate) fn publish(&mut self, job: Arc<Job>, now_ms: i64) {
        self.sequence += 1;
        let lane = &mut self.lanes[place(job.lane)];
        lane.ready.push_back(self.sequence);
        lane.by_tenant.entry(job.tenant.clone()).or_default().insert(self.sequence);
        lane.lying.insert(self.sequence, Lying { job, published_ms: now_ms, deliveries: 0 });
    }

    pub(crate) fn publish_failed(&mut self, letter: DeadLetter, now_ms: i64) {
        self.sequence += 1;
        let subject = subjects::dead(&letter.assignment.backend, letter.assignment.job.id).into();
        self.failed.push_back(SimDelivery {
            payload: Payload::Failed(Rc::new(letter)),
            subject,
            sequence: self.sequence,
            published_ms: now_ms,
            deliveries: 1,
            has_more_behind: false,
        });
    }

    /// Whether a lane has something to deliver.
    pub(crate) fn has_ready(&self, lane: Lane) -> bool {
        !self.lanes[place(lane)].ready.is_empty()
    }

    /// The next message of a lane's consumer.
    pub(crate) fn deliver(&mut self, lane: Lane) -> Option<SimDelivery> {
        let found = &mut self.lanes[place(lane)];
        loop {
            let sequence = found.ready.pop_front()?;
            if let Some(lying) = found.lying.get_mut(&sequence) {
                lying.deliveries += 1;
                let deliveries = lying.deliveries;
                return found.delivery(lane, sequence, deliveries);
            }
        }
    }

    pub(crate) fn take_failed(&mut self) -> VecDeque<SimDelivery> {
        std::mem::take(&mut self.failed)
    }

    /// A message is settled.
    pub(crate) fn delete(&mut self, sequence: u64) {
        for lane in &mut self.lanes {
            if let Some(lying) = lane.lying.remove(&sequence)
                && let Some(of_tenant) = lane.by_tenant.get_mut(&lying.job.tenant)
            {
                of_tenant.remove(&sequence);
            }
        }
    }

    /// A message is to come again after a while.
    pub(crate) fn hand_back(&mut self, message: &SimDelivery, at_ms: i64) {
        let returning = match &message.payload {
            Payload::Job(job) => Returning::Job(place(job.lane)),
            Payload::Failed(_) => {
                Returning::Failed(SimDelivery { deliveries: message.deliveries + 1, ..message.clone() })
            }
        };
        self.returning.insert((at_ms, message.sequence), returning);
    }

    /// When the next message comes back, if no look is due then.
    pub(crate) fn next_return(&mut self, now_ms: i64) -> Option<i64> {
        let (at_ms, _) = *self.returning.first_key_value()?.0;
        let planned =
            self.planned_return_ms.is_some_and(|planned_ms| now_ms < planned_ms && planned_ms <= at_ms);
        if planned {
            return None;
        }
        self.planned_return_ms = Some(at_ms);
        Some(at_ms)
    }

    pub(crate) fn bring_back(&mut self, now_ms: i64) {
        while let Some(entry) = self.returning.first_entry()
            && entry.key().0 <= now_ms
        {
            let (_, sequence) = *entry.key();
            match entry.remove() {
                Returning::Job(lane) => self.lanes[lane].ready.push_front(sequence),
                Returning::Failed(delivery) => self.failed.push_back(delivery),
            }
        }
    }

    /// The subjects of a lane with messages in them, and how many.
    pub(crate) fn waiting_in(&mut self, lane: Lane) -> Vec<(String, usize)> {
        let found = &self.lanes[place(lane)].by_tenant;
        let waiting = found.iter().filter(|(_, of_tenant)| !of_tenant.is_empty());
        waiting.map(|(tenant, of_tenant)| (subjects::jobs(lane, tenant), of_tenant.len())).collect()
    }

    /// The next message of a tenant in a lane.
    pub(crate) fn read(&mut self, lane: Lane, tenant: &Tenant, from: u64) -> Option<SimDelivery> {
        let found = &mut self.lanes[place(lane)];
        let sequence = *found.by_tenant.get(tenant)?.range(from..).next()?;
        found.delivery(lane, sequence, 0)
    }
}
