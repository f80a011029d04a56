//! Placing an attempt: plan, reserve, `assigned` event, assignment, and finishing what somebody began.

use std::rc::Rc;

use policy::plan::{Assign, Plan, PlanInput, plan};
use schemas::reserve::Reservation;
use schemas::{Assignment, CarriedDecision, Decision, Event, Fact, FailureCode, JobState, SCHEMA_VERSION};

use super::{Placing, Step};
use crate::simulation::broker::{Message, Named, Payload, Published, WORK};
use crate::simulation::mutation::Mutation;
use crate::simulation::process::Role;
use crate::simulation::task::Next;
use crate::simulation::world::{Away, Reach, World};

/// How often a router asks for the backlog, and how long the ledger may take to answer, milliseconds.
const BACKLOG_EVERY_MS: i64 = 300;
const REPLY_LIMIT_MS: i64 = 3_000;
const LEDGER_LOOK_MS: i64 = 500;
const OCCUPIED_AGAIN_MS: i64 = 150;

impl Placing {
    pub(super) fn plan(&mut self, world: &mut World) -> Next {
        look_around(world, self.process);
        let setting = Rc::clone(&world.setting);
        let Some(admitted) = &self.admitted else { return self.go(world, Step::Trouble) };
        let router = &world.processes[self.process];
        let tenants = setting.tenants_for(&self.job, world.mutation);
        let planned = plan(&PlanInput {
            job: &self.job,
            admitted,
            attempt: self.attempt,
            counted_attempts: self.counted_attempts,
            history: &self.history,
            fleet: &router.fleet,
            catalog: &setting.catalog,
            prices: &setting.prices,
            policy: &setting.policy,
            tenant: tenants.of(&self.job.tenant),
            ledger_available: router.ledger_available,
            refused: &self.refused,
            now_ms: world.now_ms,
        });
        match planned {
            Plan::Defer { until_ms, .. } => self.go(world, Step::Answer(Some(until_ms))),
            Plan::Refuse { failure, .. } => {
                let expired = failure.code == FailureCode::Expired;
                self.end(world, if expired { JobState::Expired } else { JobState::Failed }, failure)
            }
            Plan::Assign(assign) => {
                let free = assign.reserve_micro_usd.0 == 0;
                let waited_ms = world.now_ms - self.submitted_at_ms;
                if free && assign.starts_at_once() && self.is_first() && waited_ms <= super::WAITED_MS {
                    return self.place_untold(world, &assign);
                }
                let free = free || world.mutation == Mutation::ReserveLate;
                self.assign = Some(assign);
                self.go(world, if free { Step::TellAssigned } else { Step::Reserve })
            }
        }
    }

    /// The assignment alone, which carries the decision.
    fn place_untold(&mut self, world: &mut World, assign: &Assign) -> Next {
        let fleet = &mut world.processes[self.process].fleet;
        fleet.add_backlog(&assign.backend, &assign.class, 1);
        let decision = Some(CarriedDecision::new(&assign.decision));
        let assignment = Assignment { decision, ..self.assignment_of(assign, world.now_ms) };
        self.assignment = Some(Rc::new(assignment));
        self.go(world, Step::Assign)
    }

    /// Asks a ledger for the attempt's money. One that is stopped answers nobody, and decides when it goes on.
    pub(super) fn reserve(&mut self, world: &mut World) -> Next {
        let Some(assign) = &self.assign else { return self.go(world, Step::Trouble) };
        let reservation = Reservation {
            job: self.job.id,
            attempt: self.attempt,
            tenant: self.job.tenant.clone(),
            backend: assign.backend.clone(),
            amount_micro_usd: assign.reserve_micro_usd,
            max_cost_micro_usd: self.job.constraints.max_cost_micro_usd,
            time_ms: world.now_ms,
        };
        let reach = world.reach(self.process);
        let answered = reach != Reach::Nowhere && ledger_is_there(world);
        let decided = answered.then(|| {
            let tenants = world.setting.tenants_for(&self.job, world.mutation);
            world.books.reserve(self.delivery.job, &reservation, &tenants)
        });
        let late = world.mutation == Mutation::ReserveLate;
        match decided.filter(|_| reach == Reach::Through) {
            _ if late => self.go(world, Step::Answer(None)),
            Some(Ok(())) => self.go(world, Step::TellAssigned),
            Some(Err(words)) => {
                world.figures.refused_reservations += 1;
                self.refused.push((assign.backend.clone(), words));
                self.go(world, Step::Plan)
            }
            None => {
                world.processes[self.process].ledger_available = false;
                world.processes[self.process].ledger_asked_ms = world.now_ms + REPLY_LIMIT_MS;
                self.step = Step::Plan;
                Next::After(REPLY_LIMIT_MS)
            }
        }
    }

