//! What operations do to the world.

use std::rc::Rc;

use schemas::{
    ArtifactRef, Body, Constraints, Fact, Input, Job, Lane, MicroUsd, Preferences, SCHEMA_VERSION, subjects,
};

use super::broker::{Consumer, LANES, Message, Named, Payload, Place};
use super::money::job_id;
use super::operations::{Operation, Order};
use super::process::Role;
use super::schedule::Happening;
use super::setting::LOCAL;
use super::world::World;

/// For how long clients publish a job again, milliseconds.
const AGAIN_WITHIN_MS: i64 = policy::admit::ID_BEHIND_MAX_MS - 60_000;
/// After the hard stop a draining process is gone within this, milliseconds.
const LET_GO_MS: i64 = 3_000;

impl World {
    pub(crate) fn operate(&mut self, place: usize) {
        self.to_come -= 1;
        let operation = self.operations[place].1;
        match operation {
            Operation::Submit(order) => {
                if let Some(input_ms) = order.input_ms {
                    self.uploads.insert(order.job, self.now_ms + input_ms);
                }
                self.jobs[order.job as usize] = Some(Rc::new(self.job(order)));
                self.to_come += 1;
                self.submit(order.job, 0);
            }
            Operation::Again { job } => {
                // No client publishes anything again whose id routers take for too old.
                let made_ms = self.jobs[job as usize].as_ref().map(|body| body.time_ms);
                if made_ms.is_some_and(|made_ms| self.now_ms - made_ms < AGAIN_WITHIN_MS) {
                    self.to_come += 1;
                    self.submit(job, 0);
                }
            }
            Operation::Cancel { job } => self.ask_to_cancel(job),
            Operation::Remake { consumer } => {
                if consumer < self.broker.ready.len() {
                    self.broker.remake(consumer);
                    self.remade_ms = self.now_ms;
                    self.dispatch(consumer);
                }
            }
            Operation::Purge { job } => self.purge_by_hand(job),
            Operation::Garble { job } => self.garble(job),
            Operation::Redeliver { job } => self.redeliver(job),
            Operation::Kill { process, for_ms } => self.kill(process, for_ms),
            Operation::Pause { process, for_ms } => self.pause(process, for_ms),
            Operation::Cut { process, for_ms } => self.cut(process, for_ms),
            Operation::Lossy { process, for_ms } => {
                self.processes[process].lossy_until_ms = self.now_ms + for_ms;
            }
            Operation::Clock { process, off_ms, stamps_ms } => {
                let found = &mut self.processes[process];
                (found.clock_ms, found.stamps_ms) = (off_ms, stamps_ms);
            }
            Operation::Drain { process, for_ms } => {
                let found = &mut self.processes[process];
                if found.up && !found.draining {
                    found.draining = true;
                    let incarnation = found.incarnation;
                    self.tasks.of(process).into_iter().for_each(|number| self.wake(number));
                    self.to_come += 1;
                    self.schedule.at(self.now_ms + for_ms, Happening::LetGo { process, incarnation });
                }
            }
            Operation::Provider { backend, trouble, for_ms } => {
                self.providers[backend].trouble(trouble, self.now_ms + for_ms);
            }
            Operation::Restart { backend } => {
                self.providers[backend].restart(self.now_ms);
                for process in 0..self.processes.len() {
                    if self.processes[process].role == Role::Worker(backend) {
                        self.tasks.of(process).into_iter().for_each(|number| self.wake(number));
                    }
                }
            }
            Operation::Trap { process, for_ms } => self.processes[process].trapped_ms = Some(for_ms),
            Operation::Snatch { process, for_ms, cancel_ms } => {
                self.processes[process].snatched = Some((for_ms, cancel_ms));
            }
            Operation::Sever { process, for_ms } => self.processes[process].severed_ms = Some(for_ms),
            Operation::StoreFull { for_ms } => {
                self.store_full_until_ms = self.store_full_until_ms.max(self.now_ms + for_ms);
            }
            Operation::LedgerAway { for_ms } => {
                self.books.away_until_ms = self.books.away_until_ms.max(self.now_ms + for_ms);
            }
            Operation::MakeRoom => self.make_room(),
            Operation::ClaimsFull { for_ms } => self.broker.claims_full_until_ms = self.now_ms + for_ms,
            Operation::Unreadable { process, for_ms } => {
                self.processes[process].unreadable_until_ms = self.now_ms + for_ms;
            }
            Operation::Older { process, for_ms } => {
                self.kill(process, 500);
                self.processes[process].older_until_ms = self.now_ms + for_ms;
            }
            Operation::StandStill { for_ms } => self.stand_still(for_ms),
            Operation::Broker { for_ms } => {
                self.broker.forget_unconfirmed(self.now_ms - 20);
                self.broker.forget_ids();
                // Rare in life: each time is worth many.
                if self.chance.per_mille(500) {
                    let chance = &mut self.chance;
                    self.figures.passed_over += self.broker.pass_over(|| chance.per_mille(250));
                    for stored in self.broker.messages.values() {
                        if let (Payload::Work(work), Place::Passed) = (&stored.payload, stored.place) {
                            self.watch.passed_over((stored.job, work.attempt));
                        }
                    }
                }
                self.broker.down_until_ms = self.broker.down_until_ms.max(self.now_ms + for_ms);
                self.to_come += 1;
                self.schedule.at(self.now_ms + for_ms, Happening::BrokerBack);
            }
        }
    }

