//! The end of a delivery: record, publish, then the confirmed acknowledgement, as
//! `runtime/src/worker/settle.rs` does it.

use std::rc::Rc;

use schemas::{AttemptRecord, AttemptState, Event, Fact, FailureCode, JobState};
use worker_host::machine::{self, Ended, Settlement};

use super::{Attempting, REST_MS, Step, TRIES_MAX};
use crate::simulation::broker::{DEAD, Message, Named, Payload, Published};
use crate::simulation::mutation::Mutation;
use crate::simulation::ports::event_message;
use crate::simulation::task::Next;
use crate::simulation::world::World;

impl Attempting {
    pub(super) fn settle(&mut self, world: &mut World) -> Next {
        self.tries = 0;
        let outcome = std::mem::take(&mut self.outcome);
        self.outcome = self.with_recorded_id(outcome);
        let code = self.outcome.failure.as_ref().map(|failure| failure.code);
        world.figures.attempts += 1;
        world.figures.unknown_outcomes += u64::from(code == Some(FailureCode::OutcomeUnknown));
        let assignment = &self.assignment;
        let at_ms = self.begun_ms.unwrap_or(world.now_ms);
        let usage = &self.outcome.usage;
        let prices = &world.setting.prices;
        let priced = assignment.is_paid() && !usage.is_empty();
        let price = priced.then(|| {
            policy::cost::price_of(usage, &assignment.backend, &assignment.model, prices, at_ms).ok()
        });
        let worker = world.processes[self.process].worker.clone();
        let settlement = machine::settle(&Ended {
            assignment,
            worker: Some(&worker),
            simulated: true,
            started_at_ms: self.begun_ms,
            finished_at_ms: world.now_ms,
            outcome: &self.outcome,
            price_micro_usd: price.flatten(),
            called: self.called,
        });
        let next = match settlement {
            Settlement::HandBack => Step::HandBack(REST_MS),
            _ if self.held.is_some() => Step::Write,
            _ if world.mutation == Mutation::AcknowledgeFirst => Step::Acknowledge,
            _ => Step::Publish,
        };
        self.settlement = Some(settlement);
        self.go(world, next)
    }

    /// Writes the outcome into the claim. What is told is what is recorded: when the write fails, whoever
    /// gets the assignment next decides by the claim as it then is.
    pub(super) fn write_outcome(&mut self, world: &mut World) -> Next {
        if let Some(mut held) = self.held.take() {
            let record = AttemptRecord {
                state: AttemptState::Settled,
                provider_id: self.outcome.provider_id.clone(),
                outcome: Some(self.outcome.clone()),
                ..held.record.clone()
            };
            if !self.write(world, &mut held, record) && world.mutation != Mutation::TellUnrecorded {
                return self.go(world, Step::HandBack(REST_MS));
            }
        }
        let first = world.mutation == Mutation::AcknowledgeFirst;
        self.go(world, if first { Step::Acknowledge } else { Step::Publish })
    }

    pub(super) fn publish(&mut self, world: &mut World) -> Next {
        let told = match &self.settlement {
            Some(Settlement::Complete(facts)) => {
                let mut attempts = self.assignment.history.clone();
                attempts.push((**facts).clone());
                let fact = Fact::Ended {
                    facts: self.assignment.facts(),
                    state: JobState::Completed,
                    artifacts: self.outcome.artifacts.clone(),
                    failure: None,
                    attempts,
                };
                let message = self.event(world, facts.finished_at_ms, fact);
                world.publish(self.process, &message)
            }
            Some(Settlement::Dead(letter)) => {
                let message = Message {
                    consumer: DEAD,
                    job: self.delivery.job,
                    payload: Payload::Dead(Rc::new((**letter).clone())),
                    id: Some((self.assignment.attempt, Named::Dead)),
                    expected: None,
                };
                world.publish(self.process, &message)
            }
            Some(Settlement::HandBack) | None => return self.go(world, Step::HandBack(REST_MS)),
        };
        match told {
            Ok(Published::Occupied) if self.assignment.is_paid() => self.go(world, Step::Charge),
            Ok(Published::Occupied) => self.told(world),
            Ok(Published::New | Published::Repeat) => self.told(world),
            Err(_) => self.again(world),
        }
    }

    /// The job ended otherwise in the meantime: the money is told.
    pub(super) fn charge(&mut self, world: &mut World) -> Next {
        let Some(Settlement::Complete(facts)) = &self.settlement else {
            return self.go(world, Step::HandBack(REST_MS));
        };
        let fact = Fact::Charged { facts: self.assignment.facts(), ended_attempt: (**facts).clone() };
        let message = self.event(world, facts.finished_at_ms, fact);
        match world.publish(self.process, &message) {
            Ok(_) => self.told(world),
            Err(_) => self.again(world),
        }
    }

    fn event(&self, world: &World, time_ms: i64, fact: Fact) -> Message {
        let job = &self.assignment.job;
        let event = Event::new(time_ms, job.tenant.clone(), job.id, self.assignment.attempt, fact);
        event_message(world.mutation, &event, None)
    }

    fn told(&mut self, world: &mut World) -> Next {
        self.tries = 0;
        if self.acknowledged { Next::Done } else { self.go(world, Step::Acknowledge) }
    }

    fn again(&mut self, world: &mut World) -> Next {
        if self.tries >= TRIES_MAX {
            return self.go(world, Step::HandBack(REST_MS));
        }
        self.tries += 1;
        Next::After((100 << self.tries).min(2_000))
    }

    /// Confirmed: a lost acknowledgement would run the work again.
    pub(super) fn acknowledge(&mut self, world: &mut World) -> Next {
        let heard = world.acknowledge(self.process, self.delivery.sequence, true);
        self.acknowledged = true;
        if world.mutation == Mutation::AcknowledgeFirst {
            return self.go(world, Step::Publish);
        }
        if heard { Next::Done } else { self.go(world, Step::HandBack(REST_MS)) }
    }
}
