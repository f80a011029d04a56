//! One attempt as a backend sees it: what to do, and the few things it may do with the outside world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use schemas::{
    Artifact, Assignment, AttemptId, Catalog, Failure, FailureCode, Input, Outcome, Phase, Service,
};
use tokio_util::sync::CancellationToken;

/// What an attempt needs of the outside. The host's is made of broker and object store; the conformance
/// suite's keeps everything in memory.
#[async_trait]
pub trait AttemptIo: Send + Sync + 'static {
    /// Makes the provider's id durable. When this fails the work runs on at the provider, and a later
    /// delivery goes through [`super::Backend::find`].
    async fn started(&self, attempt: AttemptId, provider_id: &str) -> Result<(), Failure>;
    /// The attempt is still ours to start; without a claim it always is.
    async fn still_ours(&self, _attempt: AttemptId) -> bool {
        true
    }
    /// How many bytes an input has, found out without fetching it.
    async fn size(&self, input: &Input) -> Result<u64, Failure>;
    /// Fetches an input's bytes.
    async fn load(&self, input: &Input) -> Result<Bytes, Failure>;
    /// Stores a produced file; the same attempt and index give the same key.
    async fn save(
        &self,
        attempt: AttemptId,
        index: usize,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Artifact, Failure>;
    /// Tells watchers; may be lost.
    fn progress(&self, assignment: &Assignment, phase: Phase, step: u32, steps: u32, detail: Option<&str>);
}

/// One attempt in a worker's hands.
pub struct Attempt {
    /// What to do.
    pub assignment: Arc<Assignment>,
    /// The catalog at the time of the assignment.
    pub catalog: Arc<Catalog>,
    /// The catalog's row for this backend and class.
    pub service: Service,
    /// Paid work that was started before goes on under this provider's id.
    pub resume_id: Option<String>,
    /// Where the provider may report that it did the work; see [`super::Backend::reports`].
    pub report_url: Option<String>,
    io: Arc<dyn AttemptIo>,
    stopper: Stopper,
}

impl Attempt {
    /// Puts an attempt together.
    #[must_use]
    pub fn new(
        assignment: impl Into<Arc<Assignment>>,
        catalog: Arc<Catalog>,
        service: Service,
        resume_id: Option<String>,
        io: Arc<dyn AttemptIo>,
        stopper: Stopper,
    ) -> Self {
        Self { assignment: assignment.into(), catalog, service, resume_id, report_url: None, io, stopper }
    }

    /// With an address for the provider's report.
    #[must_use]
    pub fn reporting_to(self, report_url: Option<String>) -> Self {
        Self { report_url, ..self }
    }

    /// Whether it may be started now. Ask right before the call that costs money: a worker that slept over
    /// its claim may have been given up meanwhile.
    ///
    /// # Errors
    /// Why not: it has to end, nothing is reserved for it, or the claim is somebody else's now.
    pub async fn may_start(&self) -> Result<(), Stop> {
        match self.stop_now() {
            Some(stop) => Err(stop),
            None if !self.assignment.is_paid() => Err(Stop::Unfunded),
            None if self.io.still_ours(self.id()).await => Ok(()),
            None => Err(Stop::Drain),
        }
    }

    /// Which attempt it is.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        self.assignment.id()
    }

    /// Makes the provider's id durable; call it right after the provider answered.
    ///
    /// # Errors
    /// The failure to end the attempt with: the id could not be recorded.
    pub async fn started(&self, provider_id: &str) -> Result<(), Failure> {
        self.io.started(self.id(), provider_id).await
    }

    /// Fetches an input's bytes.
    ///
    /// # Errors
    /// The failure to end the attempt with.
    pub async fn load(&self, input: &Input) -> Result<Bytes, Failure> {
        self.io.load(input).await
    }

    /// How many bytes an input has, found out without fetching it.
    ///
    /// # Errors
    /// The failure to end the attempt with.
    pub async fn size(&self, input: &Input) -> Result<u64, Failure> {
        self.io.size(input).await
    }

    /// Stores a produced file under a key of its own: `out/<job>/<attempt>/<index>.<ending>`.
    ///
    /// # Errors
    /// The failure to end the attempt with.
    pub async fn save(&self, index: usize, media_type: &str, bytes: Bytes) -> Result<Artifact, Failure> {
        self.io.save(self.id(), index, media_type, bytes).await
    }

    /// Tells watchers how far it is.
    pub fn progress(&self, phase: Phase, step: u32, steps: u32, detail: Option<&str>) {
        self.io.progress(&self.assignment, phase, step, steps, detail);
    }

    /// Resolves when the attempt has to end; says why.
    pub async fn stopped(&self) -> Stop {
        self.stopper.token.cancelled().await;
        self.stopper.reason()
    }

    /// Why it has to end, if it has to.
    #[must_use]
    pub fn stop_now(&self) -> Option<Stop> {
        self.stopper.token.is_cancelled().then(|| self.stopper.reason())
    }

    /// The outcome of an attempt that was stopped.
    #[must_use]
    pub fn stopped_outcome(&self, stop: Stop) -> Outcome {
        Outcome { failure: Some(Failure::new(stop.code(), stop.message())), ..Outcome::default() }
    }
}

/// Why an attempt has to end before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// Somebody cancelled the job.
    Cancelled = 1,
    /// It took longer than it may.
    Timeout = 2,
    /// The job's deadline passed.
    Expired = 3,
    /// The process is going down.
    Drain = 4,
    /// Nothing is reserved for it, and the provider bills.
    Unfunded = 5,
}

impl Stop {
    /// The failure code that says so.
    #[must_use]
    pub const fn code(self) -> FailureCode {
        match self {
            Self::Cancelled => FailureCode::Cancelled,
            Self::Timeout => FailureCode::Timeout,
            Self::Expired => FailureCode::Expired,
            Self::Drain | Self::Unfunded => FailureCode::Interrupted,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled while running",
            Self::Timeout => "the attempt ran longer than its limit",
            Self::Expired => "the job's deadline passed while it ran",
            Self::Drain => "the worker was stopped",
            Self::Unfunded => "nothing is reserved for it and the provider bills",
        }
    }
}

/// Stops one attempt, once: the first reason stays.
#[derive(Debug, Clone, Default)]
pub struct Stopper {
    token: CancellationToken,
    reason: Arc<AtomicU8>,
}

impl Stopper {
    /// Asks the attempt to end.
    pub fn stop(&self, stop: Stop) {
        // The reason is written before the token fires, so a reader never sees a stop without one.
        let _ = self.reason.compare_exchange(0, stop as u8, Ordering::AcqRel, Ordering::Acquire);
        self.token.cancel();
    }

    fn reason(&self) -> Stop {
        match self.reason.load(Ordering::Acquire) {
            1 => Stop::Cancelled,
            2 => Stop::Timeout,
            3 => Stop::Expired,
            5 => Stop::Unfunded,
            _ => Stop::Drain,
        }
    }
}