    /// A client publishes, and does so again until the broker confirms.
    pub(crate) fn submit(&mut self, job: u32, tries: u32) {
        let Some(body) = self.jobs[job as usize].clone() else { return };
        if self.now_ms < self.broker.down_until_ms {
            let at_ms = self.broker.down_until_ms + self.chance.between(1, 500);
            return self.schedule.at(at_ms, Happening::Publish { job, tries });
        }
        let lane: Consumer = LANES + Lane::ALL.iter().position(|lane| *lane == body.lane).unwrap_or_default();
        self.store(&Message {
            consumer: lane,
            job,
            payload: Payload::Job(body),
            id: Some((0, Named::Job)),
            expected: None,
        });
        self.watch.accepted(job);
        if tries < 3 && self.chance.per_mille(10) {
            self.figures.lost_answers += 1;
            let at_ms = self.now_ms + 5_000;
            return self.schedule.at(at_ms, Happening::Publish { job, tries: tries + 1 });
        }
        self.to_come -= 1;
    }

    fn job(&self, order: Order) -> Job {
        let backend = |number: usize| self.setting.backends[number].clone();
        Job {
            schema_version: SCHEMA_VERSION,
            id: job_id(self.seed, order.job, self.now_ms),
            time_ms: self.now_ms,
            tenant: self.setting.owner(order.generous, order.job),
            lane: Lane::ALL.get(order.lane).copied().unwrap_or(Lane::Unknown),
            body: Body {
                prompt: Some("a lighthouse at dusk".to_owned()),
                model: (!order.large).then(|| "sd15".to_owned()),
                steps: order.invalid.then_some(9_999),
                inputs: self.inputs(order),
                ..Body::default()
            },
            constraints: Constraints {
                max_cost_micro_usd: order.cost_micro_usd.map(MicroUsd),
                deadline_ms: order.deadline_ms.map(|deadline_ms| self.now_ms + deadline_ms),
                backends: order.only.map(|only| vec![backend(only)]),
                exclude_backends: if order.away { vec![backend(LOCAL)] } else { Vec::new() },
                allow_paid: order.paid,
                ..Constraints::default()
            },
            preferences: Preferences::default(),
            labels: std::collections::BTreeMap::new(),
            idempotency_key: order.key.map(|key| format!("key-{key}")),
            unknown: schemas::UnknownFields::default(),
        }
    }

    fn inputs(&self, order: Order) -> Vec<Input> {
        let uploaded = order.input_ms.map(|_| Input {
            name: "upload.png".to_owned(),
            artifact: ArtifactRef::new("ARTIFACTS", format!("in/{}", order.job)),
            media_type: "image/png".to_owned(),
            unknown: schemas::UnknownFields::default(),
        });
        order.uses.and_then(|of| self.result_of(of)).into_iter().chain(uploaded).collect()
    }

    /// Until when an uploaded input is kept, Unix milliseconds.
    pub(crate) fn upload_of(&self, input: &Input) -> Option<i64> {
        let job = input.artifact.key.strip_prefix("in/")?.parse().ok()?;
        self.uploads.get(&job).copied()
    }

    /// The first file that a job has made so far, as an input.
    fn result_of(&self, job: u32) -> Option<Input> {
        let artifact = self.broker.log.get(job as usize)?.iter().find_map(|event| match &event.fact {
            Fact::Ended { artifacts, .. } => artifacts.first(),
            _ => None,
        })?;
        Some(Input {
            name: "photo.png".to_owned(),
            artifact: artifact.at.clone(),
            media_type: artifact.media_type.clone(),
            unknown: schemas::UnknownFields::default(),
        })
    }

    /// Any router that can be reached takes the request; with none the client gives up.
    pub(crate) fn ask_to_cancel(&mut self, job: u32) {
        let now_ms = self.now_ms;
        let there =
            |process: &super::process::Process| process.role == Role::Router && process.is_reachable(now_ms);
        if let Some(process) = self.processes.iter().position(there) {
            self.route_cancel(process, job);
        }
    }

