//! What only routers call in the simulated world.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use policy::fleet::Fleet;
use policy::inbox::{InboxShare, UseOf};
use protocol::router::rhythm;
use protocol::router::room::Room;
use protocol::router::too_new::Limits;
use protocol::router::{BucketEntry, KeysLeft, LastAssigned, LedgerAway, Queued, RouterPorts};
use protocol::{Answer, PortError, StoredMessage};
use schemas::reserve::{Grant, Reservation};
use schemas::topology::{bucket, stream};
use schemas::{
    Assignment, Backend, CancelRequest, DeadLetter, Event, Fact, Input, JobId, KeyRecord, Lane, Queue,
    SCHEMA_VERSION, Tenant, codec, subjects,
};

use super::cancels::{remove_entry, request_cancel};
use super::delivery::SimulatedDelivery;
use super::ledger::ledger_is_there;
use crate::simulation::broker::{DEAD, LANES, LEDGER, Payload, Place, WORK};
use crate::simulation::executor::Shared;
use crate::simulation::invariants::Promise;
use crate::simulation::mutation::Mutation;
use crate::simulation::ports::{SimulatedPorts, number};
use crate::simulation::setting::BEGIN_MS;
use crate::simulation::task::Delivery;
use crate::simulation::world::World;

/// How often a router asks for the backlog, and looks for an absent ledger, milliseconds.
const BACKLOG_EVERY_MS: i64 = rhythm::BACKLOG_EVERY.as_millis() as i64;
const LEDGER_LOOK_MS: i64 = rhythm::LEDGER_LOOK_EVERY.as_millis() as i64;

/// What a router process remembers, as its tasks reach it.
#[derive(Clone)]
pub(crate) struct Remembered {
    fleet: Rc<RefCell<Fleet>>,
    room: Room,
    limits: Limits,
}

impl SimulatedPorts {
    pub(crate) fn new(shared: Shared, world: &World, process: usize, job: Option<u32>) -> Self {
        let found = &world.processes[process];
        let router = Remembered {
            fleet: Rc::clone(&found.fleet),
            room: found.room.clone(),
            limits: Limits::new(SCHEMA_VERSION - u16::from(world.now_ms < found.older_until_ms), 600_000),
        };
        let worker = Rc::new(found.worker.clone());
        let (begun_ms, doings) = (world.now_ms, Rc::default());
        Self { shared, process, job, in_hand: None, worker, router, begun_ms, doings, late: Rc::default() }
    }

    /// A read, and what brings nothing: a muted one says that nothing is there, a failing one that the broker is away.
    async fn reading<T: Default>(
        &self,
        port: &'static str,
        muted: bool,
        read: impl FnOnce(&World) -> T,
    ) -> Result<T, PortError> {
        if self.world(|world| world.failing == Some(port)) {
            return Err(PortError::Away { what: port, source: "it fails in this run".into() });
        }
        if muted { Ok(T::default()) } else { self.call(|world| read(world)).await }
    }
}

/// Takes a job's assignments out of their queues.
pub(crate) fn purge(world: &mut World, job: u32) {
    let waiting: Vec<u64> = world.broker.work_of(job).map(|(sequence, _)| sequence).collect();
    for sequence in &waiting {
        world.broker.delete(*sequence);
    }
    if !waiting.is_empty() {
        world.watch.purged(job, world.now_ms);
    }
}

fn consumers_of(world: &World, name: &str) -> std::ops::Range<usize> {
    match name {
        stream::JOBS => LANES..DEAD,
        stream::DEAD => DEAD..LEDGER,
        _ => WORK..world.broker.ready.len(),
    }
}

/// A call of a router that does one thing: muted, it brings what nothing brings.
macro_rules! reads {
    ($(fn $name:ident(&$self:ident $(, $arg:ident: $type:ty)*) -> $output:ty { $read:expr })+) => {
        $(
            #[track_caller]
            fn $name(&$self $(, $arg: $type)*) -> impl Future<Output = Result<$output, PortError>> {
                let muted = $self.is_muted(Location::caller(), stringify!($name));
                $self.reading(stringify!($name), muted, $read)
            }
        )+
    };
}