    pub(super) fn tell_assigned(&mut self, world: &mut World) -> Next {
        let Some(assign) = self.assign.clone() else { return self.go(world, Step::Trouble) };
        let fact = Fact::Assigned {
            facts: self.facts(),
            backend: assign.backend.clone(),
            class: assign.class.clone(),
            model: assign.model.clone(),
            reserved_micro_usd: assign.reserve_micro_usd,
            decision: assign.decision.clone(),
        };
        let now_ms = world.now_ms;
        match self.publish(world, now_ms, self.attempt, fact, true) {
            Ok(Published::Occupied) => self.go(world, Step::ReadTracks),
            Ok(Published::New | Published::Repeat) => {
                let fleet = &mut world.processes[self.process].fleet;
                fleet.add_backlog(&assign.backend, &assign.class, 1);
                self.assignment = Some(Rc::new(self.assignment_of(&assign, now_ms)));
                self.after(world, Ok(()), Step::Assign)
            }
            Err(Away) => self.after(world, Err(Away), Step::Trouble),
        }
    }

    pub(super) fn assign(&mut self, world: &mut World) -> Next {
        let Some(assignment) = self.assignment.clone() else { return self.go(world, Step::Trouble) };
        let consumer = world.setting.work_consumer(&assignment.backend, &assignment.class);
        let message = Message {
            consumer,
            job: self.delivery.job,
            payload: Payload::Work(Rc::clone(&assignment)),
            id: Some((assignment.attempt, Named::Work)),
            first: true,
        };
        let late = world.mutation == Mutation::ReserveLate && assignment.is_paid();
        match world.publish(self.process, &message) {
            Ok(Published::Occupied) if assignment.attempt > 1 => {
                let at_ms = world.now_ms + OCCUPIED_AGAIN_MS;
                self.go(world, Step::Answer(Some(at_ms)))
            }
            stored => {
                let next = if late { Step::Reserve } else { Step::Answer(None) };
                self.after(world, stored.map(|_| ()), next)
            }
        }
    }

    /// Looks for the tracks of whoever had the message before.
    pub(super) fn recover(&mut self, world: &mut World) -> Next {
        if world.reach(self.process) != Reach::Through {
            return self.go(world, Step::Trouble);
        }
        let log = &world.broker.log[self.delivery.job as usize];
        let begun = self.went_on(world)
            || log.iter().any(|event| {
                let placed = matches!(event.fact, Fact::Assigned { .. });
                placed && event.attempt >= self.attempt && is_last_assigned(log, event)
            });
        if begun { self.finish(world) } else { self.go(world, Step::Consider) }
    }

    pub(super) fn read_tracks(&mut self, world: &mut World) -> Next {
        if world.reach(self.process) != Reach::Through {
            return self.go(world, Step::Trouble);
        }
        self.finish(world)
    }

