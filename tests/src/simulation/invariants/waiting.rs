//! Nothing waits where it need not: looked at every few seconds of virtual time.

use protocol::Ports as _;
use protocol::router::{Placement, place, withdraw};
use schemas::{Assignment, Failure, FailureCode};

use super::Promise;
use crate::simulation::broker::{CLAIMS_KEPT_MS, DEAD, ENTRIES_KEPT_MS, LANES, Payload, Place, Stored, WORK};
use crate::simulation::executor::Shared;
use crate::simulation::ports::{SimulatedPorts, number};
use crate::simulation::process::{Process, Role};
use crate::simulation::schedule::Happening;
use crate::simulation::world::World;

/// How often the invariants look.
const LOOK_EVERY_MS: i64 = 5_000;
/// A router sees within this what lies in its lanes, and does within this what it owes, milliseconds: while nothing
/// happens it looks every 30 s.
const SEEN_WITHIN_MS: i64 = 40_000;
/// A router looks at what waits at backends within this, milliseconds.
const LOOKED_AT_WITHIN_MS: i64 = 10_000;

/// What is so in all looks for as long as this is no chance, milliseconds.
const FOR_LONG_MS: i64 = 15_000;

/// Looks at everything that waits; the next look is planned.
pub(crate) fn watch(shared: &Shared) {
    let mut world = shared.borrow_mut();
    let at_ms = world.now_ms + LOOK_EVERY_MS;
    world.schedule.at(at_ms, Happening::Watch);
    world.watch_cancelled();
    world.watch_lanes();
    world.watch_deserted();
    world.watch_guards();
    world.watch_kept_ids();
    world.watch_long_waits();
    world.redrive();
    let overdue = world.overdue();
    drop(world);
    for (sequence, ports, assignment) in overdue {
        let is_movable = moves(&ports, &assignment);
        if ports.world(|world| world.is_so_for_long(sequence, is_movable)) {
            let words = format!(
                "job {} waits at {}, and has a place elsewhere",
                assignment.job.id, assignment.backend
            );
            ports.world(|world| world.broken(Promise::Waiting, words));
        }
    }
}

fn waits(stored: &Stored, before_ms: i64) -> bool {
    matches!(stored.place, Place::Ready) && stored.delivered == 0 && stored.published_ms < before_ms
}

impl World {
    /// A router that has been well since a moment.
    pub(super) fn well_router(&self, since_ms: i64) -> Option<usize> {
        let is_well = |process: &Process| process.role == Role::Router && process.is_well_since(since_ms);
        if self.broker.down_until_ms > since_ms { None } else { self.processes.iter().position(is_well) }
    }

    /// A job does not lie in its lane once it was placed; and one whose tenant has none in hand is taken in hand,
    /// however many of others lie before it.
    fn watch_lanes(&mut self) {
        let before_ms = self.now_ms - SEEN_WITHIN_MS;
        let Some(router) = self.well_router(before_ms) else { return };
        let mut unread = Vec::new();
        for (sequence, stored) in &self.broker.messages {
            let Payload::Job(job) = &stored.payload else { continue };
            if !(LANES..DEAD).contains(&stored.consumer) || !waits(stored, before_ms) {
                continue;
            }
            let life = &self.watch.lives[stored.job as usize];
            // What its client published again is looked at when its turn comes.
            if life.published == 1 && life.placed_ms.is_some_and(|placed_ms| placed_ms < before_ms) {
                let words = format!("job {} was placed, and lies in its lane", stored.job);
                return self.broken(Promise::Waiting, words);
            }
            let in_hand = self.processes[router].room.tenants(job.lane);
            if !in_hand.contains_key(&job.tenant) {
                unread.push((*sequence, stored.job));
            }
        }
        for (sequence, job) in unread {
            if self.is_so_for_long(sequence, true) {
                let words = format!("job {job} waits in its lane, and no router has looked at it");
                return self.broken(Promise::Waiting, words);
            }
        }
    }

    /// Whether something is so of a message for so many looks in a row that chance does not explain it.
    fn is_so_for_long(&mut self, sequence: u64, is_so: bool) -> bool {
        let now_ms = self.now_ms;
        let (since_ms, seen_ms) = self.watch.seen.get(&sequence).copied().unwrap_or((now_ms, now_ms));
        let since_ms = if seen_ms + LOOK_EVERY_MS < now_ms { now_ms } else { since_ms };
        if is_so {
            self.watch.seen.insert(sequence, (since_ms, now_ms));
        } else {
            self.watch.seen.remove(&sequence);
        }
        is_so && now_ms - since_ms >= FOR_LONG_MS
    }

