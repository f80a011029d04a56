//! What workers need of the world, beside [`Ports`]: the delivered message, the provider, the spool, and room for
//! results.

use std::sync::Arc;

use futures::lock::Mutex;
use schemas::codec::DecodeError;
use schemas::{
    Artifact, Assignment, AttemptId, AttemptRecord, Catalog, Class, DeliveredResult, Failure, JobId,
    Manifest, Outcome, Phase, Service, WorkerId,
};

use super::stop::Stop;
use crate::errors::PortError;
use crate::ports::{Answer, Held, Ports};

/// The claim that guards an attempt while it runs; none for free work.
pub type SharedClaim = Arc<Mutex<Option<Held>>>;

/// A delivered assignment that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Why.
    pub error: DecodeError,
    /// Its subject.
    pub subject: String,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Its sequence in the stream.
    pub sequence: u64,
}

/// Why there is no room for a result, and the cure, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoRoom(pub String);

/// What became of work whose start was never confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It runs or ran at the provider, under this id.
    Started(String),
    /// It certainly never started and never will: the provider refuses a start that was meant before and
    /// arrives later. Only then it may be started now; a list that lacks it proves nothing, since its
    /// first caller may be paused and wake up.
    NotStarted,
    /// The provider does not know.
    Unknown,
}

/// What an attempt is put together from.
#[derive(Debug)]
pub struct Preparation<'a> {
    /// What to do.
    pub assignment: &'a Arc<Assignment>,
    /// The catalog now.
    pub catalog: Arc<Catalog>,
    /// The catalog's row for the assignment's backend and class.
    pub service: Service,
    /// Paid work that was started before goes on under this provider's id.
    pub resume_id: Option<String>,
    /// What the claim says was delivered.
    pub delivered: Option<DeliveredResult>,
    /// The claim that guards the attempt.
    pub held: SharedClaim,
}

/// How an attempt ran, for estimates and metrics.
#[derive(Debug, Clone, Copy)]
pub struct Ran<'a> {
    /// In which class.
    pub class: &'a Class,
    /// For how long, milliseconds.
    pub run_ms: u64,
    /// Of which job.
    pub job: JobId,
    /// How it failed, if it did.
    pub failure: Option<&'a Failure>,
    /// What it stored, bytes.
    pub stored_bytes: u64,
}

/// An attempt in a worker's hands.
pub trait AttemptControl {
    /// Asks it to end. The first reason stays.
    fn stop(&self, stop: Stop);
    /// Why it has to end, if it has to.
    fn stop_reason(&self) -> Option<Stop>;
    /// Returns when it has to end.
    fn stopped(&self) -> impl Future<Output = Stop>;
    /// What was delivered, once it was.
    fn delivery(&self) -> Option<DeliveredResult>;
    /// Returns when its result is delivered.
    fn delivered(&self) -> impl Future<Output = DeliveredResult>;
    /// The same attempt, which goes on under the provider's id.
    #[must_use]
    fn resumed_by(self, id: String) -> Self;
}

/// The files of a result as they are stored, as far as a message names them.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFiles {
    /// The first of them.
    pub artifacts: Vec<Artifact>,
    /// Where all are listed, when there are more.
    pub manifest: Option<Manifest>,
}

/// Results that came in a provider's answer and lie on this machine's disk until they are stored.
pub trait SpoolPorts: Ports {
    /// A spooled result that the process works on.
    type Spooled: AsRef<DeliveredResult>;

    /// What lies there.
    fn spooled_attempts(&self) -> Vec<AttemptId>;
    /// Takes a result up. None while this or another process works on it, or when it cannot be read.
    fn take_spooled(&self, attempt: AttemptId) -> impl Future<Output = Option<Self::Spooled>>;
    /// Stores the files of a result; the same attempt gives the same keys.
    fn store_spooled(
        &self,
        attempt: AttemptId,
        spooled: &Self::Spooled,
    ) -> impl Future<Output = Result<StoredFiles, PortError>>;
    /// Leaves a result to the next process or task that looks.
    fn release_spooled(&self, attempt: AttemptId);
    /// Removes a result.
    fn remove_spooled(&self, attempt: AttemptId);

