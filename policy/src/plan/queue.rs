//! How long a job would wait at a backend.
//!
//! The classes of a backend wait in queues of their own and share its workers' slots. So a job waits for
//! the longer of two: what is ahead of it in its class, on the workers that could take it; and what is
//! ahead of it in all classes, on all workers. Workers whose servers differ have queues of their own: each
//! group is looked at by itself, and the job goes where it waits least.

use schemas::config::BackendConfig;
use schemas::{Capability, Lane, Service};

use super::PlanInput;
use super::capability::{self, Capacity, learned_ms};
use super::rejections::Rejections;
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
    /// From which workers' queues that is: those of this capability, or those without one.
    pub(super) capability: Option<Capability>,
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
    let backlog = view.iter().flat_map(|view| view.backlog.values()).sum();
    let all = Slots { able: capacity.slots, well: capacity.slots_well, learned_ms: capacity.learned_ms };
    let mut able = capacity.groups.iter().filter(|group| group.is_able());
    let of = |group: &capability::Group| {
        let slots = Slots { able: group.slots(), well: group.slots_well, learned_ms: group.learned_ms() };
        wait(input, config, service, view, &slots, Some(group.capability)).of(group.capability)
    };
    // Most backends have one group, and what cannot run anywhere now is looked at as a whole.
    let best =
        match (capacity.groups.iter().count(), able.next()) {
            (1, Some(only)) => wait(input, config, service, view, &all, None).of(only.capability),
            (_, None) => wait(input, config, service, view, &all, None),
            (_, Some(first)) => able.map(of).fold(of(first), |best, other| {
                if other.completion_ms < best.completion_ms { other } else { best }
            }),
        };
    Queue { backlog, ..best }
}

/// From which workers' queues of a backend a job is taken soonest, of all or of those wanted; none where none could take it.
pub(super) fn group(
    input: &PlanInput<'_>,
    config: &BackendConfig,
    wanted: Option<Option<Capability>>,
) -> Option<Option<Capability>> {
    let view = input.fleet.view(&config.backend);
    let service = input.catalog.service(&config.backend, &input.admitted.class);
    let mut capacity = capability::capacity(input, view, service, &mut Rejections::default());
    if let Some(wanted) = wanted {
        capacity.groups.retain(wanted);
    }
    let is_able = capacity.groups.iter().any(capability::Group::is_able);
    is_able.then(|| queue(input, config, service, view, &capacity).capability)
}

/// Whose slots a job waits for.
struct Slots {
    /// Of those that could take it.
    able: u32,
    /// Of all that are healthy.
    well: u32,
    learned_ms: Option<u64>,
}

impl Queue {
    fn of(self, capability: Option<Capability>) -> Self {
        Self { capability, ..self }
    }
}

/// The wait for some workers' slots, behind what lies in their queues or in all.
fn wait(
    input: &PlanInput<'_>,
    config: &BackendConfig,
    service: &Service,
    view: Option<&BackendView>,
    slots: &Slots,
    of: Option<Option<Capability>>,
) -> Queue {
    let class = &input.admitted.class;
    let run_ms = slots.learned_ms.unwrap_or(service.expected_ms);
    let (mut own, mut all) = (Ahead::default(), Ahead::default());
    for (queue, jobs) in view.iter().flat_map(|view| &view.backlog).filter(|(_, jobs)| **jobs > 0) {
        // All workers read a queue without a capability.
        if queue.capability.is_some() && of.is_some_and(|of| of != queue.capability) {
            continue;
        }
        if queue.class == *class {
            own.add(*jobs, run_ms);
            all.add(*jobs, run_ms);
        } else {
            let other = &queue.class;
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
    let wait_ms = own.wait_ms(slots.able).max(all.wait_ms(slots.well));
    // What is learned includes the start-up; what the catalog expects does not.
    let startup_ms = if slots.learned_ms.is_some() { 0 } else { service.startup_ms };
    Queue {
        backlog: all.jobs,
        wait_ms,
        completion_ms: wait_ms.saturating_add(startup_ms).saturating_add(run_ms),
        over: over(&own, slots.able).or_else(|| over(&all, slots.well)),
        capability: None,
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
