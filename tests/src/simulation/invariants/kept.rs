//! What a worker owes: a provider's id and result are kept, and what it is done with has left its hands.

use schemas::{AttemptId, AttemptState, DeadLetter, FailureCode};

use super::Promise;
use crate::simulation::broker::{Holder, Payload, Place, WORK};
use crate::simulation::ports::{SimulatedPorts, claim_key};
use crate::simulation::process::{Process, Role};
use crate::simulation::provider::Run;
use crate::simulation::schedule::Happening;
use crate::simulation::setting::{CLOUD, LOCAL};
use crate::simulation::world::World;

/// How often a provider calls again that reaches no worker.
const REPORT_TRIES: u32 = 3;
/// A claim is as old as this before the invariants count on it, milliseconds: another delivery may just have made it.
const CLAIM_SETTLED_MS: i64 = 2_000;

/// What lies on a worker's disk is in its claim within this, milliseconds.
const KEPT_WITHIN_MS: i64 = 30_000;

impl SimulatedPorts {
    /// A worker is done with a delivery.
    pub(crate) fn watch_let_go(&self, attempt: Option<AttemptId>) {
        let Some(in_hand) = self.in_hand else { return };
        self.world(|world| {
            let process = &world.processes[self.process];
            let name = format!("attempt {}.{}", in_hand.job, attempt.map_or(0, |attempt| attempt.attempt));
            let is_held = world.broker.messages.get(&in_hand.sequence).is_some_and(|stored| {
                let is_here = matches!(stored.place, Place::Held(Holder { process, incarnation, .. })
                    if process == self.process && incarnation == world.processes[process].incarnation);
                is_here && stored.delivered == in_hand.deliveries
            });
            if is_held && process.lost_ms < in_hand.delivered_ms {
                return world.broken(Promise::LetGo, format!("{name} was let go of without an answer"));
            }
            let is_there = attempt.is_some_and(|attempt| world.spools[self.process].contains_key(&attempt));
            if self.doings.spooled.get() && self.doings.acknowledged.get() && is_there {
                world.broken(Promise::LetGo, format!("{name} is settled, and its result lies in the spool"));
            }
            let is_kept =
                attempt.is_some_and(|attempt| world.kept_claims[self.process].contains_key(&attempt));
            if self.doings.kept.get() && self.doings.acknowledged.get() && is_kept {
                world.broken(Promise::LetGo, format!("{name} is settled, and its id lies on the disk"));
            }
        });
    }

