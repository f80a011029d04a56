//! The simulated router: the steps of `router/src/intake.rs`, `dead.rs`, `place.rs` and `ending.rs`, one
//! call to the outside world each, in the same order. What to do is decided by the real `policy`.

pub(crate) mod cancel;
mod place;
pub(crate) mod sweep;

use std::rc::Rc;

use policy::admit::{Admitted, admit};
use policy::dispose::{Disposition, dispose};
use policy::plan::Assign;
use schemas::{
    Assignment, AttemptFacts, Backend, DeadLetter, Event, Fact, Failure, FailureCode, Job, JobFacts, JobState,
};

use super::broker::{LEDGER, Message, Named, Payload, Published};
use super::task::{Delivery, Next};
use super::world::{Away, World};

/// How long a message rests after the broker failed a router in between, milliseconds.
const TROUBLE_REST_MS: i64 = 1_000;
/// How often a publish is tried again.
const TRIES_MAX: u32 = 6;
/// Deliveries on which the `retrying` event is published.
const TELL_DELIVERIES: u32 = 2;

/// How long after it was made a job that is published is the first of its id, and how long it may have waited in its
/// lane then, milliseconds.
const FRESH_MS: i64 = 60_000;
const WAITED_MS: i64 = 90_000;

/// A job's end as the router publishes it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) attempt: u32,
    pub(crate) class: Option<schemas::Class>,
    pub(crate) state: JobState,
    pub(crate) failure: Failure,
    pub(crate) attempts: Vec<AttemptFacts>,
}

/// What is done next.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Look,
    TellRetrying,
    Follow,
    Recover,
    Consider,
    Plan,
    Reserve,
    TellAssigned,
    ReadTracks,
    Assign,
    Refuse,
    Park,
    End,
    Charge(usize),
    /// Done with the message, or back with it until then.
    Answer(Option<i64>),
    Trouble,
}

/// A job or a dead letter in a router's hand, up to its acknowledgement.
pub(crate) struct Placing {
    process: usize,
    pub(crate) delivery: Delivery,
    letter: Option<Rc<DeadLetter>>,
    job: Rc<Job>,
    admitted: Option<Admitted>,
    disposition: Option<Disposition>,
    attempt: u32,
    counted_attempts: u32,
    history: Vec<AttemptFacts>,
    submitted_at_ms: i64,
    refused: Vec<(Backend, String)>,
    assign: Option<Box<Assign>>,
    assignment: Option<Rc<Assignment>>,
    end: Option<End>,
    step: Step,
    tries: u32,
}

