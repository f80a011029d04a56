//! What only workers call in the simulated world.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use protocol::worker::{
    Found, NoRoom, Preparation, Ran, SpoolPorts, StoredFiles, Unreadable, WorkerPorts, machine,
};
use protocol::{Answer, PortError};
use schemas::codec::DecodeError;
use schemas::{
    Assignment, AttemptId, AttemptRecord, Class, DeliveredResult, FailureCode, JobId, Outcome, Phase,
    WorkerId,
};

use super::attempt::SimulatedAttempt;
use super::backend::artifact_of;
use crate::simulation::broker::Payload;
use crate::simulation::executor::when;
use crate::simulation::ports::{SimulatedPorts, claim_key, number};
use crate::simulation::process::Role;
use crate::simulation::setting::{CLOUD, LOCAL};
use crate::simulation::task::Delivery;

/// A spooled result; its files are not simulated.
pub(crate) struct Spooled(DeliveredResult);

impl AsRef<DeliveredResult> for Spooled {
    fn as_ref(&self) -> &DeliveredResult {
        &self.0
    }
}

impl SpoolPorts for SimulatedPorts {
    type Spooled = Spooled;

    #[track_caller]
    fn spooled_attempts(&self) -> Vec<AttemptId> {
        if self.is_muted(Location::caller(), "spooled_attempts") {
            return Vec::new();
        }
        self.world(|world| world.spools[self.process].keys().copied().collect())
    }

    #[track_caller]
    fn take_spooled(&self, attempt: AttemptId) -> impl Future<Output = Option<Spooled>> {
        let muted = self.is_muted(Location::caller(), "take_spooled");
        async move {
            let taken = self.world(|world| {
                let spooled = world.spools[self.process].get(&attempt).filter(|_| !muted)?.clone();
                world.processes[self.process].spooled_in_hand.insert(attempt).then_some(Spooled(spooled))
            });
            self.moment().await;
            taken
        }
    }

    #[track_caller]
    fn store_spooled(
        &self,
        attempt: AttemptId,
        _spooled: &Spooled,
    ) -> impl Future<Output = Result<StoredFiles, PortError>> {
        let muted = self.is_muted(Location::caller(), "store_spooled");
        async move {
            if muted {
                return Ok(StoredFiles { artifacts: Vec::new(), manifest: None });
            }
            self.watch_storing(attempt);
            let is_full = self.call(|world| world.now_ms < world.store_full_until_ms).await?;
            if is_full {
                return Err(PortError::Refused { what: "storing", source: "the store is full".into() });
            }
            Ok(StoredFiles { artifacts: vec![artifact_of(attempt)], manifest: None })
        }
    }

    #[track_caller]
    fn release_spooled(&self, attempt: AttemptId) {
        if !self.is_muted(Location::caller(), "release_spooled") {
            self.world(|world| world.processes[self.process].spooled_in_hand.remove(&attempt));
        }
    }

    #[track_caller]
    fn remove_spooled(&self, attempt: AttemptId) {
        if !self.is_muted(Location::caller(), "remove_spooled") {
            self.watch_removed(attempt);
            self.world(|world| {
                world.spools[self.process].remove(&attempt);
                world.processes[self.process].spooled_in_hand.remove(&attempt);
            });
        }
    }

    #[track_caller]
    fn keep_claim(&self, record: &AttemptRecord) -> impl Future<Output = ()> {
        let muted = self.is_muted(Location::caller(), "keep_claim");
        async move {
            if !muted {
                self.world(|world| {
                    world.kept_claims[self.process].insert(record.id(), record.clone());
                    world.processes[self.process].spooled_in_hand.insert(record.id());
                });
                self.doings.kept.set(true);
                self.moment().await;
            }
        }
    }

    #[track_caller]
    fn kept_claims(&self) -> Vec<AttemptRecord> {
        if self.is_muted(Location::caller(), "kept_claims") {
            return Vec::new();
        }
        self.world(|world| {
            let in_hand = &world.processes[self.process].spooled_in_hand;
            let kept = world.kept_claims[self.process].iter();
            kept.filter(|(attempt, _)| !in_hand.contains(attempt)).map(|(_, record)| record.clone()).collect()
        })
    }

    #[track_caller]
    fn forget_claim(&self, attempt: AttemptId) {
        if !self.is_muted(Location::caller(), "forget_claim") {
            self.watch_forgotten(attempt);
            self.world(|world| world.kept_claims[self.process].remove(&attempt));
        }
    }
}

impl WorkerPorts for SimulatedPorts {
    type Delivered = Delivery;
    type Attempt = SimulatedAttempt;
    type Room = ();
    type Waiting = ();

    fn worker(&self) -> &WorkerId {
        &self.worker
    }

    fn is_simulated(&self) -> bool {
        true
    }

    async fn hard_stopping(&self) {
        when(&self.shared, |world| world.processes[self.process].letting_go).await;
    }

    fn open(&self, delivered: &mut Delivery) -> Result<Arc<Assignment>, Box<Unreadable>> {
        match &delivered.payload {
            Payload::Work(assignment) => Ok(Arc::new(Assignment::clone(assignment))),
            Payload::Unreadable(subject) => Err(Box::new(Unreadable {
                error: unreadable(),
                subject: subject.clone(),
                content_type: None,
                payload: Vec::new(),
                sequence: delivered.sequence,
            })),
            _ => unreachable!("workers pull assignments"),
        }
    }

