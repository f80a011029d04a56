//! The ports of the protocol's steps over the simulated world: one process's calls, of which each may be lost or
//! unanswered, and one of which may be muted.

mod sending;

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    Answer, ClaimError, ClaimStore, Claimed, FleetConfig, Held, Note, PortError, Ports, PublishError,
    Published, Record,
};
use schemas::reserve::Reservation;
use schemas::subjects::{self, Subject};
use schemas::{AttemptId, AttemptRecord, DeadLetter, JobId, Tenant, WorkerId};

use super::broker::{self, DEAD, Entry, Message, Named, Payload};
use super::executor::{Shared, until, when};
use super::inbox::Aside;
use super::mutation::Mutation;
use super::task::InHand;
use super::world::{Reach, World};
use sending::event_message;

/// Where a port is called, as the compiler names it.
pub type Site = &'static Location<'static>;

/// A process's way to the world, for one task.
#[derive(Clone)]
pub(crate) struct SimulatedPorts {
    pub(crate) shared: Shared,
    pub(crate) process: usize,
    /// The job that the task is about, if it is about one.
    pub(crate) job: Option<u32>,
    /// The assignment that the task is about, in a worker.
    pub(crate) in_hand: Option<InHand>,
    pub(crate) worker: Rc<WorkerId>,
    pub(crate) router: super::router::ports::Remembered,
    /// When the task began, Unix milliseconds.
    pub(crate) begun_ms: i64,
    /// What the task did, for the invariants.
    pub(crate) doings: Rc<Doings>,
    /// Money that is asked for too late (`Mutation::ReserveLate`).
    pub(crate) late: Rc<RefCell<Option<Reservation>>>,
}

/// What a task did, for the invariants.
#[derive(Debug, Default)]
pub(crate) struct Doings {
    /// Its last call to the broker, or the answer, was lost.
    pub(crate) last_was_lost: Cell<bool>,
    /// It put its result into the spool.
    pub(crate) spooled: Cell<bool>,
    /// It put the provider's id on its disk.
    pub(crate) kept: Cell<bool>,
    /// It acknowledged its message.
    pub(crate) acknowledged: Cell<bool>,
}

/// A message that is ready to be published.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    Message(Message),
    /// What is put aside for an operator.
    Parked(Aside),
    /// What was to be copied is gone.
    Nothing,
}

impl SimulatedPorts {
    pub(crate) fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.shared.borrow_mut())
    }

    /// Whether the call at a site does nothing in this run.
    pub(crate) fn is_muted(&self, site: Site, port: &'static str) -> bool {
        self.world(|world| {
            if !site.file().contains("protocol/src/") {
                return false;
            }
            if let Some(sites) = &mut world.sites {
                sites.insert(site, port);
            }
            world.muted.is_some_and(|muted| muted == site)
        })
    }

    /// The time that a call takes.
    pub(crate) async fn moment(&self) {
        let at_ms = self.world(|world| world.now_ms + world.moment());
        until(&self.shared, at_ms).await;
    }

    pub(crate) async fn pause(&self, wait_ms: i64) {
        let at_ms = self.world(|world| world.now_ms + wait_ms);
        until(&self.shared, at_ms).await;
    }

    /// A process that is to be stopped the moment it holds a new claim is stopped now.
    async fn spring_trap(&self) {
        let trap = self.world(|world| world.processes[self.process].trapped_ms.take());
        if let Some(for_ms) = trap {
            self.world(|world| world.pause(self.process, for_ms));
            self.moment().await;
        }
    }

    /// A call to the broker, and whether its answer came.
    pub(crate) async fn call<T>(&self, act: impl FnOnce(&mut World) -> T) -> Result<T, PortError> {
        let (reach, answer) = self.world(|world| {
            let reach = world.reach(self.process);
            (reach, (reach != Reach::Nowhere).then(|| act(world)))
        });
        self.doings.last_was_lost.set(reach != Reach::Through);
        self.moment().await;
        match answer {
            Some(answer) if reach == Reach::Through => Ok(answer),
            _ => Err(PortError::Away { what: "a call", source: "lost".into() }),
        }
    }

    /// Answers a delivery; whether the answer arrives is not known.
    pub(crate) fn say(&self, sequence: u64, answer: Answer) {
        self.world(|world| match answer {
            Answer::Acknowledge => {
                world.acknowledge(self.process, sequence, false);
            }
            Answer::HandBack(wait) => {
                let wait_ms = wait.map_or(1, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4));
                world.hand_back(self.process, sequence, wait_ms);
            }
            Answer::Extend => world.extend(self.process, sequence),
        });
    }

    /// What a worker would think that trusts the first delivery: it need not begin.
    fn looks_unbegun(&self) -> bool {
        let Some(in_hand) = self.in_hand.filter(|in_hand| in_hand.deliveries == 1) else { return false };
        self.world(|world| {
            let job = world.jobs[in_hand.job as usize].as_ref();
            let deadline_ms = job.and_then(|job| job.constraints.deadline_ms);
            let expired = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= world.now_ms);
            expired || world.processes[self.process].cancels.contains_key(&in_hand.job)
        })
    }

    pub(crate) fn mutation(&self) -> Mutation {
        self.world(|world| world.mutation)
    }
}

