//! Takes waiting work back from backends without workers, and puts aside what was delivered too often: the
//! steps of `router/src/sweep.rs`, `advisories.rs` and `unrun.rs`.

use std::rc::Rc;

use policy::cost;
use schemas::{
    Assignment, AttemptRecord, AttemptState, Failure, FailureCode, Health, Outcome, SCHEMA_VERSION,
};
use worker_host::machine::{self, Ended};

use crate::simulation::broker::{DEAD, Message, Named, Payload, Place, WORK};
use crate::simulation::task::{Next, Task};
use crate::simulation::world::{Reach, World};

/// Who claims when no worker will.
pub(super) const CLAIMANT: &str = "router-sweep";
/// Assignments taken back from one backend and class at a time.
const SWEEP_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Claim,
    Send,
    Delete,
}

/// Assignments that no worker will end, in a router's hand.
pub(crate) struct TakingBack {
    process: usize,
    left: Vec<(u64, u32, Rc<Assignment>)>,
    failure: Failure,
    claim: Option<Rc<AttemptRecord>>,
    step: Step,
    tries: u32,
}

/// The router's look every few seconds: who has no worker, and what the broker gave up on.
pub(crate) fn look(world: &mut World, process: usize) {
    if !world.processes[process].is_reachable(world.now_ms) || world.now_ms < world.broker.down_until_ms {
        return;
    }
    let setting = Rc::clone(&world.setting);
    for (number, backend) in setting.backends.iter().enumerate() {
        for (place, class) in setting.classes.iter().enumerate() {
            let consumer = WORK + number * setting.classes.len() + place;
            let oldest_ms = world.now_ms - setting.policy.offer_max_age_ms.cast_signed();
            let router = &mut world.processes[process];
            let served = router.fleet.view(backend).is_some_and(|view| {
                view.offers.iter().any(|offer| {
                    offer.time_ms >= oldest_ms
                        && offer.health == Health::Healthy
                        && offer.classes.iter().any(|offered| offered.class == *class)
                })
            });
            if served {
                router.deserted_since_ms.remove(&consumer);
                continue;
            }
            let since_ms = *router.deserted_since_ms.entry(consumer).or_insert(world.now_ms);
            if (world.now_ms - since_ms).unsigned_abs() < setting.policy.stranded_after_ms {
                continue;
            }
            let words = format!("{backend} lost its workers while the job waited there");
            take_back(world, process, consumer, false, Failure::new(FailureCode::Interrupted, words));
        }
    }
    let words = "20 deliveries and no outcome: it is put aside";
    for consumer in WORK..world.broker.ready.len() {
        take_back(world, process, consumer, true, Failure::new(FailureCode::Poison, words));
    }
}

fn take_back(world: &mut World, process: usize, consumer: usize, given_up: bool, failure: Failure) {
    let all = world.broker.messages.iter().filter(|(_, stored)| stored.consumer == consumer);
    let some = all.filter(|(_, stored)| !given_up || matches!(stored.place, Place::GivenUp));
    let left: Vec<_> = some
        .filter_map(|(sequence, stored)| match &stored.payload {
            Payload::Work(assignment) => Some((*sequence, stored.job, Rc::clone(assignment))),
            _ => None,
        })
        .take(SWEEP_MAX)
        .collect();
    if left.is_empty() {
        return;
    }
    let step = Step::Claim;
    let task = TakingBack { process, left, failure, claim: None, step, tries: 0 };
    world.begin(process, Task::TakeBack(Box::new(task)));
}

impl TakingBack {
    pub(crate) fn step(&mut self, world: &mut World) -> Next {
        let Some((sequence, job, assignment)) = self.left.first().cloned() else { return Next::Done };
        match self.step {
            Step::Claim => self.claim(world, job, &assignment),
            Step::Send => self.send(world, job, &assignment),
            Step::Delete => {
                if world.reach(self.process) != Reach::Nowhere {
                    world.broker.delete(sequence);
                }
                self.skip(world)
            }
        }
    }

    fn go(&mut self, world: &mut World, step: Step) -> Next {
        self.step = step;
        Next::After(world.moment())
    }

    fn skip(&mut self, world: &mut World) -> Next {
        self.left.remove(0);
        self.claim = None;
        self.go(world, Step::Claim)
    }

    /// Paid work is claimed first, like any worker does; for what was given up the claim is only read.
    fn claim(&mut self, world: &mut World, job: u32, assignment: &Assignment) -> Next {
        if !assignment.is_paid() {
            return self.go(world, Step::Send);
        }
        let reach = world.reach(self.process);
        if reach == Reach::Nowhere {
            return Next::Done;
        }
        let key = (job, assignment.attempt);
        if self.failure.code == FailureCode::Poison {
            self.claim = world.broker.claim(key).map(|entry| Rc::clone(&entry.record));
            return self.go(world, Step::Send);
        }
        let record = AttemptRecord {
            schema_version: SCHEMA_VERSION,
            job: assignment.job.id,
            attempt: assignment.attempt,
            backend: assignment.backend.clone(),
            worker: CLAIMANT.parse().expect("a valid name"),
            state: AttemptState::Settled,
            claimed_at_ms: world.now_ms,
            started_at_ms: None,
            reserved_micro_usd: assignment.reserved_micro_usd,
            provider_id: None,
            outcome: Some(Outcome { failure: Some(self.failure.clone()), ..Outcome::default() }),
            delivered: None,
        };
        let ours = match world.broker.create_claim(key, Rc::new(record)) {
            Ok(_) => true,
            Err(entry) => entry.record.worker.as_str() == CLAIMANT,
        };
        match reach {
            Reach::Through if ours => self.go(world, Step::Send),
            Reach::Through => self.skip(world),
            _ => Next::Done,
        }
    }

    fn send(&mut self, world: &mut World, job: u32, assignment: &Assignment) -> Next {
        let claim = self.claim.as_deref();
        let told = claim.and_then(|claim| claim.outcome.clone()).unwrap_or_default();
        let known = claim.and_then(|claim| claim.provider_id.clone());
        let outcome = Outcome {
            failure: Some(self.failure.clone()),
            provider_id: told.provider_id.clone().or(known),
            ..told
        };
        let started_at_ms = claim.and_then(|claim| claim.started_at_ms);
        let at_ms = started_at_ms.unwrap_or(world.now_ms);
        let prices = &world.setting.prices;
        let price = cost::price_of(&outcome.usage, &assignment.backend, &assignment.model, prices, at_ms);
        let letter = machine::dead_letter(&Ended {
            assignment,
            worker: claim.map(|claim| &claim.worker),
            simulated: false,
            started_at_ms,
            finished_at_ms: world.now_ms,
            outcome: &outcome,
            price_micro_usd: price.ok(),
            called: claim.is_some(),
        });
        let message = Message {
            consumer: DEAD,
            job,
            payload: Payload::Dead(Rc::new(letter)),
            id: Some((assignment.attempt, Named::Dead)),
            first: false,
        };
        match world.publish(self.process, &message) {
            Ok(_) => {
                self.tries = 0;
                self.go(world, Step::Delete)
            }
            Err(_) if self.tries < super::TRIES_MAX => {
                self.tries += 1;
                Next::After((100 << self.tries).min(2_000))
            }
            // The next look begins again.
            Err(_) => Next::Done,
        }
    }
}
