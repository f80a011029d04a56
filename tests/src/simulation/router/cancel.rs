//! A cancel request at a router: the steps of `router/src/api.rs`, `cancel`. The end is stored before the
//! assignment is taken away; the other way round (`Mutation::PurgeFirst`) a router that dies in between loses
//! the job.

use std::rc::Rc;

use schemas::{AttemptFacts, AttemptRecord, AttemptState, Event, Fact, Failure, FailureCode, JobState};
use schemas::{Outcome, SCHEMA_VERSION};

use super::{End, ended, event_message};
use crate::simulation::broker::Payload;
use crate::simulation::mutation::Mutation;
use crate::simulation::schedule::Happening;
use crate::simulation::task::Next;
use crate::simulation::world::{Reach, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    Request,
    Claim,
    Purge,
    End,
}

/// A cancel request in a router's hand. Nobody redelivers it: where it fails, its client asks again.
pub(crate) struct Cancelling {
    process: usize,
    job: u32,
    state: JobState,
    assigned: Option<Rc<Event>>,
    /// That event, where only the assignment tells of it.
    untold: Option<Rc<Event>>,
    attempts: Vec<AttemptFacts>,
    step: Step,
    tries: u32,
}

impl Cancelling {
    pub(crate) const fn new(process: usize, job: u32) -> Self {
        Self {
            process,
            job,
            state: JobState::Submitted,
            assigned: None,
            untold: None,
            attempts: Vec::new(),
            step: Step::Read,
            tries: 0,
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) -> Next {
        if self.step == Step::End {
            return self.end(world);
        }
        let reach = world.reach(self.process);
        if reach == Reach::Nowhere {
            return Next::Done;
        }
        let next = match self.step {
            Step::Read => self.read(world),
            Step::Request => {
                request(world, self.job);
                // Without a history there is nothing to take out of a queue.
                (self.state == JobState::Assigned && self.assigned.is_some()).then_some(Step::Claim)
            }
            Step::Claim => self.claim(world),
            Step::Purge => self.purge(world),
            Step::End => None,
        };
        match next.filter(|_| reach == Reach::Through) {
            Some(step) => {
                self.step = step;
                Next::After(world.moment())
            }
            None => Next::Done,
        }
    }

    fn read(&mut self, world: &World) -> Option<Step> {
        let log = &world.broker.log[self.job as usize];
        let ended = log.iter().find(|event| matches!(event.fact, Fact::Ended { .. })).and_then(|e| e.state());
        let last = log.iter().rev().find_map(|event| event.state());
        self.untold = world.broker.untold(self.job).and_then(|assignment| assignment.told()).map(Rc::new);
        let untold = self.untold.as_ref().and_then(|event| event.state());
        self.state = ended.or(last).or(untold).unwrap_or(JobState::Submitted);
        let assigned = log.iter().rev().find(|event| matches!(event.fact, Fact::Assigned { .. }));
        self.assigned = assigned.or(self.untold.as_ref()).map(Rc::clone);
        let told = log.iter().filter_map(|event| match &event.fact {
            Fact::Retrying { ended_attempt, .. } => Some(ended_attempt.clone()),
            _ => None,
        });
        self.attempts = told.collect();
        (!self.state.is_terminal()).then_some(Step::Request)
    }

    /// Paid work is claimed before it is purged: where a worker has claimed it, a provider may have been
    /// called, and what it costs must find its way home through whoever gets the assignment.
    fn claim(&self, world: &mut World) -> Option<Step> {
        let next = if world.mutation == Mutation::PurgeFirst { Step::Purge } else { Step::End };
        if world.mutation == Mutation::PurgeClaimed {
            return Some(next);
        }
        let waiting = world.broker.work_of(self.job).find_map(|(_, stored)| match &stored.payload {
            Payload::Work(assignment) => Some(Rc::clone(assignment)),
            _ => None,
        })?;
        if !waiting.is_paid() {
            return Some(next);
        }
        let failure = Failure::new(FailureCode::Interrupted, "taken out of its queue to be cancelled");
        let record = AttemptRecord {
            schema_version: SCHEMA_VERSION,
            job: waiting.job.id,
            attempt: waiting.attempt,
            backend: waiting.backend.clone(),
            worker: super::sweep::CLAIMANT.parse().expect("a valid name"),
            state: AttemptState::Settled,
            claimed_at_ms: world.now_ms,
            started_at_ms: None,
            reserved_micro_usd: waiting.reserved_micro_usd,
            provider_id: None,
            outcome: Some(Outcome { failure: Some(failure), ..Outcome::default() }),
            delivered: None,
        };
        let ours = match world.broker.create_claim((self.job, waiting.attempt), Rc::new(record)) {
            Ok(_) => true,
            Err(entry) => entry.record.worker.as_str() == super::sweep::CLAIMANT,
        };
        ours.then_some(next)
    }

    fn purge(&self, world: &mut World) -> Option<Step> {
        let waiting: Vec<u64> = world.broker.work_of(self.job).map(|(sequence, _)| sequence).collect();
        for sequence in &waiting {
            world.broker.delete(*sequence);
        }
        if waiting.is_empty() {
            return None;
        }
        world.watch.purged(self.job, world.now_ms);
        (world.mutation == Mutation::PurgeFirst).then_some(Step::End)
    }

    fn end(&mut self, world: &mut World) -> Next {
        let (Some(assigned), Some(job)) = (self.assigned.clone(), world.jobs[self.job as usize].clone())
        else {
            return Next::Done;
        };
        if let Some(untold) = &self.untold {
            let message = event_message(world, self.job, Event::clone(untold), true);
            if world.publish(self.process, &message).is_ok() {
                self.untold = None;
                self.tries = 0;
                return Next::After(world.moment());
            }
            return self.again();
        }
        let Fact::Assigned { facts, .. } = &assigned.fact else { return Next::Done };
        let end = End {
            attempt: assigned.attempt,
            class: facts.class.clone(),
            state: JobState::Cancelled,
            failure: Failure::new(FailureCode::Cancelled, "cancelled while it waited"),
            attempts: self.attempts.clone(),
        };
        let fact = ended(&job, facts.submitted_at_ms, &end);
        let event = Event::new(world.now_ms, job.tenant.clone(), job.id, end.attempt, fact);
        let message = event_message(world, self.job, event, true);
        if world.publish(self.process, &message).is_ok() {
            if world.mutation == Mutation::PurgeFirst {
                return Next::Done;
            }
            self.step = Step::Purge;
            return Next::After(world.moment());
        }
        self.again()
    }

    /// Tries a publish again for a while.
    fn again(&mut self) -> Next {
        if self.tries >= super::TRIES_MAX {
            return Next::Done;
        }
        self.tries += 1;
        Next::After((100 << self.tries).min(2_000))
    }
}

/// The request is durable, and everybody who watches learns of it.
fn request(world: &mut World, job: u32) {
    world.broker.cancels.insert(job);
    for process in 0..world.processes.len() {
        let found = &world.processes[process];
        if found.up && world.now_ms >= found.cut_until_ms {
            let incarnation = found.incarnation;
            let at_ms = world.now_ms + world.moment();
            world.schedule.at(at_ms, Happening::Cancel { process, incarnation, job });
        }
    }
}

impl World {
    /// A process learns that a job is to be cancelled; what it runs for it stops.
    pub(crate) fn learn_of_cancel(&mut self, process: usize, job: u32) {
        if !self.processes[process].cancels.insert(job) {
            return;
        }
        let running: Vec<usize> = self
            .tasks
            .attempts()
            .filter(|(_, owner, attempt)| *owner == process && attempt.is_of(job))
            .map(|(number, _, _)| number)
            .collect();
        for number in running {
            self.wake(number);
        }
    }
}
