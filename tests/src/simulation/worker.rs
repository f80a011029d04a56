//! The simulated worker host: the steps of `runtime/src/worker/run.rs`, `claim.rs` and of the three
//! backends, one call to the outside world each. What to do is decided by the real
//! `worker_host::machine`.

mod follow;
mod settle;

use std::rc::Rc;

use schemas::{Assignment, AttemptRecord, AttemptState, Failure, FailureCode, Outcome, SCHEMA_VERSION};
use schemas::{Unit, Usage};
use worker_host::machine::{self, Begin};

use super::mutation::Mutation;
use super::provider::Start;
use super::setting::{CLOUD, GEMINI, LOCAL};
use super::task::{Delivery, Next};
use super::world::{Reach, World};

/// How long an assignment rests when broker or claim did not let a worker go on, milliseconds.
const REST_MS: i64 = 2_000;
const TRIES_MAX: u32 = 6;

/// A claim that we hold, with the revision to build on.
#[derive(Debug, Clone)]
struct Held {
    record: AttemptRecord,
    revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Claim,
    /// Write the claim as ours, then go on with the work at the provider, or look for it.
    TakeOver,
    Start,
    /// The provider answered with an id: make it durable.
    Record,
    Follow,
    /// Ask the provider to stop, then read what it cost.
    Stop,
    Settle,
    Write,
    Publish,
    Charge,
    Acknowledge,
    HandBack(i64),
}

/// One delivery of an assignment in a worker's hand, up to its acknowledgement.
pub(crate) struct Attempting {
    process: usize,
    backend: usize,
    pub(crate) delivery: Delivery,
    delivered_ms: i64,
    assignment: Rc<Assignment>,
    held: Option<Held>,
    /// The provider's number of the work.
    run: Option<usize>,
    begun_ms: Option<i64>,
    told_running: bool,
    draining: bool,
    stop: Option<FailureCode>,
    called: bool,
    outcome: Outcome,
    settlement: Option<machine::Settlement>,
    acknowledged: bool,
    step: Step,
    tries: u32,
}

impl Attempting {
    pub(crate) fn new(world: &World, process: usize, delivery: Delivery) -> Self {
        let super::broker::Payload::Work(assignment) = &delivery.payload else {
            unreachable!("workers pull assignments")
        };
        let assignment = Rc::clone(assignment);
        Self {
            process,
            backend: world.setting.backend_number(&assignment.backend),
            delivery,
            delivered_ms: world.now_ms,
            assignment,
            held: None,
            run: None,
            begun_ms: None,
            told_running: false,
            draining: false,
            stop: None,
            called: false,
            outcome: Outcome::default(),
            settlement: None,
            acknowledged: false,
            step: Step::Begin,
            tries: 0,
        }
    }

    /// It runs this job at a provider now.
    pub(crate) fn is_of(&self, job: u32) -> bool {
        self.delivery.job == job && self.step == Step::Follow
    }

    /// It runs at this backend now.
    pub(crate) fn is_at(&self, backend: usize) -> bool {
        self.backend == backend && self.step == Step::Follow
    }

    /// It runs at its provider now.
    pub(crate) fn is_running(&self) -> bool {
        self.step == Step::Follow
    }

    /// Its process lets go of what still runs.
    pub(crate) const fn let_go(&mut self) {
        self.draining = true;
    }

    pub(crate) fn step(&mut self, world: &mut World) -> Next {
        match self.step {
            Step::Begin => self.begin(world),
            Step::Claim => self.claim(world),
            Step::TakeOver => self.take_over(world),
            Step::Start => self.start(world),
            Step::Record => self.record_id(world),
            Step::Follow => self.follow(world),
            Step::Stop => self.stop_there(world),
            Step::Settle => self.settle(world),
            Step::Write => self.write_outcome(world),
            Step::Publish => self.publish(world),
            Step::Charge => self.charge(world),
            Step::Acknowledge => self.acknowledge(world),
            Step::HandBack(rest_ms) => {
                world.hand_back(self.process, self.delivery.sequence, rest_ms);
                Next::Done
            }
        }
    }

    fn go(&mut self, world: &mut World, step: Step) -> Next {
        self.step = step;
        Next::After(world.moment())
    }

    fn end_with(&mut self, world: &mut World, outcome: Outcome, called: bool) -> Next {
        self.outcome = outcome;
        self.called = called;
        self.go(world, Step::Settle)
    }

    fn key(&self) -> (u32, u32) {
        (self.delivery.job, self.assignment.attempt)
    }

    fn deadline_passed(&self, now_ms: i64) -> bool {
        self.assignment.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }

