//! What a provider's worker must be able to do.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use protocol::worker::Found;
use schemas::{Capability, Class, Gpu, Health, Outcome, Service};

use crate::{Attempt, attempt};

/// One provider, as the worker host sees it.
///
/// Implementations translate: an assignment into the provider's request, the provider's answers into an
/// [`Outcome`]. They decide nothing about retries, money or acknowledgements.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// How the provider is and what it can do, for the worker's offer. Called every few seconds while
    /// the worker is up; must answer within a few seconds, and never start paid work.
    async fn discover(&self) -> Discovery;

    /// Runs one attempt to its end and says how it ended: artifacts saved through the attempt, usage as
    /// the provider counted it (also of failed work), or a failure with the provider's words.
    ///
    /// * Paid work: asks [`Attempt::may_start`], calls the provider once, then [`Attempt::started`] with its id before anything
    ///   else. With [`Attempt::resume_id`] set it must not start anything: it goes on from that id.
    /// * Work that is done: [`Attempt::delivered`] before the result is fetched from where the provider keeps
    ///   it, or [`Attempt::keep`] with everything that came in its only answer. A failure after that is
    ///   `not_stored` where it is final; after any other the host runs the attempt again by the provider's id.
    /// * Whenever [`Attempt::stopped`] fires it ends soon. For [`super::Stop::Drain`] it leaves work
    ///   that can be resumed at the provider alone; for the others it stops the work there, and
    ///   reports what it cost. The failure's code is [`super::Stop::code`].
    async fn run(&self, attempt: &Attempt) -> Outcome;

    /// Looks for paid work whose start was never confirmed: the claim was written, no id followed.
    /// The default says that the provider offers no way to find out.
    async fn find(&self, _attempt: &Attempt) -> Found {
        Found::Unknown
    }

    /// Stops what an earlier delivery of free work may have left running; the attempt ended without being
    /// run again. The default leaves nothing running.
    async fn abandon(&self, _attempt: &Attempt) {}

    /// The provider bills for attempts, so the worker refuses those for which nothing is reserved. Only a backend of
    /// machines that are our own says `false`; no document does.
    fn is_paid(&self) -> bool {
        true
    }

    /// Its server is this worker's alone: what fails there says nothing of other workers' servers. The worker then holds
    /// the server's breaker. The default is a provider that many workers call.
    fn has_own_server(&self) -> bool {
        false
    }

    /// The provider sends a report about each attempt of this service to [`Attempt::report_url`], from
    /// which [`Backend::reported_id`] reads its id. Work whose start was not confirmed then waits for it.
    fn reports(&self, _service: &Service) -> bool {
        false
    }

    /// For how long the provider keeps the result of this service's work, milliseconds; where it does not keep
    /// it at all, for how long the worker does.
    fn kept_ms(&self, _service: &Service) -> u64 {
        attempt::KEPT_MS
    }

    /// The provider's id of the work that a report is about.
    fn reported_id(&self, _report: &[u8]) -> Option<String> {
        None
    }
}

/// What a provider offers now.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// How it is.
    pub health: Health,
    /// Why, when not healthy.
    pub health_reason: Option<String>,
    /// Until when it will not work (quota), Unix milliseconds.
    pub unavailable_until_ms: Option<i64>,
    /// The classes that it makes and takes no work for now, since a breaker keeps their model out; told by the worker.
    pub resting: Vec<Class>,
    /// The catalog's classes that it makes; others are dropped from the offer.
    pub classes: Vec<Class>,
    /// Model files it has; none when it cannot tell.
    pub models: Option<BTreeSet<String>>,
    /// Node classes it has; none when it cannot tell.
    pub nodes: Option<BTreeSet<String>>,
    /// Inputs that are choices of model files, by node class, beyond those that everybody knows; none when it cannot
    /// tell.
    pub file_choices: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Its GPUs.
    pub gpus: Vec<Gpu>,
    /// What sets its server apart from others, as last known; set by the worker.
    pub capability: Option<Capability>,
}

impl Discovery {
    /// Healthy, making the given classes, with nothing more to tell.
    #[must_use]
    pub const fn healthy(classes: Vec<Class>) -> Self {
        Self {
            health: Health::Healthy,
            health_reason: None,
            unavailable_until_ms: None,
            classes,
            resting: Vec::new(),
            models: None,
            nodes: None,
            file_choices: None,
            gpus: Vec::new(),
            capability: None,
        }
    }

    /// What sets its server apart from others; none where its nodes are not known.
    #[must_use]
    pub fn capability_now(&self) -> Option<Capability> {
        let vram_bytes = self.gpus.iter().map(|gpu| gpu.vram_total_bytes).max();
        let (models, file_choices) = (self.models.as_ref(), self.file_choices.as_ref());
        self.nodes.as_ref().map(|nodes| Capability::of(nodes, models, file_choices, vram_bytes))
    }

    /// Not to be used now, and why.
    #[must_use]
    pub fn unwell(health: Health, reason: impl Into<String>) -> Self {
        Self { health, health_reason: Some(reason.into()), ..Self::healthy(Vec::new()) }
    }
}