    /// Puts a claim on disk that the broker does not take. Where the disk does not take it either, it is in memory only.
    fn keep_claim(&self, record: &AttemptRecord) -> impl Future<Output = ()>;
    /// The claims that lie there.
    fn kept_claims(&self) -> Vec<AttemptRecord>;
    /// Removes a claim: the broker has it.
    fn forget_claim(&self, attempt: AttemptId);
}

/// What a worker needs.
pub trait WorkerPorts: SpoolPorts {
    /// An assignment as the broker delivered it.
    type Delivered;
    /// An attempt as the backend sees it.
    type Attempt: AttemptControl;
    /// Room for one result in the artifact store, until it is dropped.
    type Room;
    /// An attempt in hand that waits for room, until it is dropped.
    type Waiting;

    /// This worker's name.
    fn worker(&self) -> &WorkerId;
    /// The provider is a simulator.
    fn is_simulated(&self) -> bool;
    /// Returns when the process has to hand back what it has.
    fn hard_stopping(&self) -> impl Future<Output = ()>;

    /// Reads a delivery. What is not needed again of the message is dropped.
    ///
    /// # Errors
    /// It is no assignment.
    fn open(&self, delivered: &mut Self::Delivered) -> Result<Arc<Assignment>, Box<Unreadable>>;
    /// When the broker took it in, Unix milliseconds.
    fn stored_at_ms(&self, delivered: &Self::Delivered) -> i64;
    /// How often the broker has delivered it, this time included.
    fn deliveries(&self, delivered: &Self::Delivered) -> i64;
    /// Answers the broker, without a confirmation.
    fn answer(
        &self,
        delivered: &Self::Delivered,
        answer: Answer,
    ) -> impl Future<Output = Result<(), PortError>>;
    /// Acknowledges, and returns when the broker has confirmed it.
    fn acknowledge_confirmed(
        &self,
        delivered: &Self::Delivered,
    ) -> impl Future<Output = Result<(), PortError>>;
    /// Acknowledges within a moment; not confirmed.
    fn acknowledge_late(&self, delivered: &Self::Delivered) -> impl Future<Output = ()>;

    /// The provider sends bills, whatever is reserved for an attempt.
    fn bills(&self) -> bool;
    /// The provider reports under which id it knows this attempt.
    fn reports(&self, assignment: &Assignment) -> bool;
    /// Puts an attempt together.
    fn attempt(&self, preparation: Preparation<'_>) -> Self::Attempt;
    /// From now on a request to cancel the attempt's job stops it.
    fn register(&self, attempt: &Self::Attempt);
    /// The job's attempt has ended.
    fn unregister(&self, job: JobId);
    /// Runs an attempt to its end.
    fn run(&self, attempt: &Self::Attempt) -> impl Future<Output = Outcome>;
    /// Looks for work whose start was not confirmed.
    fn find(&self, attempt: &Self::Attempt) -> impl Future<Output = Found>;
    /// Stops what an earlier delivery of free work may have left running.
    fn abandon(&self, attempt: &Self::Attempt) -> impl Future<Output = ()>;
    /// Reports progress; may be lost.
    fn progress(&self, assignment: &Assignment, phase: Phase, detail: Option<&str>);
    /// Takes note of how an attempt ran.
    fn learn(&self, ran: Ran<'_>);

    /// What a result of a class may take, bytes.
    fn expected_bytes(&self, class: &Class) -> u64;
    /// Reserves room for a result.
    ///
    /// # Errors
    /// Why there is none, and the cure.
    fn reserve_room(&self, bytes: u64) -> Result<Self::Room, NoRoom>;
    /// Takes note that an attempt in hand waits and takes no room meanwhile.
    fn wait_for_room(&self, bytes: u64) -> Self::Waiting;
    /// Returns when the room may have changed since the last call.
    fn room_changed(&self, waiting: &mut Self::Waiting) -> impl Future<Output = ()>;
}