    fn begin(&mut self, world: &mut World) -> Next {
        if world.processes[self.process].draining {
            return self.go(world, Step::HandBack(1));
        }
        let paid = self.assignment.is_paid();
        let delivery = self.known(world);
        // A first delivery may have slept in a stopped process while another ran and paid for the work, so
        // only the claim tells that a paid attempt never began.
        let trusting = world.mutation == Mutation::TrustFirstDelivery && self.delivery.delivered == 1;
        let look = if trusting { machine::unbegun } else { machine::first_look };
        if let Some(failure) = look(delivery) {
            return self.end_with(world, failed(failure), false);
        }
        let claims = paid && world.mutation != Mutation::SkipTheIntent;
        self.go(world, if claims { Step::Claim } else { Step::Start })
    }

    /// What is known of the delivery before anything is done about it.
    fn known(&self, world: &World) -> machine::Delivery {
        machine::Delivery {
            delivered: i64::from(self.delivery.delivered),
            cancelled: world.processes[self.process].cancels.contains(&self.delivery.job),
            expired: self.deadline_passed(world.now_ms),
            paid: self.assignment.is_paid(),
        }
    }

    fn claim(&mut self, world: &mut World) -> Next {
        let reach = world.reach(self.process);
        if reach == Reach::Nowhere {
            return self.go(world, Step::HandBack(REST_MS));
        }
        let record = AttemptRecord {
            schema_version: SCHEMA_VERSION,
            job: self.assignment.job.id,
            attempt: self.assignment.attempt,
            backend: self.assignment.backend.clone(),
            worker: world.processes[self.process].worker.clone(),
            state: AttemptState::Intent,
            claimed_at_ms: world.now_ms,
            started_at_ms: None,
            reserved_micro_usd: self.assignment.reserved_micro_usd,
            provider_id: None,
            outcome: None,
            delivered: None,
        };
        let created = world.broker.create_claim(self.key(), Rc::new(record.clone()));
        if reach == Reach::Unanswered {
            return self.go(world, Step::HandBack(REST_MS));
        }
        match created {
            Ok(revision) => {
                self.held = Some(Held { record, revision });
                // Nobody was here before: nobody called the provider.
                match machine::unbegun(self.known(world)) {
                    Some(failure) => self.end_with(world, failed(failure), false),
                    None => self.go(world, Step::Start),
                }
            }
            Err(entry) => {
                self.held = Some(Held { record: (*entry.record).clone(), revision: entry.revision });
                self.go(world, Step::TakeOver)
            }
        }
    }

    /// Goes on from a claim that another delivery left behind.
    fn take_over(&mut self, world: &mut World) -> Next {
        let Some(mut held) = self.held.clone() else { return self.go(world, Step::HandBack(REST_MS)) };
        let delivered = i64::from(self.delivery.delivered);
        let worker = world.processes[self.process].worker.clone();
        match machine::begin_from(&held.record, delivered, world.now_ms) {
            Begin::Wait { after_ms } => self.go(world, Step::HandBack(after_ms)),
            Begin::Retell(outcome) => {
                self.begun_ms = held.record.started_at_ms;
                self.held = None;
                self.end_with(world, outcome, true)
            }
            Begin::AwaitStored | Begin::GiveUp(_) => unreachable!("nothing is spooled here"),
            Begin::Poison(failure) => {
                self.begun_ms = held.record.started_at_ms;
                let outcome = self.with_recorded_id(failed(failure));
                self.end_with(world, outcome, true)
            }
            Begin::Resume(id) => {
                let record = AttemptRecord { worker, ..held.record.clone() };
                if !self.write(world, &mut held, record) {
                    return self.go(world, Step::HandBack(REST_MS));
                }
                self.begun_ms = held.record.started_at_ms.or(Some(world.now_ms));
                self.held = Some(held);
                self.run = number_of(&id);
                // A picture's request cannot be taken up again.
                if self.backend == GEMINI {
                    return self.end_with(world, failed(lost()), true);
                }
                self.go(world, Step::Follow)
            }
            Begin::Find => {
                let record = AttemptRecord { worker, ..held.record.clone() };
                if !self.write(world, &mut held, record) {
                    return self.go(world, Step::HandBack(REST_MS));
                }
                self.held = Some(held);
                // Neither paid provider can tell by a name of ours what became of a start.
                self.end_with(world, failed(lost()), true)
            }
        }
    }

    /// Writes the next state of a claim; false when the broker failed us or somebody else wrote since.
    fn write(&self, world: &mut World, held: &mut Held, record: AttemptRecord) -> bool {
        let reach = world.reach(self.process);
        if reach == Reach::Nowhere {
            return false;
        }
        let on = (world.mutation != Mutation::IgnoreTheRevision).then_some(held.revision);
        let written = world.broker.write_claim(self.key(), Rc::new(record.clone()), on);
        let Some(revision) = written.filter(|_| reach == Reach::Through) else { return false };
        *held = Held { record, revision };
        true
    }

