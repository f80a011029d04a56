//! What only routers need of the world.

use policy::fleet::Fleet;
use policy::inbox::{InboxShare, UseOf};
use schemas::codec::{self, DecodeError};
use schemas::reserve::{Grant, Reservation};
use schemas::{
    Assignment, Backend, CancelRequest, DeadLetter, Event, Input, Job, JobId, KeyRecord, Lane, Queue, Tenant,
};

use crate::errors::PortError;
use crate::ports::{Answer, Ports, StoredMessage};
use crate::router::room::Room;
use crate::router::too_new::Limits;

/// A message that the broker delivered, or that was read from its stream.
pub trait Delivery {
    /// Where it was published.
    fn subject(&self) -> &str;
    /// Its `Content-Type`.
    fn content_type(&self) -> Option<&str>;
    /// Its bytes.
    fn payload(&self) -> &[u8];
    /// Its place in the stream.
    fn sequence(&self) -> u64;
    /// When the broker took it in, Unix milliseconds.
    fn published_at_ms(&self) -> i64;
    /// How often the broker delivered it, this time included; 0 for one that was read from its stream.
    fn deliveries(&self) -> i64;
    /// The job whose id its publisher made the message's id, as it should.
    fn named(&self) -> Option<JobId>;
    /// More lay behind it in its queue when it came.
    fn has_more_behind(&self) -> bool;

    /// The job that it holds.
    ///
    /// # Errors
    /// It cannot be read as one.
    fn job(&self) -> Result<Job, DecodeError> {
        codec::decode(self.content_type(), self.payload())
    }

    /// The failed attempt that it holds.
    ///
    /// # Errors
    /// It cannot be read as one.
    fn failed_attempt(&self) -> Result<DeadLetter, DecodeError> {
        codec::decode(self.content_type(), self.payload())
    }
}

/// A job's last `assigned` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastAssigned {
    /// Where it lies in the stream.
    pub sequence: u64,
    /// Of which attempt it is.
    pub attempt: u32,
}

/// An assignment in its queue.
#[derive(Debug, Clone)]
pub struct Queued {
    /// Where it lies in the stream.
    pub sequence: u64,
    /// What is to be done.
    pub assignment: Assignment,
}

/// How many more idempotency keys a tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysLeft {
    /// At least one.
    Some,
    /// None: it has as many as a tenant may have.
    None {
        /// How many that is.
        limit: u64,
    },
}

/// One revision of an entry of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEntry {
    /// Its key.
    pub key: String,
    /// What it says.
    pub value: Vec<u8>,
    /// Its revision.
    pub revision: u64,
    /// When it was stored, Unix milliseconds.
    pub stored_at_ms: i64,
    /// It is the mark that an entry was removed.
    pub is_removed: bool,
}

/// The ledger did not answer: nothing was reserved as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger does not answer")]
pub struct LedgerAway;

/// What routers need besides.
pub trait RouterPorts: Ports {
    /// A message from a lane, or a failed attempt.
    type Delivery: Delivery;

    /// Answers the broker about a delivered message. An answer that is lost ends in another delivery.
    fn answer(&self, message: &Self::Delivery, answer: Answer) -> impl Future<Output = ()>;

    /// The fleet as plans see it.
    fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T;
    /// Changes the fleet as plans see it.
    fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T;
    /// Whether the ledger answered last time.
    fn is_ledger_available(&self) -> bool;
    /// Whether the stream of events is nearly full. Then each placement begins with its event: it is refused where
    /// there is no room, and the job waits in its lane instead of at a worker that could not publish its end.
    fn is_short_of_room_for_events(&self) -> bool;
    /// Asks the ledger for one attempt's money.
    fn reserve(&self, reservation: Reservation) -> impl Future<Output = Result<Grant, LedgerAway>>;

    /// The jobs in hand that wait.
    fn room(&self) -> &Room;
    /// Which schemas of jobs this router takes.
    fn schemas(&self) -> &Limits;

    /// The assignment of a job that lies in its queue.
    fn queued(&self, job: JobId) -> impl Future<Output = Result<Option<Assignment>, PortError>>;
    /// The failed attempt of a job that no router has followed up yet.
    fn failed(&self, job: JobId) -> impl Future<Output = Result<Option<DeadLetter>, PortError>>;
    /// The events of a job, oldest first.
    fn events(&self, job: JobId) -> impl Future<Output = Result<Vec<Event>, PortError>>;
    /// The last `assigned` event of a tenant's job.
    fn last_assigned(
        &self,
        tenant: &Tenant,
        job: JobId,
    ) -> impl Future<Output = Result<Option<LastAssigned>, PortError>>;
    /// The `ended` event of a tenant's job.
    fn last_ended(
        &self,
        tenant: &Tenant,
        job: JobId,
    ) -> impl Future<Output = Result<Option<Event>, PortError>>;