    /// The provider's id could not be recorded, says the worker.
    pub(crate) fn watch_unrecorded(&self, attempt: AttemptId, provider_id: &str) {
        self.world(|world| {
            let claim = world.broker.claim(claim_key(attempt), world.now_ms);
            let is_there =
                claim.is_some_and(|claim| claim.record.provider_id.as_deref() == Some(provider_id));
            if is_there && !self.doings.last_was_lost.get() {
                let words = format!("{provider_id} is in its claim, and its worker says that it is not");
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// A spooled result is about to be stored: its claim says that it was delivered.
    pub(crate) fn watch_storing(&self, attempt: AttemptId) {
        self.world(|world| {
            let is_marked = world.broker.claim(claim_key(attempt), world.now_ms).is_none_or(|claim| {
                claim.record.delivered.is_some() || claim.record.state == AttemptState::Settled
            });
            if !is_marked {
                let words = format!("the result of {} is stored, and its claim knows nothing", attempt.job);
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// A spooled result is about to be removed: its outcome is in the claim.
    pub(crate) fn watch_removed(&self, attempt: AttemptId) {
        self.world(|world| {
            let is_there = world.spools[self.process].contains_key(&attempt);
            let claim = world.broker.claim(claim_key(attempt), world.now_ms);
            if is_there && claim.is_some_and(|claim| claim.record.state != AttemptState::Settled) {
                let words = format!("a result of {} is thrown away, and is in no claim", attempt.job);
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// Free work that is over does not run on at our own server.
    pub(crate) fn watch_abandoned(&self, letter: &DeadLetter) {
        use FailureCode::{Cancelled, Expired, Poison};
        let code = letter.ended_attempt.failure.as_ref().map(|failure| failure.code);
        let is_over = matches!(code, Some(Cancelled | Expired | Poison));
        if self.in_hand.is_none() || !is_over {
            return;
        }
        self.world(|world| {
            let provider = &world.providers[LOCAL];
            let key = claim_key(letter.assignment.id());
            let run = provider.find(key).map(|run| &provider.runs[run]);
            // A consumer that was made anew calls any delivery the first: its worker does not ask the server then.
            let is_known = |run: &&Run| run.done_ms > world.now_ms && run.started_ms > world.remade_ms;
            // Of two deliveries in one worker's hands the other one ran it, and stops it in a moment.
            let is_stopping = !world.tasks.of_job(self.process, key.0).is_empty();
            let is_up = world.now_ms >= provider.down_until_ms;
            if is_up && !is_stopping && run.filter(is_known).is_some() {
                world.broken(Promise::LetGo, format!("attempt {}.{} is over, and runs on", key.0, key.1));
            }
        });
    }

    /// Before a worker pulls, the claims of what lies in its spool say so, unless a call was lost.
    pub(crate) fn watch_marked(&self) {
        self.world(|world| {
            if !world.processes[self.process].is_well_since(self.begun_ms) {
                return;
            }
            let unmarked = world.spools[self.process].keys().find(|attempt| {
                let claim = world.broker.claim(claim_key(**attempt), world.now_ms);
                // One that another worker writes meanwhile is written by the next look.
                claim.is_some_and(|claim| {
                    let is_silent =
                        claim.record.delivered.is_none() && claim.record.state != AttemptState::Settled;
                    is_silent && claim.written_ms < self.begun_ms
                })
            });
            if let Some(attempt) = unmarked {
                let words =
                    format!("a result of {} lies in the spool, and its claim knows nothing", attempt.job);
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// A provider's report was taken.
    pub(crate) fn watch_reported(&self, attempt: AttemptId) {
        self.world(|world| {
            let is_missing = world.broker.claim(claim_key(attempt), world.now_ms).is_some_and(|claim| {
                claim.record.provider_id.is_none() && claim.record.state != AttemptState::Settled
            });
            if is_missing {
                let words = format!("the provider's report of {} was taken, and left no trace", attempt.job);
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// A worker waits for room before it begins: nothing has begun it before.
    pub(crate) fn watch_waiting_for_room(&self) {
        let Some(in_hand) = self.in_hand else { return };
        let settled_ms = CLAIM_SETTLED_MS + policy::clocks::SKEW_MAX_MS.cast_signed();
        self.world(|world| {
            let Some(stored) = world.broker.messages.get(&in_hand.sequence) else { return };
            let Payload::Work(assignment) = &stored.payload else { return };
            let claim = world.broker.claim((in_hand.job, assignment.attempt), world.now_ms);
            let is_begun = claim.is_some_and(|claim| claim.record.claimed_at_ms < world.now_ms - settled_ms);
            if is_begun {
                world.broken(Promise::Kept, format!("job {} was begun, and waits for room", in_hand.job));
            }
        });
    }
}

impl SimulatedPorts {
    /// A provider's id is recorded, or lies on the disk, says the worker.
    pub(crate) fn watch_named(&self, attempt: AttemptId) {
        self.world(|world| {
            let key = claim_key(attempt);
            let is_missing =
                world.broker.claim(key, world.now_ms).is_some_and(|claim| claim.record.provider_id.is_none());
            if is_missing && !world.kept_claims[self.process].contains_key(&attempt) {
                let words = format!(
                    "the provider's id of attempt {}.{} is said to be kept, and is not",
                    key.0, key.1
                );
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// An id on a worker's disk is forgotten: it is in its claim, or its attempt is settled.
    pub(crate) fn watch_forgotten(&self, attempt: AttemptId) {
        self.world(|world| {
            let is_kept = world.kept_claims[self.process].contains_key(&attempt);
            let claim = world.broker.claim(claim_key(attempt), world.now_ms);
            let is_needed = claim.is_none_or(|claim| {
                claim.record.provider_id.is_none() && claim.record.state != AttemptState::Settled
            });
            if is_kept && is_needed {
                let words =
                    format!("an id of a provider for {} is forgotten, and is in no claim", attempt.job);
                world.broken(Promise::Kept, words);
            }
        });
    }

    /// What a worker has an id for on its disk does not end as unknown in its hand.
    pub(crate) fn watch_known(&self, letter: &DeadLetter) {
        let facts = &letter.ended_attempt;
        let is_unknown =
            facts.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::OutcomeUnknown);
        if self.in_hand.is_none() || !is_unknown || facts.provider_id.is_some() {
            return;
        }
        self.world(|world| {
            if world.kept_claims[self.process].contains_key(&letter.assignment.id()) {
                let words =
                    format!("{} ends as unknown, and its worker has its id", letter.assignment.job.id);
                world.broken(Promise::Kept, words);
            }
        });
    }
}

impl World {
    /// An id on the disk of a worker that is well gets into its claim, once that has room.
    pub(super) fn watch_kept_ids(&mut self) {
        let before_ms = self.now_ms - KEPT_WITHIN_MS;
        if self.broker.claims_full_until_ms > before_ms || self.broker.down_until_ms > before_ms {
            return;
        }
        let left = self.processes.iter().enumerate().find_map(|(process, found)| {
            let mut kept = self.kept_claims[process].keys();
            let is_well = found.is_well_since(before_ms);
            kept.find(|attempt| is_well && !found.spooled_in_hand.contains(attempt))
                .map(|attempt| attempt.job)
        });
        if let Some(job) = left {
            self.broken(
                Promise::LetGo,
                format!("an id of a provider for {job} lies on a disk, and nobody needs it"),
            );
        }
    }

    /// A delivery was silent for too long: its holder must have been in trouble, or gone.
    pub(crate) fn watch_expired(&mut self, sequence: u64, holder: Holder) {
        let Some(stored) = self.broker.messages.get(&sequence) else { return };
        let (consumer, job) = (stored.consumer, stored.job);
        let process = &self.processes[holder.process];
        let is_well = process.incarnation == holder.incarnation && process.is_well_since(holder.from_ms);
        if consumer >= WORK && is_well && !self.tasks.of_job(holder.process, job).is_empty() {
            let words = format!("job {job} is in a healthy worker's hand, and is delivered to another");
            self.broken(Promise::LetGo, words);
        }
    }

    /// A provider reports under which id it knows an attempt, to any worker that it reaches.
    pub(crate) fn report(&mut self, job: u32, attempt: u32, run: usize, tries: u32) {
        let Some(body) = self.jobs[job as usize].clone() else { return };
        let now_ms = self.now_ms;
        let is_there =
            |process: &Process| process.role == Role::Worker(CLOUD) && process.is_reachable(now_ms);
        let Some(process) = self.processes.iter().position(is_there) else {
            if tries > 0 {
                let again = Happening::Report { job, attempt, run, tries: tries - 1 };
                self.schedule.at(now_ms + 10_000, again);
            }
            return;
        };
        let id = format!("{}-{run}", self.setting.backends[CLOUD]);
        self.take_report(process, AttemptId { job: body.id, attempt }, id);
    }

    /// A provider will report some work when it has ended there, or not at all.
    pub(crate) fn plan_report(&mut self, (job, attempt): (u32, u32), run: usize) {
        if self.chance.per_mille(150) {
            return;
        }
        let at_ms = self.providers[CLOUD].runs[run].done_ms + self.chance.between(5, 500);
        self.schedule.at(at_ms, Happening::Report { job, attempt, run, tries: REPORT_TRIES });
    }

    /// At rest: no process takes an attempt for running.
    pub(super) fn watch_running(&mut self) {
        let left = self.processes.iter().find_map(|process| process.running.keys().next().copied());
        if let Some(job) = left {
            self.broken(Promise::LetGo, format!("job {job} is over, and a worker takes it for running"));
        }
    }
}
