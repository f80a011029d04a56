//! The router's ports over the simulated world. Nothing is lost here and every answer comes at once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use policy::fleet::Fleet;
use policy::inbox::{InboxShare, UseOf};
use protocol::router::room::Room;
use protocol::router::too_new::Limits;
use protocol::router::{BucketEntry, KeysLeft, LastAssigned, LedgerAway, Queued, RouterPorts};
use protocol::worker::machine::{self, Ended};
use protocol::{
    Answer, ClaimError, ClaimStore, Claimed, FleetConfig, Held, Note, PortError, Ports, PublishError,
    Published, Record, StoredMessage,
};
use schemas::config::Scoring;
use schemas::reserve::{Grant, Reservation};
use schemas::subjects::{self, Subject};
use schemas::topology::stream;
use schemas::{
    Assignment, AttemptId, AttemptRecord, Backend, CancelRequest, DeadLetter, Event, Fact, Input, JobId,
    JobState, KeyRecord, Lane, Outcome, Queue, SCHEMA_VERSION, Tenant,
};

use super::delivery::{Payload, SimDelivery};
use super::lanes::Lanes;
use crate::job::number;
use crate::world::{Event as Happening, FailedAttempt, Shared, World};

/// For how long routers hand newer jobs back, milliseconds: there are none here.
const TOO_NEW_WAIT_MS: u64 = 600_000;

/// One router's way to the world.
#[derive(Clone)]
pub(crate) struct SimPorts(Rc<Core>);

struct Core {
    world: Shared,
    lanes: Rc<RefCell<Lanes>>,
    fleet: RefCell<Fleet>,
    room: Room,
    limits: Limits,
    config: FleetConfig,
    backends: Vec<Backend>,
}

/// A message that is ready to be published.
pub(crate) enum Outgoing {
    Work(Rc<Assignment>),
    Failed(Box<DeadLetter>),
    End(usize, JobState),
    /// It changes nothing here.
    Other,
}

impl SimPorts {
    pub(crate) fn new(world: &Shared, lanes: &Rc<RefCell<Lanes>>, scoring: Scoring) -> Self {
        let (mut config, backends): (FleetConfig, Vec<Backend>) = {
            let world = world.borrow();
            (world.setting.config.clone(), world.setting.backends().cloned().collect())
        };
        Arc::make_mut(&mut config.policy).scoring = scoring;
        Self(Rc::new(Core {
            world: Rc::clone(world),
            lanes: Rc::clone(lanes),
            fleet: RefCell::default(),
            room: Room::default(),
            limits: Limits::new(SCHEMA_VERSION, TOO_NEW_WAIT_MS),
            config,
            backends,
        }))
    }

    fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.0.world.borrow_mut())
    }

    fn place(&self, backend: &Backend) -> usize {
        self.0.backends.iter().position(|known| known == backend).unwrap_or_default()
    }

    pub(crate) fn lanes(&self) -> std::cell::RefMut<'_, Lanes> {
        self.0.lanes.borrow_mut()
    }
}

/// The message to the routers about a failed attempt, as its worker would publish it.
pub(crate) fn failed_letter(failed: &FailedAttempt, world: &Shared) -> Option<DeadLetter> {
    let assignment = failed.binding.assignment.as_ref()?;
    let world = world.borrow();
    let worker = world.servers[failed.server].spec.name.parse().ok();
    let outcome =
        Outcome { usage: failed.usage.clone(), failure: Some(failed.failure.clone()), ..Outcome::default() };
    Some(machine::dead_letter(&Ended {
        assignment,
        worker: worker.as_ref(),
        simulated: true,
        started_at_ms: Some(failed.started_at_ms),
        finished_at_ms: world.now_ms,
        outcome: &outcome,
        price_micro_usd: Some(failed.cost),
        called: !failed.usage.is_empty(),
    }))
}

impl Ports for SimPorts {
    type Message = Outgoing;

    fn now_ms(&self) -> i64 {
        self.0.world.borrow().now_ms
    }