impl RouterPorts for SimulatedPorts {
    type Delivery = SimulatedDelivery;

    #[track_caller]
    fn answer(&self, message: &SimulatedDelivery, answer: Answer) -> impl Future<Output = ()> {
        use protocol::router::Delivery as _;
        let (muted, sequence) = (self.is_muted(Location::caller(), "answer"), message.sequence());
        async move {
            if !muted {
                self.say(sequence, answer);
            }
        }
    }

    fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        self.world(|world| look_around(world, self.process));
        read(&self.router.fleet.borrow())
    }

    #[track_caller]
    fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.router.fleet.borrow_mut())
    }

    fn is_ledger_available(&self) -> bool {
        self.world(|world| world.processes[self.process].ledger_available)
    }

    fn is_short_of_room_for_events(&self) -> bool {
        false
    }

    #[track_caller]
    fn reserve(&self, reservation: Reservation) -> impl Future<Output = Result<Grant, LedgerAway>> {
        let muted = self.is_muted(Location::caller(), "reserve");
        async move {
            let is_late = self.mutation() == Mutation::ReserveLate;
            if is_late {
                *self.late.borrow_mut() = Some(reservation.clone());
            }
            if muted || is_late {
                return Ok(Grant { granted: true, refusal: None });
            }
            let grant = self.ask_ledger(reservation).await?;
            let is_spent = self.mutation() == Mutation::SpendWhatWasRefused;
            Ok(if is_spent { Grant { granted: true, refusal: None } } else { grant })
        }
    }

    fn room(&self) -> &Room {
        &self.router.room
    }

    fn schemas(&self) -> &Limits {
        &self.router.limits
    }

    #[track_caller]
    fn inbox_share(&self, tenant: Option<&Tenant>, _use_of: UseOf) -> impl Future<Output = InboxShare> {
        let muted = self.is_muted(Location::caller(), "inbox_share");
        std::future::ready(if muted { InboxShare::Whole } else { self.share_of(tenant) })
    }

    #[track_caller]
    fn keys_left(&self, tenant: &Tenant) -> impl Future<Output = KeysLeft> {
        let muted = self.is_muted(Location::caller(), "keys_left");
        let is_used_up = self.world(|world| world.broker.keys_of(tenant) >= world.keys_max);
        std::future::ready(if is_used_up && !muted { KeysLeft::None { limit: 1 } } else { KeysLeft::Some })
    }

    #[track_caller]
    fn read_key(&self, name: &str) -> impl Future<Output = Result<Option<KeyRecord>, PortError>> {
        let muted = self.is_muted(Location::caller(), "read_key");
        self.reading("read_key", muted, move |world| world.broker.keys.get(name).cloned())
    }

    reads! {
        fn queued(&self, job: JobId) -> Option<Assignment> {
            move |world| world.broker.work_of(number(job)).find_map(|(_, stored)| match &stored.payload {
                Payload::Work(assignment) => Some(Assignment::clone(assignment)),
                _ => None,
            })
        }
        fn failed(&self, job: JobId) -> Option<DeadLetter> {
            move |world| world.broker.failed(number(job)).map(|letter| DeadLetter::clone(letter))
        }
        fn events(&self, job: JobId) -> Vec<Event> {
            move |world| world.broker.log[number(job) as usize].iter().map(|event| Event::clone(event)).collect()
        }
        fn last_assigned(&self, _tenant: &Tenant, job: JobId) -> Option<LastAssigned> {
            move |world| {
                let log = &world.broker.log[number(job) as usize];
                let last = log.iter().rev().find(|event| matches!(event.fact, Fact::Assigned { .. }))?;
                let sequence = world.broker.last_of(number(job), last.fact.kind());
                Some(LastAssigned { sequence, attempt: last.attempt })
            }
        }
        fn last_ended(&self, _tenant: &Tenant, job: JobId) -> Option<Event> {
            move |world| {
                let log = &world.broker.log[number(job) as usize];
                log.iter().rev().find(|event| matches!(event.fact, Fact::Ended { .. })).map(|event| Event::clone(event))
            }
        }
        fn undelivered_from(&self, backend: &Backend, queue: &Queue) -> Option<u64> {
            move |world| Some(world.broker.delivered_up_to[world.setting.work_consumer(backend, queue)] + 1)
        }
        fn next_queued(&self, backend: &Backend, queue: &Queue, from: u64) -> Option<Queued> {
            move |world| {
                let consumer = world.setting.work_consumer(backend, queue);
                let mut queued = world.broker.messages.range(from..);
                queued.find_map(|(sequence, stored)| match &stored.payload {
                    Payload::Work(assignment) if stored.consumer == consumer => {
                        Some(Queued { sequence: *sequence, assignment: Assignment::clone(assignment) })
                    }
                    _ => None,
                })
            }
        }
        fn queued_at(&self, sequence: u64) -> Option<Assignment> {
            move |world| match &world.broker.messages.get(&sequence)?.payload {
                Payload::Work(assignment) => Some(Assignment::clone(assignment)),
                _ => None,
            }
        }
        fn sequence_of(&self, backend: &Backend, queue: &Queue, job: JobId) -> Option<u64> {
            move |world| {
                let consumer = world.setting.work_consumer(backend, queue);
                let work = world.broker.work_of(number(job));
                work.filter(|(_, stored)| stored.consumer == consumer).map(|(sequence, _)| sequence).max()
            }
        }
        fn input_kept(&self, input: &Input) -> Option<(i64, i64)> {
            move |world| {
                let until_ms = world.upload_of(input).filter(|until_ms| world.now_ms < *until_ms)?;
                Some((BEGIN_MS, until_ms))
            }
        }
        fn next_entry(&self, bucket: &'static str, from: u64) -> Option<BucketEntry> {
            move |world| {
                let mut entries = world.broker.entries.range(from..);
                entries.find(|(_, (of, _))| *of == bucket).map(|(_, (_, entry))| entry.clone())
            }
        }
        fn unread_subjects(&self) -> Vec<String> {
            move |world| {
                let unread = world.broker.messages.values().filter_map(|stored| match (&stored.payload, stored.place) {
                    (Payload::Job(job), Place::Unread) => Some(subjects::jobs(job.lane, &job.tenant)),
                    _ => None,
                });
                unread.collect()
            }
        }
        fn waiting_in(&self, lane: Lane) -> Vec<(String, usize)> {
            move |world| {
                let mut waiting: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
                for stored in world.broker.messages.values() {
                    if let Payload::Job(job) = &stored.payload && job.lane == lane {
                        *waiting.entry(subjects::jobs(lane, &job.tenant)).or_default() += 1;
                    }
                }
                waiting.into_iter().collect()
            }
        }
        fn read_job(&self, subject: &str, from: u64) -> Option<SimulatedDelivery> {
            move |world| {
                let mut messages = world.broker.messages.range(from..);
                messages.find_map(|(sequence, stored)| match &stored.payload {
                    Payload::Job(job) if subjects::jobs(job.lane, &job.tenant) == subject => {
                        let read = Delivery {
                            sequence: *sequence,
                            delivered: 0,
                            job: stored.job,
                            published_ms: stored.published_ms,
                            named: false,
                            payload: stored.payload.clone(),
                        };
                        Some(SimulatedDelivery::of(&read, false))
                    }
                    _ => None,
                })
            }
        }
        fn acknowledged_up_to(&self, name: &'static str) -> Vec<(String, u64)> {
            move |world| {
                let of = |consumer: usize| (consumer.to_string(), world.broker.acknowledged_up_to(consumer));
                consumers_of(world, name).map(of).collect()
            }
        }
        fn next_message(&self, name: &'static str, filter: &str, from: u64) -> Option<StoredMessage> {
            move |world| {
                if name == stream::EVENTS {
                    let (sequence, event) = world.broker.placements.range(from..).next()?;
                    return Some(StoredMessage {
                        subject: subjects::event(&event.tenant, event.job, event.fact.kind()),
                        content_type: Some(schemas::Encoding::MessagePack.content_type().to_owned()),
                        payload: schemas::codec::encode(&**event),
                        sequence: *sequence,
                    });
                }
                if name == stream::PARKED {
                    let job = filter.rsplit('.').next()?.parse().ok()?;
                    let message = StoredMessage {
                        subject: filter.to_owned(),
                        content_type: None,
                        payload: Vec::new(),
                        sequence: from,
                    };
                    return world.broker.inbox.waits_for_newer(number(job)).then_some(message);
                }
                // Consumers are named by their numbers.
                let consumer: usize = filter.parse().ok()?;
                let mut messages = world.broker.messages.range(from..);
                let (sequence, _) = messages.find(|(_, stored)| {
                    stored.consumer == consumer && !matches!(stored.place, Place::Unread)
                })?;
                let (subject, payload) = (String::new(), Vec::new());
                Some(StoredMessage { subject, content_type: None, payload, sequence: *sequence })
            }
        }
    }

    #[track_caller]
    fn create_key(
        &self,
        name: &str,
        record: &KeyRecord,
    ) -> impl Future<Output = Result<Option<KeyRecord>, PortError>> {
        let muted = self.is_muted(Location::caller(), "create_key");
        async move {
            if muted || self.mutation() == Mutation::IgnoreTheKey {
                return Ok(None);
            }
            self.call(|world| {
                if let Some(first) = world.broker.keys.get(name) {
                    return Some(first.clone());
                }
                world.broker.keys.insert(name.to_owned(), record.clone());
                let (value, now_ms) = (codec::encode(record), world.now_ms);
                world.broker.put_entry(bucket::KEYS, name.to_owned(), value, now_ms);
                // Another router may have been granted one at the same moment.
                if world.broker.keys_of(&record.tenant) > world.keys_max.saturating_add(1) {
                    world.broken(Promise::Bound, format!("{} has more keys than it may have", record.tenant));
                }
                None
            })
            .await
        }
    }

    #[track_caller]
    fn remove_entry(
        &self,
        _bucket: &'static str,
        entry: &BucketEntry,
    ) -> impl Future<Output = Result<(), PortError>> {
        let muted = self.is_muted(Location::caller(), "remove_entry");
        async move { if muted { Ok(()) } else { self.call(|world| remove_entry(world, entry)).await } }
    }

    #[track_caller]
    fn request_cancel(&self, request: &CancelRequest) -> impl Future<Output = Result<(), PortError>> {
        let muted = self.is_muted(Location::caller(), "request_cancel");
        let job = request.job;
        async move { if muted { Ok(()) } else { self.call(|world| request_cancel(world, number(job))).await } }
    }

    #[track_caller]
    fn purge_work(&self, job: JobId) -> impl Future<Output = Result<(), PortError>> {
        let muted = self.is_muted(Location::caller(), "purge_work");
        async move { if muted { Ok(()) } else { self.call(|world| purge(world, number(job))).await } }
    }

    #[track_caller]
    fn delete(&self, _name: &'static str, sequence: u64) -> impl Future<Output = Result<(), PortError>> {
        let muted = self.is_muted(Location::caller(), "delete");
        async move {
            if muted {
                return Ok(());
            }
            self.call(|world| {
                world.broker.delete(sequence);
            })
            .await
        }
    }
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
        let mut fleet = router.fleet.borrow_mut();
        for (place, (number, queue)) in setting.queues.iter().enumerate() {
            fleet.set_backlog(&setting.backends[*number], queue.clone(), backlog[WORK + place]);
        }
    }
    let router = &world.processes[process];
    if !router.ledger_available && now_ms - router.ledger_asked_ms >= LEDGER_LOOK_MS {
        let there = ledger_is_there(world);
        world.processes[process].ledger_available = there;
        world.processes[process].ledger_asked_ms = now_ms;
    }
}
