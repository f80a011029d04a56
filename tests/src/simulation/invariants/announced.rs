//! What is told of a job: that it was refused, which job it is once more, why an attempt went where it went, and that
//! something of it is put aside for an operator.

use std::rc::Rc;

use protocol::Ports as _;
use schemas::artifact::Origin;
use schemas::{
    Assignment, AttemptFacts, DeadLetter, Event, Fact, Failure, FailureCode, Input, Job, JobId, JobState,
};

use super::Promise;
use crate::simulation::broker::{self, Payload};
use crate::simulation::ports::{SimulatedPorts, number};
use crate::simulation::process::Role;
use crate::simulation::world::World;

/// How the reason of a job begins whose work is in no stream.
const REMOVED: &str = "its assignment was removed";
/// A job that was in a router's hand for so long has waited, milliseconds.
const WAITED_MS: i64 = 15_000;
/// A placement that was begun takes no longer than this, milliseconds; clocks differ besides.
const GOING_MS: i64 = 15_000;
/// An attempt that ran for so long has been seen running, milliseconds.
const SEEN_RUNNING_MS: i64 = 1_000;

impl World {
    /// Looks at an event that was just stored.
    pub(super) fn watch_event(&mut self, job: u32, event: &Event) {
        match &event.fact {
            Fact::Refused { failure } => self.watch_refused(job, failure),
            Fact::Duplicate { of } => self.watch_duplicate(job, *of),
            Fact::Ended { state: JobState::Completed, attempts, .. } => self.watch_completed(job, attempts),
            Fact::Ended { state: JobState::Failed, facts, failure, .. } => {
                let Some(failure) = failure else { return };
                let is_removed = failure.message.starts_with(REMOVED);
                // Whoever looks for what cannot be read finds nothing.
                if is_removed && !self.purged.contains(&job) && !self.broker.garbled.contains(&job) {
                    let words = format!("job {job} is said to be removed, and nobody removed anything of it");
                    return self.broken(Promise::Rest, words);
                }
                // Of what an operator removed nothing is left, and what waited until its input went cannot be sent again.
                let has_waited = event.attempt == 0 && failure.field.as_deref() == Some("body.inputs");
                let cannot_be_sent_again = has_waited && self.uploads.contains_key(&job);
                let is_excused =
                    is_removed || cannot_be_sent_again || self.broker.inbox.is_short(self.inbox_max);
                if !is_excused && !self.broker.inbox.has(job) {
                    let words = format!("job {job} failed, and nothing of it is put aside");
                    return self.broken(Promise::Announced, words);
                }
                let log = &self.watch.events[job as usize];
                let is_refused = log.iter().any(|event| matches!(event.fact, Fact::Refused { .. }));
                // What was not admitted is of no class.
                if event.attempt == 0 && facts.class.is_none() && !is_refused {
                    return self.broken(Promise::Announced, format!("job {job} is invalid, and not refused"));
                }
                if failure.code == FailureCode::NotStored {
                    self.broken(Promise::Kept, format!("job {job}: {}", failure.message));
                }
            }
            _ => {}
        }
    }

    /// A job is not refused for an input that is its tenant's.
    fn watch_refused(&mut self, job: u32, failure: &Failure) {
        let is_for_key = failure.field.as_deref() == Some("idempotency_key");
        let id = self.jobs[job as usize].as_ref().map(|body| body.id);
        if is_for_key && self.broker.keys.values().any(|record| Some(record.job) == id) {
            self.broken(Promise::Announced, format!("job {job} has its key, and is refused for it"));
        }
        let is_for_input = failure.field.as_deref().is_some_and(|field| field.starts_with("body.inputs"));
        let Some(body) = self.jobs[job as usize].clone().filter(|_| is_for_input) else { return };
        // Once room was made, what that job made is no longer known, and the refusal says so.
        if body.body.inputs.iter().all(|input| is_own_result(&self.broker.log, &body, input)) {
            self.broken(Promise::Inputs, format!("job {job} may not use what its tenant has"));
        }
    }

