//! How long a job would wait at a backend.
//!
//! The classes of a backend wait in queues of their own and share its workers' slots. So a job waits for
//! the longer of two: what is ahead of it in its class, on the workers that could take it; and what is
//! ahead of it in all classes, on all workers.

use schemas::config::BackendConfig;
use schemas::{Lane, Service};

use super::PlanInput;
use super::capability::{Capacity, learned_ms};
use crate::fleet::BackendView;

/// What is ahead of a job at one backend.
#[derive(Default)]
pub(super) struct Queue {
    /// Jobs waiting or running there, of all classes.
    pub(super) backlog: u64,
    /// Expected wait for a slot, milliseconds.
    pub(super) wait_ms: u64,
    /// Expected completion from now: wait, start-up and run, milliseconds.
    pub(super) completion_ms: u64,
    /// As many wait as the bound allows.
    pub(super) over: Option<Over>,
}

/// A queue that is at its bound.
pub(super) struct Over {
    pub(super) jobs: u64,
    pub(super) room: u64,
}

/// The queue at a backend, as the job would find it; an empty one where the job's class is not made.
pub(super) fn queue(
    input: &PlanInput<'_>,
    config: &BackendConfig,
    service: Option<&Service>,
    view: Option<&BackendView>,
    capacity: &Capacity,
) -> Queue {
    let Some(service) = service else { return Queue::default() };
    let class = &input.admitted.class;
    let run_ms = capacity.learned_ms.unwrap_or(service.expected_ms);
    let (mut own, mut all) = (Ahead::default(), Ahead::default());
    for (other, jobs) in view.iter().flat_map(|view| &view.backlog).filter(|(_, jobs)| **jobs > 0) {
        if other == class {
            own.add(*jobs, run_ms);
            all.add(*jobs, run_ms);
        } else {
            let learned = view.and_then(|view| learned_ms(view.offers.iter().map(|known| &**known), other));
            let expected =
                || input.catalog.service(&config.backend, other).map(|service| service.expected_ms);
            all.add(*jobs, learned.or_else(expected).unwrap_or(run_ms));
        }
    }
    let over = |ahead: &Ahead, slots: u32| {
        let room = room(u64::from(slots).saturating_mul(u64::from(config.backlog_per_slot)), input.job.lane);
        (slots > 0 && ahead.jobs >= room).then_some(Over { jobs: ahead.jobs, room })
    };
    let wait_ms = own.wait_ms(capacity.slots).max(all.wait_ms(capacity.slots_well));
    // What is learned includes the start-up; what the catalog expects does not.
    let startup_ms = if capacity.learned_ms.is_some() { 0 } else { service.startup_ms };
    Queue {
        backlog: all.jobs,
        wait_ms,
        completion_ms: wait_ms.saturating_add(startup_ms).saturating_add(run_ms),
        over: over(&own, capacity.slots).or_else(|| over(&all, capacity.slots_well)),
    }
}

/// What a lane may fill of a queue's bound: some of it is kept for what is more urgent.
const fn room(bound: u64, lane: Lane) -> u64 {
    match lane {
        Lane::Interactive => bound.saturating_add(bound / 4),
        Lane::Standard | Lane::Unknown => bound,
        Lane::Batch => bound - bound / 4,
    }
}

/// Jobs in front, and the slot time that they take.
#[derive(Default)]
struct Ahead {
    jobs: u64,
    work_ms: u64,
}

impl Ahead {
    fn add(&mut self, jobs: u64, each_ms: u64) {
        self.jobs = self.jobs.saturating_add(jobs);
        self.work_ms = self.work_ms.saturating_add(jobs.saturating_mul(each_ms));
    }

    /// With a slot left over nobody waits; without, so many have to end first, on that many slots at once.
    fn wait_ms(&self, slots: u32) -> u64 {
        let slots = u64::from(slots);
        if slots == 0 || self.jobs < slots {
            return 0;
        }
        let must_end = u128::from(self.jobs + 1 - slots);
        let ahead_ms = u128::from(self.work_ms) * must_end / u128::from(self.jobs);
        u64::try_from(ahead_ms / u128::from(slots)).unwrap_or(u64::MAX)
    }
}