    /// Why the attempt has to end now, if it has to.
    fn stop_now(&self, world: &World) -> Option<FailureCode> {
        let begun_ms = self.begun_ms.unwrap_or(world.now_ms);
        let late_ms = begun_ms + self.assignment.timeout_ms.cast_signed();
        if world.processes[self.process].cancels.contains(&self.delivery.job) {
            Some(FailureCode::Cancelled)
        } else if self.draining {
            Some(FailureCode::Interrupted)
        } else if self.deadline_passed(world.now_ms) {
            Some(FailureCode::Expired)
        } else {
            (late_ms <= world.now_ms).then_some(FailureCode::Timeout)
        }
    }

    /// A claim older than a moment is renewed right before the call, which fails if somebody took it over.
    fn is_still_ours(&mut self, world: &mut World) -> bool {
        let Some(mut held) = self.held.clone() else { return true };
        if machine::is_young(&held.record, world.now_ms) {
            return true;
        }
        let record = AttemptRecord { claimed_at_ms: world.now_ms, ..held.record.clone() };
        let renewed = self.write(world, &mut held, record);
        self.held = Some(held);
        renewed
    }

    fn start(&mut self, world: &mut World) -> Next {
        self.begun_ms.get_or_insert(world.now_ms);
        let stop =
            self.stop_now(world).or_else(|| (!self.is_still_ours(world)).then_some(FailureCode::Interrupted));
        if let Some(code) = stop {
            // Nothing was asked of the provider: the usage is known, and zero.
            let unit = if self.backend == CLOUD { Unit::ExecutionMs } else { Unit::InputToken };
            let usage = if self.backend == LOCAL { Vec::new() } else { vec![Usage { unit, quantity: 0 }] };
            let outcome = Outcome { usage, ..failed(Failure::new(code, "stopped before it started")) };
            return self.end_with(world, outcome, true);
        }
        let (key, seed, now_ms) = (self.key(), world.seed, world.now_ms);
        if self.backend == LOCAL {
            // Our own server knows the work by a name of ours.
            if now_ms >= world.providers[LOCAL].down_until_ms
                && let Some(run) = world.providers[LOCAL].find(key)
            {
                self.run = Some(run);
                return self.go(world, Step::Follow);
            }
        }
        let mut started = world.providers[self.backend].start(seed, key, now_ms);
        if matches!(started, Start::Lost) {
            world.figures.lost_answers += 1;
            if world.mutation == Mutation::RetryThePaidCall && self.backend != LOCAL {
                started = world.providers[self.backend].start(seed, key, now_ms);
            }
        }
        world.watch_start(self.process, self.backend, &self.assignment, self.delivery.job, self.delivered_ms);
        match started {
            Start::Accepted(run) => {
                self.run = Some(run);
                self.step = if self.backend == CLOUD { Step::Record } else { Step::Follow };
                Next::After(world.moment())
            }
            Start::Lost if self.backend == LOCAL => {
                self.end_with(world, failed(Failure::new(FailureCode::BackendDown, "no answer")), true)
            }
            Start::Lost => {
                self.outcome = failed(lost());
                self.called = true;
                self.step = Step::Settle;
                Next::After(world.chance.between(500, 8_000))
            }
            Start::Refused(failure) => self.end_with(world, failed(failure), true),
        }
    }

    /// The provider's id is made durable before anything else.
    fn record_id(&mut self, world: &mut World) -> Next {
        let id = self.run.map(|run| name_of(&self.assignment, run));
        if let Some(mut held) = self.held.clone() {
            let record = AttemptRecord {
                state: AttemptState::Started,
                started_at_ms: Some(world.now_ms),
                provider_id: id.clone(),
                ..held.record.clone()
            };
            if !self.write(world, &mut held, record) {
                let words = "started at the provider, which could not be recorded";
                let failure = Failure::new(FailureCode::OutcomeUnknown, words);
                return self.end_with(world, Outcome { provider_id: id, ..failed(failure) }, true);
            }
            self.held = Some(held);
        }
        self.go(world, Step::Follow)
    }

    /// An outcome without an id gets the recorded one.
    fn with_recorded_id(&self, mut outcome: Outcome) -> Outcome {
        if outcome.provider_id.is_none() {
            outcome.provider_id = self.held.as_ref().and_then(|held| held.record.provider_id.clone());
        }
        outcome
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

fn lost() -> Failure {
    Failure::new(FailureCode::OutcomeUnknown, "nobody can tell what came of the call to the provider")
}

/// The provider's id of a piece of work, and back.
pub(crate) fn name_of(assignment: &Assignment, run: usize) -> String {
    format!("{}-{run}", assignment.backend)
}

fn number_of(id: &str) -> Option<usize> {
    id.rsplit_once('-')?.1.parse().ok()
}