    /// What the operator's inbox takes of one more message of a tenant, or of no known tenant.
    fn inbox_share(&self, tenant: Option<&Tenant>, use_of: UseOf) -> impl Future<Output = InboxShare>;

    /// How many more idempotency keys a tenant may have.
    fn keys_left(&self, tenant: &Tenant) -> impl Future<Output = KeysLeft>;
    /// The record of a key.
    fn read_key(&self, name: &str) -> impl Future<Output = Result<Option<KeyRecord>, PortError>>;
    /// Creates the record of a key, which the broker grants once; what is there where it is not granted.
    fn create_key(
        &self,
        name: &str,
        record: &KeyRecord,
    ) -> impl Future<Output = Result<Option<KeyRecord>, PortError>>;
    /// When an input file was stored and when it goes by its age, Unix milliseconds; none where it stays, or is not there.
    fn input_kept(&self, input: &Input) -> impl Future<Output = Result<Option<(i64, i64)>, PortError>>;
    /// The next entry of a bucket from a revision on, oldest first.
    fn next_entry(
        &self,
        bucket: &'static str,
        from: u64,
    ) -> impl Future<Output = Result<Option<BucketEntry>, PortError>>;
    /// Removes an entry up to this revision of it, without a mark. One that was written since stays.
    fn remove_entry(
        &self,
        bucket: &'static str,
        entry: &BucketEntry,
    ) -> impl Future<Output = Result<(), PortError>>;
    /// Stores a request to cancel a job, and makes it known here at once.
    fn request_cancel(&self, request: &CancelRequest) -> impl Future<Output = Result<(), PortError>>;

    /// From which sequence on no worker has got anything of a backend's queue; none when no worker ever served it.
    fn undelivered_from(
        &self,
        backend: &Backend,
        queue: &Queue,
    ) -> impl Future<Output = Result<Option<u64>, PortError>>;
    /// The next assignment of a backend's queue from a sequence on. One that cannot be read is passed over: the
    /// next worker that gets it parks it.
    fn next_queued(
        &self,
        backend: &Backend,
        queue: &Queue,
        from: u64,
    ) -> impl Future<Output = Result<Option<Queued>, PortError>>;
    /// The assignment at a sequence.
    fn queued_at(&self, sequence: u64) -> impl Future<Output = Result<Option<Assignment>, PortError>>;
    /// Where the latest assignment of a job in a backend's queue lies.
    fn sequence_of(
        &self,
        backend: &Backend,
        queue: &Queue,
        job: JobId,
    ) -> impl Future<Output = Result<Option<u64>, PortError>>;
    /// Takes all assignments of a job out of their queues.
    fn purge_work(&self, job: JobId) -> impl Future<Output = Result<(), PortError>>;
    /// Deletes a message of a stream; one that is gone is no error.
    fn delete(&self, stream: &'static str, sequence: u64) -> impl Future<Output = Result<(), PortError>>;
    /// The subjects of messages in stream `JOBS` that no consumer of a lane would deliver; others may be among them.
    fn unread_subjects(&self) -> impl Future<Output = Result<Vec<String>, PortError>>;

    /// The subjects of a lane with messages in them, and how many.
    fn waiting_in(&self, lane: Lane) -> impl Future<Output = Result<Vec<(String, usize)>, PortError>>;
    /// The next message of a subject of a lane from a sequence on, read from the stream.
    fn read_job(
        &self,
        subject: &str,
        from: u64,
    ) -> impl Future<Output = Result<Option<Self::Delivery>, PortError>>;

    /// The consumers of a stream: what each filters, and up to which sequence everything is acknowledged there.
    fn acknowledged_up_to(
        &self,
        stream: &'static str,
    ) -> impl Future<Output = Result<Vec<(String, u64)>, PortError>>;
    /// The next message of a stream that a filter lets through, from a sequence on.
    fn next_message(
        &self,
        stream: &'static str,
        filter: &str,
        from: u64,
    ) -> impl Future<Output = Result<Option<StoredMessage>, PortError>>;
}