    /// Work does not stay at a backend that has lost its workers.
    fn watch_deserted(&mut self) {
        let policy = &self.setting.policy;
        let patience_ms =
            (policy.offer_max_age_ms + policy.stranded_after_ms).cast_signed() + LOOKED_AT_WITHIN_MS;
        let before_ms = self.now_ms - patience_ms;
        if self.well_router(before_ms).is_none() {
            return;
        }
        let stranded = self.broker.messages.values().find(|stored| {
            let Payload::Work(work) = &stored.payload else { return false };
            waits(stored, before_ms)
                && self.served_ms[stored.consumer - WORK] < before_ms
                && self.broker.claim((stored.job, work.attempt), self.now_ms).is_none()
        });
        if let Some(job) = stranded.map(|stored| stored.job) {
            self.broken(Promise::Waiting, format!("job {job} waits at a backend that has no worker"));
        }
    }

    /// Paid work does not wait at a backend that has workers until nobody could know whether it was begun.
    fn watch_long_waits(&mut self) {
        let before_ms = self.now_ms - LOOKED_AT_WITHIN_MS;
        if self.well_router(before_ms).is_none() {
            return;
        }
        let left = self.broker.messages.values().find(|stored| {
            let Payload::Work(work) = &stored.payload else { return false };
            work.is_paid()
                && waits(stored, before_ms - CLAIMS_KEPT_MS / 2)
                && self.served_ms[stored.consumer - WORK] >= before_ms
                && self.broker.claim((stored.job, work.attempt), self.now_ms).is_none()
        });
        if let Some(job) = left.map(|stored| stored.job) {
            let words = format!("job {job} waits until nobody can know whether it was begun");
            self.broken(Promise::Waiting, words);
        }
    }

    /// A key or a request to cancel goes once it is as old as every one is kept, and its job has ended.
    fn watch_guards(&mut self) {
        let before_ms = self.now_ms - SEEN_WITHIN_MS;
        if self.well_router(before_ms).is_none() {
            return;
        }
        let kept = self.broker.entries.values().find_map(|(_, entry)| {
            let id = entry.key.parse().ok();
            let job = match self.broker.keys.get(&entry.key) {
                Some(record) => number(record.job),
                None => number(id?),
            };
            let is_old = before_ms - entry.stored_at_ms >= ENTRIES_KEPT_MS;
            (is_old && self.had_ended(job, before_ms)).then_some(job)
        });
        if let Some(job) = kept {
            self.broken(Promise::LetGo, format!("job {job} ended long ago, and what guarded it is kept"));
        }
    }

    /// What waits for longer than work may at a backend that has workers, in the eyes of a router that is well.
    fn overdue(&self) -> Vec<(u64, SimulatedPorts, Assignment)> {
        let before_ms =
            self.now_ms - self.setting.policy.overdue_after_ms.cast_signed() - LOOKED_AT_WITHIN_MS;
        let Some(router) = self.well_router(before_ms) else { return Vec::new() };
        let of = |(sequence, stored): (&u64, &Stored)| match &stored.payload {
            Payload::Work(work)
                if waits(stored, before_ms)
                    && self.broker.claim((stored.job, work.attempt), self.now_ms).is_none() =>
            {
                Some((*sequence, self.router_ports(router, Some(stored.job)), Assignment::clone(work)))
            }
            _ => None,
        };
        self.broker.messages.iter().filter_map(of).collect()
    }
}

/// Whether an assignment would be placed elsewhere if it were planned now.
fn moves(ports: &SimulatedPorts, assignment: &Assignment) -> bool {
    let (config, job) = (ports.config(), &assignment.job);
    let failure = Failure::new(FailureCode::Interrupted, "");
    let failed = withdraw::failed_attempt(ports, assignment, None, failure);
    let submitted_at_ms = assignment.submitted_at_ms;
    let Ok(admitted) = policy::admit::admit(job, &config.catalog, &config.policy, 0, submitted_at_ms) else {
        return false;
    };
    let mut history = assignment.history.clone();
    history.push(failed.ended_attempt);
    let placement = Placement {
        job,
        admitted: &admitted,
        submitted_at_ms,
        attempt: assignment.attempt + 1,
        counted_attempts: assignment.counted_attempts,
        history: &history,
    };
    policy::overdue::moves(&assignment.backend, &place::weigh(ports, &placement, &[]))
}
