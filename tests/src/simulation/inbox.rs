//! What is put aside for an operator: the inbox with each tenant's share of it, and what waits there for a newer router.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use policy::inbox::InboxShare;
use protocol::{PortError, PublishError, Published};
use schemas::{FailureCode, JobId, Parked, Tenant};

use super::broker::{DEAD, LANES, Message, Payload};
use super::invariants::Promise;
use super::ports::{SimulatedPorts, number};
use super::router::lane_number;
use super::world::World;

/// Whoever asked for its share before it was used up has stored what it had within this, milliseconds.
const STORED_WITHIN_MS: i64 = 30_000;

/// A message that is put aside.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    id: String,
    tenant: Option<Tenant>,
    job: Option<u32>,
    is_too_new: bool,
    /// It is a failed attempt, not a job.
    is_failed: bool,
}

impl Aside {
    pub(crate) fn of(id: &str, tenant: Option<&Tenant>, job: Option<JobId>, parked: &Parked) -> Self {
        let is_too_new = parked.failure.code == FailureCode::TooNew;
        Self {
            id: id.to_owned(),
            tenant: tenant.cloned(),
            job: job.map(number),
            is_too_new,
            is_failed: id.starts_with("dead."),
        }
    }
}

/// The operator's inbox.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    ids: BTreeSet<String>,
    jobs: BTreeSet<u32>,
    /// Messages of each tenant, and when the last of them came, Unix milliseconds.
    of: BTreeMap<Option<Tenant>, (usize, i64)>,
    /// What is of a newer schema than the routers.
    too_new: Vec<Message>,
}

impl Inbox {
    /// Whether something of a job was put aside.
    pub(crate) fn has(&self, job: u32) -> bool {
        self.jobs.contains(&job)
    }

    /// Whether a job waits there for a newer router.
    pub(crate) fn waits_for_newer(&self, job: u32) -> bool {
        self.too_new.iter().any(|message| message.job == job)
    }

    /// Whether nothing waits there for a newer router.
    pub(crate) fn is_settled(&self) -> bool {
        self.too_new.is_empty()
    }

    fn count(&self, tenant: Option<&Tenant>) -> usize {
        self.of.get(&tenant.cloned()).map_or(0, |(count, _)| *count)
    }

    /// Whether the share of any tenant is used up.
    pub(crate) fn is_short(&self, most: usize) -> bool {
        self.of.values().any(|(count, _)| *count >= most)
    }
}

impl World {
    /// A tenant has no more in the inbox than its share, but for what is stored at the same moment.
    fn put_aside(&mut self, process: usize, aside: &Aside) {
        let (now_ms, most) = (self.now_ms, self.inbox_max);
        let inbox = &mut self.broker.inbox;
        inbox.jobs.extend(aside.job);
        if !inbox.ids.insert(aside.id.clone()) {
            return;
        }
        if let Some(job) = aside.job.filter(|_| aside.is_too_new) {
            let original = self.original(job, aside.is_failed);
            self.broker.inbox.too_new.extend(original);
            // The fleet's own failed attempts are put aside past every tenant's share.
            if aside.is_failed {
                return;
            }
        }
        let inbox = &mut self.broker.inbox;
        let (count, since_ms) = inbox.of.entry(aside.tenant.clone()).or_insert((0, now_ms));
        let (before, full_ms) = (*count, *since_ms);
        *count += 1;
        if before < most {
            *since_ms = now_ms;
        }
        let is_late = full_ms + STORED_WITHIN_MS < now_ms && self.processes[process].is_well_since(full_ms);
        if before >= most && is_late {
            let words = format!(
                "{:?} has {} messages in the inbox, and its share is {most}",
                aside.tenant,
                before + 1
            );
            self.broken(Promise::Bound, words);
        }
    }

    /// The job's message, or its failed attempt, as it is put aside.
    fn original(&self, job: u32, is_failed: bool) -> Option<Message> {
        let (consumer, payload) = if is_failed {
            (DEAD, Payload::Dead(Rc::clone(self.broker.failed(job)?)))
        } else {
            let body = self.jobs[job as usize].clone()?;
            (LANES + lane_number(body.lane), Payload::Job(body))
        };
        Some(Message { consumer, job, payload, id: None, expected: None })
    }

    /// Once all routers are of the newer release, an operator sends on its way what was put aside for them.
    pub(crate) fn redrive(&mut self) {
        let now_ms = self.now_ms;
        let is_older = self.processes.iter().any(|process| now_ms < process.older_until_ms);
        if is_older || now_ms < self.broker.down_until_ms {
            return;
        }
        for message in std::mem::take(&mut self.broker.inbox.too_new) {
            self.store(&message);
        }
    }
}

impl SimulatedPorts {
    /// How much of a message of a tenant the inbox takes.
    pub(crate) fn share_of(&self, tenant: Option<&Tenant>) -> InboxShare {
        let is_full = self.world(|world| world.broker.inbox.count(tenant) >= world.inbox_max);
        if is_full { InboxShare::Nothing } else { InboxShare::Whole }
    }

    pub(crate) async fn store_aside(&self, aside: &Aside) -> Result<Published, PublishError> {
        let stored: Result<(), PortError> = self.call(|world| world.put_aside(self.process, aside)).await;
        let away = |_| PublishError::Away { subject: String::new(), source: "away".into() };
        stored.map(|()| Published::New).map_err(away)
    }
}