    async fn sleep(&self, time: Duration) {
        let at_ms =
            self.now_ms().saturating_add_unsigned(u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4));
        let is_asked = Cell::new(false);
        poll_fn(|context| {
            if self.now_ms() >= at_ms {
                return Poll::Ready(());
            }
            if !is_asked.replace(true) {
                let timer = Happening::Timer(context.waker().clone());
                self.world(|world| world.agenda.push(at_ms, timer));
            }
            Poll::Pending
        })
        .await;
    }

    fn is_stopping(&self) -> bool {
        false
    }

    async fn stopping(&self) {
        std::future::pending::<()>().await;
    }

    fn is_cancelled(&self, _tenant: &Tenant, _job: JobId) -> bool {
        false
    }

    fn config(&self) -> FleetConfig {
        self.0.config.clone()
    }

    fn message(&self, record: Record<'_>) -> Outgoing {
        match record {
            Record::Work(assignment) => Outgoing::Work(Rc::new(assignment.clone())),
            Record::Failed(letter) => Outgoing::Failed(Box::new(letter.clone())),
            Record::Event(event) | Record::EventAfter(event, _) => match event.fact {
                Fact::Ended { state, .. } => Outgoing::End(number(event.job), state),
                Fact::Refused { .. } => Outgoing::End(number(event.job), JobState::Failed),
                _ => Outgoing::Other,
            },
            Record::Parked { .. } | Record::Copy { .. } => Outgoing::Other,
        }
    }

    async fn publish(&self, message: &Outgoing) -> Result<Published, PublishError> {
        match message {
            Outgoing::Work(work) => {
                let (job, backend) = (number(work.job.id), self.place(&work.backend));
                let assignment = Some(Rc::clone(work));
                self.world(|world| world.bind(job, work.attempt, backend, work.timeout_ms, assignment));
            }
            Outgoing::Failed(letter) => {
                let now_ms = self.now_ms();
                self.lanes().publish_failed(DeadLetter::clone(letter), now_ms);
            }
            Outgoing::End(job, state) => self.world(|world| world.end(*job, *state)),
            Outgoing::Other => {}
        }
        Ok(Published::New)
    }

    async fn create_claim(&self, record: AttemptRecord) -> Result<Claimed, ClaimError> {
        // What waits in a queue here was begun by no worker.
        Ok(Claimed::Granted(Held { record: Box::new(record), revision: 1 }))
    }

    async fn read_claim(&self, _attempt: AttemptId) -> Result<Option<Held>, ClaimError> {
        Ok(None)
    }

    async fn write_claim(&self, _held: &mut Held, _record: AttemptRecord) -> Result<(), ClaimError> {
        Ok(())
    }

    async fn claim_store(&self) -> Result<ClaimStore, PortError> {
        Ok(ClaimStore { created_at_ms: 0, kept_ms: None })
    }

    fn note(&self, _note: Note<'_>) {}
}

impl RouterPorts for SimPorts {
    type Delivery = SimDelivery;