    fn purge_by_hand(&mut self, job: u32) {
        let work = self.broker.work_of(job).filter(|(_, stored)| {
            matches!(&stored.payload, Payload::Work(assignment) if assignment.decision.is_none())
        });
        let removed: Vec<u64> = work.map(|(sequence, _)| sequence).collect();
        for sequence in removed {
            self.broker.delete(sequence);
            self.figures.purged += 1;
            self.purged.insert(job);
        }
    }

    fn garble(&mut self, job: u32) {
        for stored in self.broker.messages.values_mut().filter(|stored| stored.job == job) {
            // What no consumer delivers stays as it is: nothing would read it.
            if !stored.place.is_for_a_consumer() {
                continue;
            }
            if let Payload::Work(assignment) = &stored.payload
                && assignment.decision.is_none()
            {
                self.broker.garbled.insert(job);
                stored.payload = Payload::Unreadable(subjects::work(
                    &assignment.backend,
                    &assignment.queue(),
                    assignment.job.id,
                ));
            }
        }
    }

    /// A worker that is to be lost over what it holds now is lost.
    pub(crate) fn lose(&mut self, process: usize, job: u32) {
        let found = &mut self.processes[process];
        let incarnation = found.incarnation;
        if let Some((for_ms, cancel_ms)) = found.snatched.take() {
            // Before its claim says what it holds, or after.
            let at_ms = self.now_ms + self.chance.between(0, 30);
            self.schedule.at(at_ms, Happening::Die { process, incarnation, for_ms });
            if let Some(cancel_ms) = cancel_ms {
                self.schedule.at(at_ms + cancel_ms, Happening::Ask { job });
            }
        }
    }

    pub(crate) fn cut(&mut self, process: usize, for_ms: i64) {
        let found = &mut self.processes[process];
        self.figures.cuts += 1;
        found.cut_until_ms = found.cut_until_ms.max(self.now_ms + for_ms);
        self.to_come += 1;
        self.schedule.at(self.now_ms + for_ms, Happening::Heal { process });
    }

    fn redeliver(&mut self, job: u32) {
        let held: Vec<(u64, u32)> = self
            .broker
            .messages
            .iter()
            .filter(|(_, stored)| stored.job == job && matches!(stored.place, Place::Held(_)))
            .map(|(sequence, stored)| (*sequence, stored.token))
            .collect();
        for (sequence, token) in held {
            if let Some(consumer) = self.broker.make_ready(sequence, token) {
                self.dispatch(consumer);
            }
        }
    }

    pub(crate) fn kill(&mut self, process: usize, for_ms: i64) {
        if !self.processes[process].up {
            return;
        }
        self.figures.kills += 1;
        let cut_until_ms = self.processes[process].cut_until_ms;
        self.processes[process].kill(self.now_ms);
        self.processes[process].cut_until_ms = cut_until_ms;
        self.tasks.remove_of(process);
        let incarnation = self.processes[process].incarnation;
        self.to_come += 1;
        self.schedule.at(self.now_ms + for_ms, Happening::Restart { process, incarnation });
    }

    pub(crate) fn pause(&mut self, process: usize, for_ms: i64) {
        let found = &mut self.processes[process];
        if !found.up || found.paused {
            return;
        }
        self.figures.pauses += 1;
        found.paused = true;
        found.paused_ms = self.now_ms;
        let incarnation = found.incarnation;
        self.to_come += 1;
        self.schedule.at(self.now_ms + for_ms, Happening::Resume { process, incarnation });
    }

    /// A stopped process goes on, with what it knew, and with everything that came for it meanwhile.
    pub(crate) fn resume(&mut self, process: usize, incarnation: u32) {
        self.to_come -= 1;
        let found = &mut self.processes[process];
        if found.incarnation != incarnation || !found.paused {
            return;
        }
        found.paused = false;
        found.resumed_ms = self.now_ms;
        let frozen = std::mem::take(&mut found.frozen);
        for happening in frozen {
            let at_ms = self.now_ms + self.chance.between(0, 20);
            self.schedule.at(at_ms, happening);
        }
    }

    pub(crate) fn heal(&mut self, process: usize) {
        self.to_come -= 1;
        let found = &mut self.processes[process];
        if self.now_ms < found.cut_until_ms || !found.up {
            return;
        }
        if !found.paused {
            self.catch_up(process);
            self.dispatch_to(process);
        }
    }

    /// The hard stop of a draining process; a moment later it is gone.
    pub(crate) fn let_go(&mut self, process: usize, incarnation: u32) {
        self.to_come -= 1;
        let found = &mut self.processes[process];
        if found.incarnation != incarnation {
            return;
        }
        if found.letting_go {
            self.kill(process, 500);
            return;
        }
        found.letting_go = true;
        self.tasks.of(process).into_iter().for_each(|number| self.wake(number));
        self.to_come += 1;
        self.schedule.at(self.now_ms + LET_GO_MS, Happening::LetGo { process, incarnation });
    }
}