    /// Looks at the inputs of a job that was placed.
    pub(super) fn watch_used(&mut self, job: u32, body: &Job) {
        if !body.body.inputs.iter().all(|input| is_own_result(&self.watch.events, body, input)) {
            self.broken(Promise::Inputs, format!("job {job} uses what is not its tenant's"));
        }
    }

    fn watch_duplicate(&mut self, job: u32, of: JobId) {
        let keyed = |job: u32| {
            let job = self.jobs.get(job as usize)?.as_ref()?;
            Some((job.tenant.clone(), job.idempotency_key.clone()?))
        };
        if of == self.jobs[job as usize].as_ref().map_or(of, |job| job.id) || keyed(number(of)) != keyed(job)
        {
            self.broken(Promise::Announced, format!("job {job} is called the same as {of}"));
        }
    }

    /// At rest: of each attempt that was placed, its job's events say why it went where it went.
    pub(super) fn watch_decisions(&mut self) {
        for job in 0..self.watch.lives.len() {
            let log = &self.watch.events[job];
            let explained = |attempt: u32| log.iter().any(|event| explains(event, attempt));
            let missing = self.watch.lives[job].placed.iter().copied().find(|attempt| !explained(*attempt));
            if let Some(attempt) = missing {
                let words = format!("no event says why attempt {job}.{attempt} was placed where it was");
                return self.broken(Promise::Announced, words);
            }
        }
    }
}

/// Whether a job of the same tenant made a file, by the events of all jobs.
fn is_own_result(events: &[Vec<Rc<Event>>], body: &Job, input: &Input) -> bool {
    let of = match input.artifact.origin(&body.tenant) {
        Ok(Origin::ResultOf(of)) => of,
        Ok(Origin::Uploaded) => return true,
        _ => return false,
    };
    events[number(of) as usize].iter().any(|event| match &event.fact {
        Fact::Ended { artifacts, .. } => {
            event.tenant == body.tenant && artifacts.iter().any(|artifact| artifact.at == input.artifact)
        }
        _ => false,
    })
}

/// Whether an event carries the decision of an attempt.
fn explains(event: &Event, attempt: u32) -> bool {
    let carried = |facts: &[AttemptFacts]| {
        facts.iter().any(|facts| facts.attempt == attempt && facts.decision.is_some())
    };
    match &event.fact {
        Fact::Assigned { .. } => event.attempt == attempt,
        Fact::Retrying { ended_attempt, .. } | Fact::Charged { ended_attempt, .. } => {
            carried(std::slice::from_ref(ended_attempt))
        }
        Fact::Ended { attempts, .. } => carried(attempts),
        _ => false,
    }
}

impl SimulatedPorts {
    /// Looks at what is about to be published.
    pub(crate) fn watch_publish(&self, message: &crate::simulation::broker::Message) {
        match &message.payload {
            Payload::Work(assignment) => {
                self.watch_placed(message.job, assignment);
                self.watch_going(message.job, assignment);
            }
            Payload::Dead(letter) => {
                self.watch_seen_running(message.job, &letter.ended_attempt);
                self.watch_given_up(letter);
                self.watch_unbegun(letter);
                self.watch_abandoned(letter);
                self.watch_known(letter);
            }
            Payload::Event(event) => {
                self.watch_placed_again(message.job, event);
                if let Fact::Ended { state: JobState::Completed, attempts, .. } = &event.fact
                    && let Some(last) = attempts.last()
                {
                    self.watch_seen_running(message.job, last);
                }
            }
            Payload::Job(_) | Payload::Unreadable(_) => {}
        }
    }