    async fn answer(&self, message: &SimDelivery, answer: Answer) {
        match answer {
            Answer::Acknowledge => {
                if matches!(message.payload, Payload::Job(_)) {
                    self.lanes().delete(message.sequence);
                }
            }
            Answer::HandBack(wait) => {
                let wait_ms = wait.map_or(1, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 4));
                let at_ms = self.now_ms().saturating_add_unsigned(wait_ms.max(1));
                self.lanes().hand_back(message, at_ms);
            }
            Answer::Extend => {}
        }
    }

    fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.0.fleet.borrow())
    }

    fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.0.fleet.borrow_mut())
    }

    fn is_ledger_available(&self) -> bool {
        true
    }

    fn is_short_of_room_for_events(&self) -> bool {
        false
    }

    async fn reserve(&self, _reservation: Reservation) -> Result<Grant, LedgerAway> {
        Ok(Grant { granted: true, refusal: None })
    }

    fn room(&self) -> &Room {
        &self.0.room
    }

    fn schemas(&self) -> &Limits {
        &self.0.limits
    }

    // A job leaves no tracks before it is placed, and what is placed is never delivered again here.

    async fn queued(&self, _job: JobId) -> Result<Option<Assignment>, PortError> {
        Ok(None)
    }

    async fn failed(&self, _job: JobId) -> Result<Option<DeadLetter>, PortError> {
        Ok(None)
    }

    async fn events(&self, _job: JobId) -> Result<Vec<Event>, PortError> {
        Ok(Vec::new())
    }

    async fn last_assigned(&self, _tenant: &Tenant, _job: JobId) -> Result<Option<LastAssigned>, PortError> {
        Ok(None)
    }

    async fn last_ended(&self, _tenant: &Tenant, _job: JobId) -> Result<Option<Event>, PortError> {
        Ok(None)
    }

    async fn inbox_share(&self, _tenant: Option<&Tenant>, _use_of: UseOf) -> InboxShare {
        InboxShare::Whole
    }

    async fn keys_left(&self, _tenant: &Tenant) -> KeysLeft {
        KeysLeft::Some
    }

    async fn read_key(&self, _name: &str) -> Result<Option<KeyRecord>, PortError> {
        Ok(None)
    }

    async fn input_kept(&self, _input: &Input) -> Result<Option<(i64, i64)>, PortError> {
        Ok(None)
    }

    async fn next_entry(&self, _bucket: &'static str, _from: u64) -> Result<Option<BucketEntry>, PortError> {
        Ok(None)
    }

    async fn remove_entry(&self, _bucket: &'static str, _entry: &BucketEntry) -> Result<(), PortError> {
        Ok(())
    }

    async fn create_key(&self, _name: &str, _record: &KeyRecord) -> Result<Option<KeyRecord>, PortError> {
        Ok(None)
    }

    async fn request_cancel(&self, _request: &CancelRequest) -> Result<(), PortError> {
        Ok(())
    }

    async fn undelivered_from(&self, _backend: &Backend, _queue: &Queue) -> Result<Option<u64>, PortError> {
        // A queue holds only what no worker has.
        Ok(Some(1))
    }

    async fn next_queued(
        &self,
        backend: &Backend,
        queue: &Queue,
        from: u64,
    ) -> Result<Option<Queued>, PortError> {
        let place = self.place(backend);
        Ok(self.world(|world| {
            let waiting = world.queues[place].iter().filter(|binding| binding.sequence >= from);
            let mut written =
                waiting.filter_map(|binding| Some((binding.sequence, binding.assignment.as_ref()?)));
            let (sequence, assignment) = written.find(|(_, assignment)| assignment.queue() == *queue)?;
            Some(Queued { sequence, assignment: Assignment::clone(assignment) })
        }))
    }

    async fn queued_at(&self, _sequence: u64) -> Result<Option<Assignment>, PortError> {
        Ok(None)
    }

    async fn sequence_of(
        &self,
        _backend: &Backend,
        _queue: &Queue,
        _job: JobId,
    ) -> Result<Option<u64>, PortError> {
        Ok(None)
    }

    async fn purge_work(&self, _job: JobId) -> Result<(), PortError> {
        Ok(())
    }

    async fn delete(&self, name: &'static str, sequence: u64) -> Result<(), PortError> {
        if name == stream::WORK {
            self.world(|world| world.unbind(sequence));
        } else {
            self.lanes().delete(sequence);
        }
        Ok(())
    }

    async fn unread_subjects(&self) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn waiting_in(&self, lane: Lane) -> Result<Vec<(String, usize)>, PortError> {
        Ok(self.lanes().waiting_in(lane))
    }

    async fn read_job(&self, subject: &str, from: u64) -> Result<Option<SimDelivery>, PortError> {
        let Some(Subject::Jobs(lane, tenant)) = subjects::parse(subject) else { return Ok(None) };
        Ok(self.lanes().read(lane, &tenant, from))
    }

    async fn acknowledged_up_to(&self, _stream: &'static str) -> Result<Vec<(String, u64)>, PortError> {
        Ok(Vec::new())
    }

    async fn next_message(
        &self,
        _stream: &'static str,
        _filter: &str,
        _from: u64,
    ) -> Result<Option<StoredMessage>, PortError> {
        Ok(None)
    }
}