/// The number of a job in its run.
pub(crate) fn number(job: JobId) -> u32 {
    let bytes = job.0.as_bytes();
    u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
}

pub(crate) fn claim_key(attempt: AttemptId) -> (u32, u32) {
    (number(attempt.job), attempt.attempt)
}

fn held(entry: &Entry) -> Held {
    Held { record: Box::new(AttemptRecord::clone(&entry.record)), revision: entry.revision }
}

impl Ports for SimulatedPorts {
    type Message = Outgoing;

    fn now_ms(&self) -> i64 {
        self.world(|world| world.now_ms + world.processes[self.process].clock_ms)
    }

    async fn sleep(&self, time: Duration) {
        self.pause(i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)).await;
    }

    fn is_stopping(&self) -> bool {
        self.world(|world| world.processes[self.process].draining)
    }

    async fn stopping(&self) {
        when(&self.shared, |world| world.processes[self.process].draining).await;
    }

    #[track_caller]
    fn is_cancelled(&self, _: &Tenant, job: JobId) -> bool {
        let muted = self.is_muted(Location::caller(), "is_cancelled");
        !muted && self.world(|world| world.processes[self.process].cancels.contains_key(&number(job)))
    }

    fn config(&self) -> FleetConfig {
        self.world(|world| {
            let setting = &world.setting;
            let job = self.job.and_then(|job| world.jobs[job as usize].as_ref());
            let tenants = match job {
                Some(job) => setting.tenants_for(job, world.mutation),
                None => Arc::clone(&setting.tenants),
            };
            FleetConfig {
                policy: Arc::clone(&setting.policy),
                catalog: Arc::clone(&setting.catalog),
                prices: Arc::clone(&setting.prices),
                tenants,
                unreadable: if world.now_ms < world.processes[self.process].unreadable_until_ms {
                    vec!["tenants"]
                } else {
                    Vec::new()
                },
            }
        })
    }

    fn message(&self, record: Record<'_>) -> Outgoing {
        let mutation = self.mutation();
        Outgoing::Message(match record {
            Record::Event(event) => event_message(mutation, event, None),
            Record::EventAfter(event, sequence) => event_message(mutation, event, Some(sequence)),
            Record::Work(assignment) => Message {
                consumer: self
                    .world(|world| world.setting.work_consumer(&assignment.backend, &assignment.queue())),
                job: number(assignment.job.id),
                payload: Payload::Work(Rc::new(assignment.clone())),
                id: Some((assignment.attempt, Named::Work)),
                expected: None,
            },
            Record::Failed(letter) => Message {
                consumer: DEAD,
                job: number(letter.assignment.job.id),
                payload: Payload::Dead(Rc::new(DeadLetter {
                    time_ms: letter.time_ms + self.world(|world| world.processes[self.process].stamps_ms),
                    ..letter.clone()
                })),
                id: Some((letter.assignment.attempt, Named::Dead)),
                expected: None,
            },
            Record::Parked { id, tenant, job, parked } => {
                return Outgoing::Parked(Aside::of(id, tenant, job, parked));
            }
            Record::Copy { message, .. } => match self.copy_of(message.sequence) {
                Some(copy) if matches!(copy.payload, Payload::Unreadable(_)) => {
                    let is_passed_on = matches!(subjects::parse(&message.subject), Some(Subject::Dead(..)));
                    let consumer = if is_passed_on { DEAD } else { copy.consumer };
                    Message { consumer, payload: Payload::Unreadable(message.subject.clone()), ..copy }
                }
                Some(copy) => copy,
                None => return Outgoing::Nothing,
            },
        })
    }

    #[track_caller]
    fn publish(&self, message: &Outgoing) -> impl Future<Output = Result<Published, PublishError>> {
        let muted = self.is_muted(Location::caller(), "publish");
        async move {
            if muted {
                return Ok(Published::New);
            }
            let message = match message {
                Outgoing::Message(message) => message,
                Outgoing::Nothing => return Ok(Published::New),
                Outgoing::Parked(aside) => return self.store_aside(aside).await,
            };
            self.watch_publish(message);
            self.before_publish(message).await;
            let published = self.publish_patiently(message).await?;
            self.after_publish(message).await;
            match published {
                broker::Published::New => Ok(Published::New),
                broker::Published::Repeat => Ok(Published::Repeat),
                broker::Published::Occupied => Err(PublishError::Occupied { subject: String::new() }),
            }
        }
    }

    #[track_caller]
    fn store(&self, record: Record<'_>) -> impl Future<Output = Result<Published, PublishError>> {
        let muted = self.is_muted(Location::caller(), "store");
        let message = if muted { Outgoing::Nothing } else { self.message(record) };
        async move { if muted { Ok(Published::New) } else { self.publish(&message).await } }
    }

    #[track_caller]
    fn create_claim(&self, record: AttemptRecord) -> impl Future<Output = Result<Claimed, ClaimError>> {
        let muted = self.is_muted(Location::caller(), "create_claim");
        async move {
            let attempt = record.id();
            let is_router = record.worker.as_str() == "router-sweep";
            let mutation = self.mutation();
            let skipped = (mutation == Mutation::PurgeClaimed && is_router)
                || (mutation == Mutation::SkipTheIntent && !is_router)
                || (mutation == Mutation::TrustFirstDelivery && !is_router && self.looks_unbegun());
            if muted || skipped {
                return Ok(Claimed::Granted(Held { record: Box::new(record), revision: 0 }));
            }
            let stored = Rc::new(record.clone());
            let created =
                self.call(|world| world.broker.create_claim(claim_key(attempt), stored, world.now_ms)).await;
            match created.map_err(|source| ClaimError::Port { attempt, source })? {
                Err(None) => Err(full(attempt)),
                Ok(revision) => {
                    self.spring_trap().await;
                    Ok(Claimed::Granted(Held { record: Box::new(record), revision }))
                }
                Err(Some(entry)) => Ok(Claimed::AlreadyClaimed(held(&entry))),
            }
        }
    }

    #[track_caller]
    fn read_claim(&self, attempt: AttemptId) -> impl Future<Output = Result<Option<Held>, ClaimError>> {
        let muted = self.is_muted(Location::caller(), "read_claim");
        async move {
            if muted {
                return Ok(None);
            }
            let read =
                self.call(|world| world.broker.claim(claim_key(attempt), world.now_ms).map(held)).await;
            read.map_err(|source| ClaimError::Port { attempt, source })
        }
    }

    #[track_caller]
    fn write_claim(
        &self,
        held: &mut Held,
        record: AttemptRecord,
    ) -> impl Future<Output = Result<(), ClaimError>> {
        let muted = self.is_muted(Location::caller(), "write_claim");
        async move {
            let is_unclaimed = held.revision == 0 && self.in_hand.is_some();
            if muted || is_unclaimed {
                *held.record = record;
                return Ok(());
            }
            let attempt = record.id();
            let mutation = self.mutation();
            let on = (mutation != Mutation::IgnoreTheRevision).then_some(held.revision);
            let stored = Rc::new(record.clone());
            let is_outcome = record.outcome.is_some();
            let (written, is_full) = self
                .call(|world| {
                    let now_ms = world.now_ms;
                    let written = world.broker.write_claim(claim_key(attempt), stored, on, now_ms);
                    (written, world.broker.are_claims_full(now_ms))
                })
                .await
                .map_or_else(|error| (Err(error), false), |(written, is_full)| (Ok(written), is_full));
            match written {
                Ok(None) if is_full => Err(full(attempt)),
                Ok(Some(revision)) => {
                    *held = Held { record: Box::new(record), revision };
                    Ok(())
                }
                _ if mutation == Mutation::TellUnrecorded && is_outcome => Ok(()),
                Ok(None) => Err(ClaimError::Lost(attempt)),
                Err(source) => Err(ClaimError::Port { attempt, source }),
            }
        }
    }

    #[track_caller]
    fn claim_store(&self) -> impl Future<Output = Result<ClaimStore, PortError>> {
        let muted = self.is_muted(Location::caller(), "claim_store");
        let ages = !muted && self.mutation() != Mutation::IgnoreTheAgeOfClaims;
        async move {
            self.call(|_| ()).await?;
            Ok(ClaimStore { created_at_ms: 0, kept_ms: ages.then_some(broker::CLAIMS_KEPT_MS) })
        }
    }

    fn note(&self, _note: Note<'_>) {}
}

fn full(attempt: AttemptId) -> ClaimError {
    ClaimError::Full { attempt, source: "full".into() }
}
