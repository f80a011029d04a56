//! One attempt as a backend sees it: what to do, and the few things it may do with the outside world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use schemas::text::cut_owned;
use schemas::{
    Artifact, Assignment, AttemptId, Catalog, DeliveredResult, Failure, FailureCode, Input, Outcome, Phase,
    Service, Tenant, Usage, WorkerId,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use protocol::worker::{AttemptControl, Stop, delivered};
use runtime::artifacts::{ARTIFACT_MAX_BYTES, ArtifactError};
use runtime::clock;
use runtime::metrics;

/// For how long a result is kept where nothing says otherwise, milliseconds.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// The longest id of a provider that is kept, bytes: RunPod's have about 40, Gemini's about 100.
pub(crate) const PROVIDER_ID_MAX_BYTES: usize = 512;

/// A file that an attempt made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

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
    /// Writes down that the provider delivered, what it counted, and who keeps the result.
    async fn delivered(&self, _attempt: AttemptId, _delivered: &DeliveredResult) {}
    /// Keeps a result on disk that its provider does not keep, until it is settled; whose disk, or none.
    async fn spool(
        &self,
        _tenant: &Tenant,
        _attempt: AttemptId,
        _delivered: &DeliveredResult,
        _files: &[Made],
    ) -> Option<WorkerId> {
        None
    }
    /// Stores a produced file; the same tenant, attempt and index give the same key. A failure with code
    /// `not_stored` is final; after any other it is tried again.
    async fn save(
        &self,
        tenant: &Tenant,
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
    /// How long attempts of its class have taken here lately, milliseconds; none where none has ended.
    pub learned_ms: Option<u64>,
    /// For how long the provider, or else our spool, keeps a result, milliseconds.
    pub kept_ms: u64,
    io: Arc<dyn AttemptIo>,
    stopper: Stopper,
    /// What was delivered, once it was.
    delivered: watch::Sender<Option<DeliveredResult>>,
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
        Self {
            assignment: assignment.into(),
            catalog,
            service,
            resume_id,
            report_url: None,
            learned_ms: None,
            kept_ms: KEPT_MS,
            io,
            stopper,
            delivered: watch::Sender::new(None),
        }
    }

    /// With an address for the provider's report.
    #[must_use]
    pub fn reporting_to(self, report_url: Option<String>) -> Self {
        Self { report_url, ..self }
    }

    /// With what was learned of its class.
    #[must_use]
    pub fn expecting(self, learned_ms: Option<u64>) -> Self {
        Self { learned_ms, ..self }
    }

    /// With a time for which a result is kept, and what is known to be delivered already.
    #[must_use]
    pub fn keeping(self, kept_ms: u64, delivered: Option<DeliveredResult>) -> Self {
        self.delivered.send_replace(delivered);
        Self { kept_ms, ..self }
    }

    pub(crate) const fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    /// The provider has done the work and keeps the result under its id: call it before the result is fetched.
    /// From now on the attempt's time limit does not count, and no failure starts new paid work.
    pub async fn delivered(&self, usage: &[Usage]) {
        let delivered = DeliveredResult { usage: usage.to_vec(), ..self.delivery_now() };
        self.note(delivered).await;
    }

    fn delivery_now(&self) -> DeliveredResult {
        let at_ms = clock::now_ms();
        let kept_until_ms = at_ms.saturating_add_unsigned(self.kept_ms);
        DeliveredResult { at_ms, kept_until_ms, spooled_by: None, usage: Vec::new(), provider_id: None }
    }

    /// The first delivery is the one that counts.
    async fn note(&self, delivered: DeliveredResult) {
        if self.delivered.borrow().is_none() {
            self.delivered.send_replace(Some(delivered.clone()));
            self.io.delivered(self.id(), &delivered).await;
        }
    }

    /// Stores what came in the provider's answer and is kept nowhere else: it is put on disk, and the claim
    /// says so, before it is stored. `outcome` is what else the answer says.
    pub async fn keep(&self, files: Vec<Made>, outcome: Outcome) -> Outcome {
        let outcome = with_short_id(outcome);
        let delivered = DeliveredResult {
            usage: outcome.usage.clone(),
            provider_id: outcome.provider_id.clone(),
            ..self.delivery_now()
        };
        let largest = files.iter().map(|file| file.bytes.len() as u64).max().unwrap_or_default();
        if largest > ARTIFACT_MAX_BYTES {
            return Outcome { failure: Some(too_large(largest)), ..outcome };
        }
        let spooled_by = self.io.spool(&self.assignment.job.tenant, self.id(), &delivered, &files).await;
        self.note(DeliveredResult { spooled_by, ..delivered }).await;
        let mut artifacts = Vec::with_capacity(files.len());
        for (index, file) in files.into_iter().enumerate() {
            match self.save(index, &file.media_type, file.bytes).await {
                Ok(artifact) => artifacts.push(artifact),
                Err(failure) => return Outcome { failure: Some(failure), ..outcome },
            }
        }
        Outcome { artifacts, ..outcome }
    }

    /// Whether it may be started now. Ask right before the call that costs money: a worker that slept over
    /// its claim may have been given up meanwhile.
    ///
    /// # Errors
    /// Why not: it has to end, nothing is reserved for it, or the claim is somebody else's now.
    pub async fn may_start(&self) -> Result<(), Stop> {
        let is_paid = self.assignment.is_paid();
        protocol::worker::may_start(|| self.stop_now(), is_paid, self.io.still_ours(self.id())).await
    }

    /// Which attempt it is.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        self.assignment.id()
    }

    /// Makes the provider's id durable; call it right after the provider answered.
    ///
    /// # Errors
    /// The failure to end the attempt with: the id could not be recorded, or is longer than an id may be.
    pub async fn started(&self, provider_id: &str) -> Result<(), Failure> {
        if provider_id.len() > PROVIDER_ID_MAX_BYTES {
            let message = format!(
                "started at the provider, whose id for it has {} bytes: at most {PROVIDER_ID_MAX_BYTES} can be recorded",
                provider_id.len()
            );
            return Err(Failure::new(FailureCode::OutcomeUnknown, message));
        }
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

    /// Stores a produced file under a key of its own: `out/<tenant>/<job>/<attempt>/<index>.<ending>`. While the store
    /// does not take it, it is tried again and again, until the attempt is stopped.
    ///
    /// # Errors
    /// The failure to end the attempt with: it was stopped, or the store can never take it.
    pub async fn save(&self, index: usize, media_type: &str, bytes: Bytes) -> Result<Artifact, Failure> {
        if self.delivered.borrow().is_none() {
            self.delivered.send_replace(Some(self.delivery_now()));
        }
        let mut tries = 0;
        loop {
            let tenant = &self.assignment.job.tenant;
            let stored = self.io.save(tenant, self.id(), index, media_type, bytes.clone()).await;
            let failure = match stored {
                Err(failure) if failure.code != FailureCode::NotStored => failure,
                ended => return ended,
            };
            tries += 1;
            if tries == 1 {
                tracing::warn!(job = %self.id().job, attempt = self.id().attempt, reason = failure.message, "made and not stored: trying again");
            }
            metrics::ARTIFACT_STORE_REFUSALS.increment(1);
            let waiting = format!("it is made and waits to be stored: {}", failure.message);
            self.progress(Phase::Downloading, 0, 0, Some(&waiting));
            tokio::select! {
                () = tokio::time::sleep(delivered::again_after(tries)) => {}
                stop = self.stopped() => {
                    let message = format!("{}, after it was made and before it was stored", stop.message());
                    return Err(Failure::new(stop.code(), message).with_words(&failure.message));
                }
            }
        }
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
        Outcome { failure: Some(stop.failure()), ..Outcome::default() }
    }
}

