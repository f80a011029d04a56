//! What a request to cancel promises once it is answered.

use protocol::router::cancel::Cancelled;
use schemas::{Assignment, AttemptFacts, DeadLetter, Event, Fact, JobState};

use super::Promise;
use crate::simulation::broker::{Payload, Place, Stored};
use crate::simulation::ports::{SimulatedPorts, number};
use crate::simulation::process::Role;
use crate::simulation::world::World;

/// News of a request reach a process that is well within this, milliseconds.
const HEARD_WITHIN_MS: i64 = 2_000;
/// A worker that is well ends a cancelled attempt within this, milliseconds.
const STOPPED_WITHIN_MS: i64 = 15_000;
/// A router places nothing any more once it has known of the request for so long, milliseconds.
const PLACED_WITHIN_MS: i64 = 60_000;
/// A cancelled job has ended within this, whatever happens meanwhile, milliseconds.
const ENDED_WITHIN_MS: i64 = 15 * 60_000;

/// A fleet that was off does what it owes within this once a router is back, milliseconds.
const BACK_WITHIN_MS: i64 = 60_000;

/// The effect of a request that came too late.
const HAD_ENDED: &str = "it had ended before";

impl World {
    /// Looks at the answer to a request that was made at a moment.
    pub(crate) fn watch_answer(&mut self, asked_ms: i64, answer: &Cancelled) {
        self.figures.answered_cancels += 1;
        let job = number(answer.job);
        let life = self.watch.lives[job as usize].clone();
        if answer.effect.starts_with(HAD_ENDED) {
            if life.ends == 0 {
                self.broken(Promise::Answer, format!("job {job} has not ended, and the answer says so"));
            }
            return;
        }
        let now_ms = self.now_ms;
        self.watch.lives[job as usize].cancelled_ms.get_or_insert(now_ms);
        let was_placed = life.placed_ms.is_some_and(|placed_ms| placed_ms < asked_ms);
        if was_placed && answer.state == JobState::Submitted {
            return self.broken(Promise::Answer, format!("job {job} was placed, and the answer denies it"));
        }
        let taken_out = answer.effect.contains("taken out");
        if taken_out
            // A consumer that was made anew says that it has delivered nothing: what is free is taken out then, while its
            // worker stops it.
            && life.started_ms.is_some_and(|started_ms| self.remade_ms < started_ms && started_ms < asked_ms)
            && life.placed.len() == 1
        {
            return self
                .broken(Promise::Answer, format!("job {job} had begun, and was taken out of its queue"));
        }
        let waits = |stored: &Stored| match &stored.payload {
            Payload::Work(work) => {
                matches!(stored.place, Place::Ready)
                    && stored.delivered == 0
                    && stored.published_ms < asked_ms
                    && self.broker.claim((job, work.attempt), self.now_ms).is_none()
            }
            _ => false,
        };
        // A consumer that was made anew does not know which worker has it in hand.
        let is_in_hand = (0..self.processes.len()).any(|process| {
            let is_worker = matches!(self.processes[process].role, Role::Worker(_));
            is_worker && !self.tasks.of_job(process, job).is_empty()
        });
        if !is_in_hand && self.broker.work_of(job).any(|(_, stored)| waits(stored)) {
            let words = format!("job {job} waits on after its cancel was answered: {}", answer.effect);
            self.broken(Promise::Answer, words);
        }
    }

    /// Looks at a start at a provider.
    pub(super) fn watch_cancelled_start(&mut self, process: usize, job: u32, name: &str) {
        let life = &self.watch.lives[job as usize];
        let Some(cancelled_ms) = life.cancelled_ms else { return };
        let has_heard = self.processes[process].has_heard_since(cancelled_ms);
        if has_heard && self.now_ms > cancelled_ms.max(self.woke_ms) + HEARD_WITHIN_MS {
            self.broken(Promise::Cancelled, format!("{name} started long after its cancel was answered"));
        }
    }