impl Placing {
    pub(crate) fn new(process: usize, delivery: Delivery) -> Self {
        let (letter, job, submitted_at_ms) = match &delivery.payload {
            Payload::Dead(letter) => {
                let assignment = &letter.assignment;
                (Some(Rc::clone(letter)), Rc::new(assignment.job.clone()), assignment.submitted_at_ms)
            }
            Payload::Job(job) => (None, Rc::clone(job), delivery.published_ms),
            Payload::Work(_) | Payload::Event(_) => unreachable!("routers pull jobs and letters"),
        };
        Self {
            process,
            delivery,
            letter,
            job,
            admitted: None,
            disposition: None,
            attempt: 1,
            counted_attempts: 0,
            history: Vec::new(),
            submitted_at_ms,
            refused: Vec::new(),
            assign: None,
            assignment: None,
            end: None,
            step: Step::Look,
            tries: 0,
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) -> Next {
        match self.step.clone() {
            Step::Look => self.look(world),
            Step::TellRetrying => self.tell_retrying(world),
            Step::Follow => self.follow(world),
            Step::Recover => self.recover(world),
            Step::Consider => self.consider(world),
            Step::Plan => self.plan(world),
            Step::Reserve => self.reserve(world),
            Step::TellAssigned => self.tell_assigned(world),
            Step::ReadTracks => self.read_tracks(world),
            Step::Assign => self.assign(world),
            Step::Refuse => self.refuse(world),
            Step::Park => {
                let parked = world.reach(self.process) == super::world::Reach::Through;
                self.after(world, if parked { Ok(()) } else { Err(Away) }, Step::End)
            }
            Step::End => self.tell_end(world),
            Step::Charge(place) => self.tell_charged(world, place),
            Step::Answer(None) => {
                world.acknowledge(self.process, self.delivery.sequence, false);
                Next::Done
            }
            Step::Answer(Some(at_ms)) => {
                world.hand_back(self.process, self.delivery.sequence, (at_ms - world.now_ms).max(50));
                Next::Done
            }
            Step::Trouble => {
                world.hand_back(self.process, self.delivery.sequence, TROUBLE_REST_MS);
                Next::Done
            }
        }
    }

    /// Goes on after a call, tries it again for a while, or hands the message back.
    fn after(&mut self, world: &mut World, called: Result<(), Away>, next: Step) -> Next {
        match called {
            Ok(()) => {
                self.tries = 0;
                self.go(world, next)
            }
            Err(Away) if self.tries < TRIES_MAX => {
                self.tries += 1;
                Next::After((100 << self.tries).min(2_000))
            }
            Err(Away) => self.go(world, Step::Trouble),
        }
    }

    fn go(&mut self, world: &mut World, next: Step) -> Next {
        self.step = next;
        Next::After(world.moment())
    }

    fn look(&mut self, world: &mut World) -> Next {
        let setting = Rc::clone(&world.setting);
        if let Some(letter) = self.letter.clone() {
            let cancelled = world.processes[self.process].cancels.contains(&self.delivery.job);
            let disposition = if cancelled {
                Disposition::End { state: JobState::Cancelled }
            } else {
                dispose(&letter, &setting.policy)
            };
            self.disposition = Some(disposition);
            self.history.clone_from(&letter.assignment.history);
            self.history.push(letter.ended_attempt.clone());
            self.attempt = letter.assignment.attempt + 1;
            self.counted_attempts = letter.assignment.counted_attempts + u32::from(disposition.is_counted());
            if let Disposition::End { state } = disposition {
                let failure = letter.ended_attempt.failure.clone();
                return self.end(world, state, failure.unwrap_or_else(unknown));
            }
            let tell = self.delivery.delivered <= TELL_DELIVERIES;
            return self.go(world, if tell { Step::TellRetrying } else { Step::Follow });
        }
        match admit(&self.job, &setting.catalog, &setting.policy, 500, self.submitted_at_ms) {
            Ok(admitted) => {
                self.admitted = Some(admitted);
                self.go(world, if self.is_first() { Step::Consider } else { Step::Recover })
            }
            Err(failure) => {
                self.end = Some(self.ending(JobState::Failed, failure));
                self.go(world, Step::Refuse)
            }
        }
    }

    fn tell_retrying(&mut self, world: &mut World) -> Next {
        let (Some(letter), Some(disposition)) = (self.letter.clone(), self.disposition) else {
            return self.go(world, Step::Trouble);
        };
        let fact = Fact::Retrying {
            facts: self.facts(),
            ended_attempt: letter.ended_attempt.clone(),
            disposition: disposition.as_str().to_owned(),
            next_at_ms: disposition.at_ms().unwrap_or_default(),
        };
        let told = self.publish(world, letter.time_ms, letter.assignment.attempt, fact, false);
        self.after(world, told.map(|_| ()), Step::Follow)
    }

    /// The letter's wait is over, or it goes back until it is.
    fn follow(&mut self, world: &mut World) -> Next {
        let setting = Rc::clone(&world.setting);
        let at_ms = self.disposition.and_then(|disposition| disposition.at_ms()).unwrap_or_default();
        if at_ms > world.now_ms {
            return self.go(world, Step::Answer(Some(at_ms)));
        }
        if self.is_late(world.now_ms) {
            let words = "its deadline passed before the next attempt";
            return self.end(world, JobState::Expired, Failure::new(FailureCode::Expired, words));
        }
        match admit(&self.job, &setting.catalog, &setting.policy, 0, self.submitted_at_ms) {
            Ok(admitted) => self.admitted = Some(admitted),
            Err(failure) => return self.end(world, JobState::Failed, failure),
        }
        self.go(world, if self.delivery.delivered > 1 { Step::Recover } else { Step::Plan })
    }

    /// A job that nobody has begun with: is it to be placed at all?
    fn consider(&mut self, world: &mut World) -> Next {
        if self.letter.is_none() {
            if world.processes[self.process].cancels.contains(&self.delivery.job) {
                let failure = Failure::new(FailureCode::Cancelled, "cancelled before it was placed");
                return self.end(world, JobState::Cancelled, failure);
            }
            if self.is_late(world.now_ms) {
                let words = "its deadline passed while it waited for room";
                return self.end(world, JobState::Expired, Failure::new(FailureCode::Expired, words));
            }
        }
        self.go(world, Step::Plan)
    }

    /// The job's first delivery, of a publish so soon after it was made that the broker would have refused a repeat.
    fn is_first(&self) -> bool {
        self.letter.is_none()
            && self.delivery.delivered == 1
            && self.delivery.published_ms - self.job.time_ms <= FRESH_MS
    }

    fn is_late(&self, now_ms: i64) -> bool {
        self.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }

    fn ending(&self, state: JobState, failure: Failure) -> End {
        let letter = self.letter.as_ref();
        End {
            attempt: letter.map_or(0, |letter| letter.assignment.attempt),
            class: letter.map(|letter| letter.assignment.class.clone()),
            state,
            failure,
            attempts: self.history.clone(),
        }
    }

    /// Ends the job; what failed is put into the operator's inbox first.
    fn end(&mut self, world: &mut World, state: JobState, failure: Failure) -> Next {
        self.end = Some(self.ending(state, failure));
        self.go(world, if state == JobState::Failed { Step::Park } else { Step::End })
    }

    fn refuse(&mut self, world: &mut World) -> Next {
        let Some(end) = self.end.clone() else { return self.go(world, Step::Trouble) };
        let told = self.publish(world, world.now_ms, 0, Fact::Refused { failure: end.failure }, false);
        self.after(world, told.map(|_| ()), Step::End)
    }

    fn tell_end(&mut self, world: &mut World) -> Next {
        let Some(end) = self.end.clone() else { return self.go(world, Step::Trouble) };
        match self.publish(
            world,
            world.now_ms,
            end.attempt,
            ended(&self.job, self.submitted_at_ms, &end),
            true,
        ) {
            Ok(Published::Occupied) if !end.attempts.is_empty() => self.go(world, Step::Charge(0)),
            told => self.after(world, told.map(|_| ()), Step::Answer(None)),
        }
    }

    /// The job had ended before: money that only this end knows of is told.
    fn tell_charged(&mut self, world: &mut World, place: usize) -> Next {
        let Some(facts) = self.end.as_ref().and_then(|end| end.attempts.get(place)).cloned() else {
            return self.go(world, Step::Answer(None));
        };
        let attempt = facts.attempt;
        let fact = Fact::Charged { facts: self.facts(), ended_attempt: facts };
        let told = self.publish(world, world.now_ms, attempt, fact, false);
        self.after(world, told.map(|_| ()), Step::Charge(place + 1))
    }

    fn facts(&self) -> JobFacts {
        let class = self.admitted.as_ref().map(|admitted| admitted.class.clone());
        JobFacts::of(&self.job, class, self.submitted_at_ms)
    }

    fn publish(
        &self,
        world: &mut World,
        time_ms: i64,
        attempt: u32,
        fact: Fact,
        first: bool,
    ) -> Result<Published, Away> {
        let event = Event::new(time_ms, self.job.tenant.clone(), self.job.id, attempt, fact);
        world.publish(self.process, &event_message(world, self.delivery.job, event, first))
    }
}

/// An event as a message; with a mutation, ends are published wherever another end may be.
pub(crate) fn event_message(world: &World, job: u32, event: Event, first: bool) -> Message {
    let twice =
        world.mutation == super::Mutation::SettleTwice && event.state().is_some_and(JobState::is_terminal);
    Message {
        consumer: LEDGER,
        job,
        id: (!twice).then(|| (event.attempt, Named::Event(event.fact.kind()))),
        payload: Payload::Event(Rc::new(event)),
        first: first && !twice,
    }
}

/// The terminal event of an end.
pub(crate) fn ended(job: &Job, submitted_at_ms: i64, end: &End) -> Fact {
    Fact::Ended {
        facts: JobFacts::of(job, end.class.clone(), submitted_at_ms),
        state: end.state,
        artifacts: Vec::new(),
        failure: Some(end.failure.clone()),
        attempts: end.attempts.clone(),
    }
}

fn unknown() -> Failure {
    Failure::new(FailureCode::Unknown, "ended without a reason")
}