    /// A job that waits is told when its input goes, before a worker would find nothing.
    fn watch_going(&self, job: u32, assignment: &Assignment) {
        self.world(|world| {
            let process = &world.processes[self.process];
            let Some(until_ms) = world.uploads.get(&job).copied() else { return };
            let going_ms = until_ms - policy::inputs::LOAD_MS;
            let has_waited = self.begun_ms + WAITED_MS < going_ms && going_ms + GOING_MS < world.now_ms;
            let is_first = process.role == Role::Router && assignment.attempt == 1;
            if is_first && has_waited && process.is_well_since(self.begun_ms) {
                let words = format!("job {job} waited until its input went, and is placed");
                world.broken(Promise::Inputs, words);
            }
        });
    }

    /// A router that got a job after it was placed without its event finds that, and does not place it again. One that had
    /// it before may.
    fn watch_placed_again(&self, job: u32, event: &Event) {
        if event.attempt != 1 || !matches!(event.fact, Fact::Assigned { .. }) {
            return;
        }
        self.world(|world| {
            let life = &world.watch.lives[job as usize];
            let told = life.alone.as_ref().filter(|(stored_ms, _)| *stored_ms < self.begun_ms);
            if life.published == 1 && told.is_some_and(|(_, told)| **told != *event) {
                let words = format!("attempt {job}.1 was placed without its event, and then again");
                world.broken(Promise::Attempts, words);
            }
        });
    }

    /// An attempt that its first delivery ran for longer than a moment is in its job's events as running, unless a
    /// call was lost meanwhile.
    fn watch_seen_running(&self, job: u32, facts: &AttemptFacts) {
        let Some(in_hand) = self.in_hand.filter(|in_hand| in_hand.deliveries == 1) else { return };
        let Some(started_ms) = facts.started_at_ms else { return };
        self.world(|world| {
            let is_well = world.processes[self.process].is_well_since(in_hand.delivered_ms);
            let is_told = world.watch.events[job as usize]
                .iter()
                .any(|event| event.attempt == facts.attempt && matches!(event.fact, Fact::Running { .. }));
            // Its clock may have been set meanwhile.
            let is_long = facts.finished_at_ms - started_ms > SEEN_RUNNING_MS
                && world.now_ms - in_hand.delivered_ms > SEEN_RUNNING_MS;
            let is_ours = facts.worker.as_ref() == Some(&*self.worker) && started_ms >= in_hand.delivered_ms;
            if is_well && is_ours && is_long && !is_told {
                let words = format!("attempt {job}.{} ran, and was never seen running", facts.attempt);
                world.broken(Promise::Announced, words);
            }
        });
    }

    /// What is unknown is given up only after the provider could have reported it.
    fn watch_given_up(&self, letter: &DeadLetter) {
        let facts = &letter.ended_attempt;
        let code = facts.failure.as_ref().map(|failure| failure.code);
        if code != Some(FailureCode::OutcomeUnknown) || facts.provider_id.is_some() || self.in_hand.is_none()
        {
            return;
        }
        let assignment = &letter.assignment;
        let number = number(assignment.job.id);
        // Its claim has the times of workers' clocks.
        let now_ms = self.now_ms();
        self.world(|world| {
            let backend = world.setting.backend_number(&assignment.backend);
            let is_over = world.processes[self.process].cancels.contains_key(&number)
                || assignment.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
            // Its claim may have been there and be gone: whatever was to be reported was reported long ago.
            let is_older_than_claims = now_ms - assignment.time_ms >= broker::CLAIMS_KEPT_MS / 8 * 7;
            if backend != crate::simulation::setting::CLOUD || is_over || is_older_than_claims {
                return;
            }
            let Some(claim) = world.broker.claim((number, assignment.attempt), world.now_ms) else { return };
            let waited_ms = now_ms - claim.record.claimed_at_ms;
            let limit_ms = protocol::worker::machine::reported_within_ms(assignment.timeout_ms).cast_signed();
            if waited_ms < limit_ms {
                let words =
                    format!("attempt {number}.{} is given up before its report may come", assignment.attempt);
                world.broken(Promise::Kept, words);
            }
        });
    }
}