    /// Looks at the end of a job that completed.
    pub(super) fn watch_completed(&mut self, job: u32, attempts: &[AttemptFacts]) {
        let Some(cancelled_ms) = self.watch.lives[job as usize].cancelled_ms else { return };
        let Some((last, run)) = attempts.last().and_then(|last| {
            let (_, run) = last.provider_id.as_deref()?.rsplit_once('-')?;
            Some((last, run.parse::<usize>().ok()?))
        }) else {
            return;
        };
        let backend = self.setting.backend_number(&last.backend);
        let Some(run) = self.providers[backend].runs.get(run) else { return };
        let worker = self.processes.iter().find(|process| Some(&process.worker) == last.worker.as_ref());
        // While its machine slept, its provider went on.
        let has_heard = worker
            .is_some_and(|worker| worker.has_heard_since(cancelled_ms) && worker.woke_ms <= cancelled_ms);
        if has_heard && run.done_ms > cancelled_ms + HEARD_WITHIN_MS {
            self.broken(Promise::Cancelled, format!("job {job} ran on to its end after it was cancelled"));
        }
    }

    /// Looks at the jobs whose cancel was answered a while ago.
    pub(super) fn watch_cancelled(&mut self) {
        let now_ms = self.now_ms;
        // Nor does one that slept, or whose routers are too old for it.
        let older_ms = self.processes.iter().map(|process| process.older_until_ms).max().unwrap_or_default();
        let able_ms = self.woke_ms.max(older_ms);
        // A fleet that is off ends nothing.
        let is_well = self.well_router(now_ms - BACK_WITHIN_MS).is_some();
        for job in 0..self.watch.lives.len() {
            let life = &self.watch.lives[job];
            let Some(cancelled_ms) = life.cancelled_ms.filter(|_| life.ends == 0) else { continue };
            if now_ms > cancelled_ms.max(able_ms) + ENDED_WITHIN_MS && is_well {
                return self.broken(Promise::Cancelled, format!("job {job} was cancelled long ago"));
            }
            let before_ms = now_ms - STOPPED_WITHIN_MS;
            if cancelled_ms > before_ms {
                continue;
            }
            let held = self.broker.work_of(job as u32).any(|(_, stored)| match stored.place {
                Place::Held(holder) => {
                    let process = &self.processes[holder.process];
                    let is_well =
                        process.incarnation == holder.incarnation && process.is_well_since(before_ms);
                    // One whose answer was lost has let go of it.
                    let is_in_hand = !self.tasks.of_job(holder.process, job as u32).is_empty();
                    is_well && is_in_hand && holder.from_ms < before_ms
                }
                _ => false,
            });
            if held {
                return self
                    .broken(Promise::Cancelled, format!("job {job} is cancelled, and a worker holds it"));
            }
        }
    }
}

impl SimulatedPorts {
    /// What a worker knew to be cancelled when it first got it is not said to have started.
    pub(super) fn watch_unbegun(&self, letter: &DeadLetter) {
        let Some(in_hand) = self.in_hand.filter(|in_hand| in_hand.deliveries == 1) else { return };
        let facts = &letter.ended_attempt;
        let is_ours = facts.worker.as_ref() == Some(&*self.worker);
        self.world(|world| {
            let is_unbegun = world.watch.unbegun.contains(&(in_hand.job, facts.attempt));
            if is_ours && is_unbegun && facts.started_at_ms.is_some() {
                let words = format!(
                    "attempt {}.{} was cancelled before its worker had it, and is said to have started",
                    in_hand.job, facts.attempt
                );
                world.broken(Promise::Cancelled, words);
            }
        });
    }

    /// Looks at an assignment that a router is about to publish.
    pub(super) fn watch_placed(&self, job: u32, assignment: &Assignment) {
        self.world(|world| {
            if world.processes[self.process].role != Role::Router {
                return;
            }
            // One whose event is there already is resumed, so that a worker or a cancel finds it; not by a router that knew
            // before it began.
            let is_resumed = world.watch.events[job as usize].iter().any(|event| {
                event.attempt == assignment.attempt && is_assigned(event) && event.time_ms < self.begun_ms
            });
            let process = &world.processes[self.process];
            let known_ms = process.cancels.get(&job).copied();
            let known_ms = known_ms.filter(|known_ms| !is_resumed || *known_ms < self.begun_ms);
            let Some(known_ms) = known_ms else { return };
            let since_ms = known_ms.max(process.resumed_ms).max(process.woke_ms);
            if known_ms < self.begun_ms || since_ms + PLACED_WITHIN_MS < world.now_ms {
                let words =
                    format!("attempt {job}.{} is placed after its cancel is known", assignment.attempt);
                world.broken(Promise::Cancelled, words);
            }
        });
    }
}

fn is_assigned(event: &Event) -> bool {
    matches!(event.fact, Fact::Assigned { .. })
}