    /// The `assigned` event is there: the assignment follows, unless it has been worked on.
    fn finish(&mut self, world: &mut World) -> Next {
        let went_on = self.went_on(world);
        let log = &world.broker.log[self.delivery.job as usize];
        let last = log.iter().rev().find(|event| matches!(event.fact, Fact::Assigned { .. })).cloned();
        let last = last.filter(|event| !went_on && event.attempt == self.attempt);
        let Some(event) = last else { return self.go(world, Step::Answer(None)) };
        let Fact::Assigned { backend, class, model, reserved_micro_usd, decision, .. } = &event.fact else {
            return self.go(world, Step::Answer(None));
        };
        let setting = Rc::clone(&world.setting);
        let timeout_ms = setting.catalog.service(backend, class).map(|service| service.timeout_ms);
        let assign = Assign {
            decision: Decision::clone(decision),
            backend: backend.clone(),
            class: class.clone(),
            model: model.clone(),
            timeout_ms: timeout_ms.unwrap_or(setting.policy.patience_ms),
            reserve_micro_usd: *reserved_micro_usd,
        };
        self.assignment = Some(Rc::new(self.assignment_of(&assign, event.time_ms)));
        self.go(world, Step::Assign)
    }

    /// The attempt, or one after it, reached a worker; or its assignment alone tells of it.
    fn went_on(&self, world: &World) -> bool {
        let told = world.broker.log[self.delivery.job as usize].iter().any(|event| {
            is_end(event)
                || event.attempt > self.attempt
                || (event.attempt == self.attempt && !matches!(event.fact, Fact::Assigned { .. }))
        });
        told || world.broker.untold(self.delivery.job).is_some_and(|it| it.attempt >= self.attempt)
            || world.broker.failed(self.delivery.job).is_some_and(|attempt| attempt >= self.attempt)
    }

    fn assignment_of(&self, assign: &Assign, time_ms: i64) -> Assignment {
        Assignment {
            schema_version: SCHEMA_VERSION,
            time_ms,
            submitted_at_ms: self.submitted_at_ms,
            attempt: self.attempt,
            counted_attempts: self.counted_attempts,
            backend: assign.backend.clone(),
            class: assign.class.clone(),
            model: assign.model.clone(),
            timeout_ms: assign.timeout_ms,
            reserved_micro_usd: assign.reserve_micro_usd,
            decision: None,
            warnings: Vec::new(),
            job: (*self.job).clone(),
            history: self.history.clone(),
        }
    }
}

const fn is_end(event: &Event) -> bool {
    matches!(event.fact, Fact::Ended { .. })
}

fn is_last_assigned(log: &[Rc<Event>], event: &Rc<Event>) -> bool {
    let last = log.iter().rev().find(|event| matches!(event.fact, Fact::Assigned { .. }));
    last.is_some_and(|last| Rc::ptr_eq(last, event))
}

/// Asks for the backlog, and whether an absent ledger is back, as the router's own tasks do by the clock.
fn look_around(world: &mut World, process: usize) {
    let now_ms = world.now_ms;
    let router = &world.processes[process];
    if !router.is_reachable(now_ms) || now_ms < world.broker.down_until_ms {
        return;
    }
    if now_ms - router.backlog_seen_ms >= BACKLOG_EVERY_MS {
        let mut backlog = vec![0u64; world.broker.ready.len()];
        for stored in world.broker.messages.values() {
            backlog[stored.consumer] += 1;
        }
        let setting = Rc::clone(&world.setting);
        let router = &mut world.processes[process];
        router.backlog_seen_ms = now_ms;
        for (number, backend) in setting.backends.iter().enumerate() {
            for (place, class) in setting.classes.iter().enumerate() {
                let jobs = backlog[WORK + number * setting.classes.len() + place];
                router.fleet.set_backlog(backend, class, jobs);
            }
        }
    }
    let router = &world.processes[process];
    if !router.ledger_available && now_ms - router.ledger_asked_ms >= LEDGER_LOOK_MS {
        let there = ledger_is_there(world);
        world.processes[process].ledger_available = there;
        world.processes[process].ledger_asked_ms = now_ms;
    }
}

fn ledger_is_there(world: &World) -> bool {
    let answers = world.now_ms >= world.books.away_until_ms;
    let there = |role, now_ms| {
        world.processes.iter().any(|process| process.role == role && process.is_reachable(now_ms))
    };
    answers && there(Role::Ledger, world.now_ms)
}