impl AttemptControl for Attempt {
    fn stop(&self, stop: Stop) {
        self.stopper.stop(stop);
    }

    fn stop_reason(&self) -> Option<Stop> {
        self.stop_now()
    }

    fn stopped(&self) -> impl Future<Output = Stop> {
        Self::stopped(self)
    }

    fn delivery(&self) -> Option<DeliveredResult> {
        self.delivered.borrow().clone()
    }

    async fn delivered(&self) -> DeliveredResult {
        let mut delivered = self.delivered.subscribe();
        loop {
            if let Some(delivered) = delivered.borrow_and_update().clone() {
                return delivered;
            }
            if delivered.changed().await.is_err() {
                // The sender is ours.
                std::future::pending::<()>().await;
            }
        }
    }

    fn resumed_by(self, id: String) -> Self {
        Self { resume_id: Some(id), ..self }
    }
}

/// An outcome whose provider's id is one that a message and a claim can hold: a longer one is cut, with a mark.
pub(crate) fn with_short_id(outcome: Outcome) -> Outcome {
    let provider_id = outcome.provider_id.map(|id| cut_owned(id, PROVIDER_ID_MAX_BYTES));
    Outcome { provider_id, ..outcome }
}

/// The failure of a file that the store never takes.
#[must_use]
pub fn too_large(bytes: u64) -> Failure {
    Failure::new(FailureCode::NotStored, ArtifactError::TooLarge(bytes).to_string())
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

    #[cfg(test)]
    pub(crate) fn is_fired(&self) -> bool {
        self.token.is_cancelled()
    }

    fn reason(&self) -> Stop {
        match self.reason.load(Ordering::Acquire) {
            1 => Stop::Cancelled,
            2 => Stop::Timeout,
            3 => Stop::Expired,
            5 => Stop::Unfunded,
            6 => Stop::NotStored,
            7 => Stop::Poison,
            _ => Stop::Drain,
        }
    }
}