    fn stored_at_ms(&self, delivered: &Delivery) -> i64 {
        delivered.published_ms
    }

    fn deliveries(&self, delivered: &Delivery) -> i64 {
        i64::from(delivered.delivered)
    }

    #[track_caller]
    fn answer(&self, delivered: &Delivery, answer: Answer) -> impl Future<Output = Result<(), PortError>> {
        let (muted, sequence) = (self.is_muted(Location::caller(), "answer"), delivered.sequence);
        async move {
            if !muted {
                self.say(sequence, answer);
            }
            Ok(())
        }
    }

    #[track_caller]
    fn acknowledge_confirmed(&self, delivered: &Delivery) -> impl Future<Output = Result<(), PortError>> {
        let muted = self.is_muted(Location::caller(), "acknowledge_confirmed");
        let sequence = delivered.sequence;
        async move {
            if muted || self.world(|world| world.acknowledge(self.process, sequence, true)) {
                self.doings.acknowledged.set(true);
                self.moment().await;
                return Ok(());
            }
            self.moment().await;
            Err(PortError::Away { what: "acknowledging", source: "lost".into() })
        }
    }

    #[track_caller]
    fn acknowledge_late(&self, delivered: &Delivery) -> impl Future<Output = ()> {
        let muted = self.is_muted(Location::caller(), "acknowledge_late");
        let sequence = delivered.sequence;
        async move {
            if !muted {
                self.say(sequence, Answer::Acknowledge);
            }
        }
    }

    fn bills(&self) -> bool {
        self.backend() != LOCAL
    }

    /// RunPod calls back with the id.
    fn reports(&self, _assignment: &Assignment) -> bool {
        self.backend() == CLOUD
    }

    fn attempt(&self, preparation: Preparation<'_>) -> SimulatedAttempt {
        SimulatedAttempt::new(Rc::clone(&self.shared), preparation)
    }

    #[track_caller]
    fn register(&self, attempt: &SimulatedAttempt) {
        let muted = self.is_muted(Location::caller(), "register");
        let job = number(attempt.assignment.job.id);
        self.world(|world| {
            world.figures.attempts += 1;
            if !muted {
                world.processes[self.process].running.insert(job, Rc::clone(&attempt.stopper));
            }
        });
    }

    #[track_caller]
    fn unregister(&self, job: JobId) {
        if !self.is_muted(Location::caller(), "unregister") {
            self.world(|world| world.processes[self.process].running.remove(&number(job)));
        }
    }

    async fn run(&self, attempt: &SimulatedAttempt) -> Outcome {
        self.run_at_provider(attempt).await
    }

    /// Neither paid provider knows a start by a name of ours.
    async fn find(&self, _attempt: &SimulatedAttempt) -> Found {
        self.world(|world| world.figures.unknown_outcomes += 1);
        self.moment().await;
        Found::Unknown
    }

    #[track_caller]
    fn abandon(&self, attempt: &SimulatedAttempt) -> impl Future<Output = ()> {
        let muted = self.is_muted(Location::caller(), "abandon");
        self.world(|world| {
            if muted {
                return;
            }
            if let Some(run) = world.providers[LOCAL].find(claim_key(attempt.assignment.id())) {
                world.providers[LOCAL].cancel(run, world.now_ms);
            }
        });
        std::future::ready(())
    }

    fn progress(&self, _assignment: &Assignment, _phase: Phase, _detail: Option<&str>) {}

    fn learn(&self, ran: Ran<'_>) {
        self.world(|world| {
            let class = world.setting.classes.iter().position(|class| class == ran.class);
            if world.processes[self.process].role == Role::Worker(LOCAL) {
                let (policy, now_ms) = (Arc::clone(&world.setting.policy), world.now_ms);
                let breaker = &mut world.processes[self.process].breaker;
                match ran.failure {
                    Some(failure) => breaker.on_failure(ran.job, failure, &policy, now_ms),
                    None => breaker.on_success(),
                }
                let is_open = breaker.is_open(now_ms);
                world.processes[self.process].healthy &= !is_open;
            }
            world.figures.unknown_outcomes +=
                u64::from(ran.failure.is_some_and(|failure| failure.code == FailureCode::OutcomeUnknown));
            if let (Some(class), None) = (class, ran.failure) {
                let learned = &mut world.processes[self.process].learned_ms;
                let now = machine::learn(learned.get(&class).copied(), ran.run_ms);
                learned.insert(class, now);
            }
        });
    }

    fn expected_bytes(&self, _class: &Class) -> u64 {
        0
    }

    fn reserve_room(&self, _bytes: u64) -> Result<(), NoRoom> {
        let is_full = self.world(|world| world.now_ms < world.store_full_until_ms);
        if is_full { Err(NoRoom("the store is full".to_owned())) } else { Ok(()) }
    }

    fn wait_for_room(&self, _bytes: u64) {
        self.watch_waiting_for_room();
    }

    async fn room_changed(&self, _waiting: &mut ()) {
        std::future::pending::<()>().await;
    }
}

/// What decoding says of bytes that say nothing.
pub(crate) fn unreadable() -> DecodeError {
    DecodeError::ContentType("none".to_owned())
}

impl SimulatedPorts {
    /// The backend that the process serves.
    fn backend(&self) -> usize {
        self.world(|world| match world.processes[self.process].role {
            crate::simulation::process::Role::Worker(backend) => backend,
            _ => LOCAL,
        })
    }
}
