//! One suite that every backend passes, against its provider's simulator.
//!
//! A backend brings a [`Fixture`]; [`exercise`] runs every case and panics with the case's name. The
//! outside ([`MemoryIo`]) keeps artifacts and provider ids in memory, so that the suite can look at them;
//! the broker's part is tested where the real broker runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::{
    Artifact, ArtifactRef, Assignment, AttemptId, Catalog, DeliveredResult, Failure, FailureCode, Health,
    Input, MicroUsd, Outcome, Phase, Service, Tenant, WorkerId,
};

use crate::{Attempt, AttemptIo, Backend, Made, Stop, Stopper};
use runtime::artifacts;

/// Longest a case may take; far above what a simulator needs.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// What the suite needs of a backend under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The backend, talking to a fresh simulator without faults.
    async fn backend(&self) -> Arc<dyn Backend>;
    /// The catalog in force.
    fn catalog(&self) -> Arc<Catalog>;
    /// An assignment of a fresh job that takes the simulator a moment.
    fn assignment(&self) -> Assignment;
    /// Arms one of the simulator's faults for the next work, or removes all with none.
    async fn fault(&self, name: Option<&str>);
    /// How many pieces of work the simulator has started so far.
    async fn work_started(&self) -> u64;
    /// Whether the simulator has work running now.
    async fn is_working(&self) -> bool;
    /// Fault names with the failure code each must become.
    fn failures(&self) -> Vec<(&'static str, FailureCode)>;
    /// It costs money: ids must be recorded, and work resumed by them.
    fn is_paid(&self) -> bool;
    /// Work that was started can be found again by the recorded id.
    fn can_resume(&self) -> bool;
    /// The provider can be told to stop work in progress.
    fn can_cancel(&self) -> bool {
        true
    }
}

/// Keeps what attempts do in memory.
#[derive(Default)]
pub struct MemoryIo {
    /// Recorded provider ids by attempt.
    pub started: Mutex<BTreeMap<AttemptId, String>>,
    /// Stored files by key.
    pub files: Mutex<BTreeMap<String, Bytes>>,
    /// How often an input was fetched.
    pub loads: AtomicU32,
    /// Progress reports.
    pub progress: Mutex<Vec<(Phase, u32, u32)>>,
    /// What was delivered, by attempt.
    pub delivered: Mutex<BTreeMap<AttemptId, DeliveredResult>>,
    /// What was put on disk, by attempt.
    pub spooled: Mutex<BTreeMap<AttemptId, Vec<Made>>>,
    /// How often the store refuses a file before it takes one.
    pub refusals: AtomicU32,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl AttemptIo for MemoryIo {
    async fn started(&self, attempt: AttemptId, provider_id: &str) -> Result<(), Failure> {
        locked(&self.started).insert(attempt, provider_id.to_owned());
        Ok(())
    }

    async fn size(&self, input: &Input) -> Result<u64, Failure> {
        let bytes = locked(&self.files).get(&input.artifact.key).map(|bytes| bytes.len() as u64);
        bytes.ok_or_else(|| Failure::invalid("body.inputs", format!("{} is not stored", input.artifact.key)))
    }

    async fn load(&self, input: &Input) -> Result<Bytes, Failure> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let bytes = locked(&self.files).get(&input.artifact.key).cloned();
        bytes.ok_or_else(|| Failure::invalid("body.inputs", format!("{} is not stored", input.artifact.key)))
    }

    async fn delivered(&self, attempt: AttemptId, delivered: &DeliveredResult) {
        locked(&self.delivered).insert(attempt, delivered.clone());
    }

    async fn spool(
        &self,
        _: &Tenant,
        attempt: AttemptId,
        _: &DeliveredResult,
        files: &[Made],
    ) -> Option<WorkerId> {
        locked(&self.spooled).insert(attempt, files.to_vec());
        "memory".parse().ok()
    }

    async fn save(
        &self,
        tenant: &Tenant,
        attempt: AttemptId,
        index: usize,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Artifact, Failure> {
        let one_less = |left: u32| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok() {
            return Err(Failure::new(FailureCode::Transient, "maximum bytes exceeded"));
        }
        let artifact = artifacts::describe("MEMORY", Some(tenant), attempt, index, media_type, &bytes);
        locked(&self.files).insert(artifact.at.key.clone(), bytes);
        Ok(artifact)
    }

    fn progress(&self, _: &Assignment, phase: Phase, step: u32, steps: u32, _: Option<&str>) {
        locked(&self.progress).push((phase, step, steps));
    }
}

/// Runs every case.
///
/// # Panics
/// With the name of the first case that does not hold.
pub async fn exercise(fixture: &dyn Fixture) {
    let suite = Suite { fixture, backend: fixture.backend().await };
    suite.discovers().await;
    suite.completes_with_fetchable_artifacts().await;
    suite.repeats_give_the_same_keys().await;
    suite.maps_every_failure().await;
    suite.stops_when_asked(Stop::Cancelled).await;
    suite.stops_when_asked(Stop::Timeout).await;
    suite.stops_when_asked(Stop::Expired).await;
    suite.resumes_without_starting_again().await;
    suite.starts_nothing_that_is_not_paid_for().await;
    suite.waits_while_the_store_refuses().await;
    for stop in [Stop::Cancelled, Stop::Expired, Stop::NotStored] {
        suite.stops_while_the_store_refuses(stop).await;
    }
}

struct Suite<'a> {
    fixture: &'a dyn Fixture,
    backend: Arc<dyn Backend>,
}

struct Run {
    outcome: Outcome,
    io: Arc<MemoryIo>,
    id: AttemptId,
}

impl Suite<'_> {
    fn attempt(
        &self,
        assignment: Assignment,
        resume: Option<String>,
        io: Arc<MemoryIo>,
    ) -> (Attempt, Stopper) {
        let catalog = self.fixture.catalog();
        let service: Service = catalog
            .service(&assignment.backend, &assignment.class)
            .expect("the fixture's assignment has a service")
            .clone();
        let stopper = Stopper::default();
        (Attempt::new(assignment, catalog, service, resume, io, stopper.clone()), stopper)
    }

    async fn run(&self, case: &str, assignment: Assignment, resume: Option<String>) -> Run {
        self.run_with(Arc::default(), case, assignment, resume).await
    }

    async fn run_with(
        &self,
        io: Arc<MemoryIo>,
        case: &str,
        assignment: Assignment,
        resume: Option<String>,
    ) -> Run {
        let id = assignment.id();
        let (attempt, _stopper) = self.attempt(assignment, resume, Arc::clone(&io));
        let outcome = tokio::time::timeout(CASE_LIMIT, self.backend.run(&attempt)).await;
        Run { outcome: outcome.unwrap_or_else(|_| panic!("{case}: no end within {CASE_LIMIT:?}")), io, id }
    }

    async fn discovers(&self) {
        let discovery = self.backend.discover().await;
        assert_eq!(discovery.health, Health::Healthy, "discovers: {:?}", discovery.health_reason);
        let class = self.fixture.assignment().class;
        assert!(
            discovery.classes.contains(&class),
            "discovers: {class} is not among {:?}",
            discovery.classes
        );
    }

    async fn completes_with_fetchable_artifacts(&self) {
        let case = "completes";
        let run = self.run(case, self.fixture.assignment(), None).await;
        assert_eq!(run.outcome.failure, None, "{case}");
        assert!(!run.outcome.artifacts.is_empty(), "{case}: nothing was made");
        let files = locked(&run.io.files);
        for artifact in &run.outcome.artifacts {
            let bytes = files.get(&artifact.at.key).unwrap_or_else(|| panic!("{case}: not fetchable"));
            assert_eq!(artifact.bytes, bytes.len() as u64, "{case}");
            assert_eq!(artifact.sha256, artifacts::sha256_hex(bytes), "{case}");
            assert!(artifact.width.is_some() || !artifact.media_type.starts_with("image/png"), "{case}");
        }
        assert!(!locked(&run.io.progress).is_empty(), "{case}: no progress was told");
        assert!(run.outcome.provider_id.is_some(), "{case}: no provider id");
        if self.fixture.is_paid() {
            assert!(!run.outcome.usage.is_empty(), "{case}: paid work without usage");
            if self.fixture.can_resume() {
                assert_eq!(locked(&run.io.started).get(&run.id), run.outcome.provider_id.as_ref(), "{case}");
            }
        }
    }

    async fn repeats_give_the_same_keys(&self) {
        let case = "repeats";
        let assignment = self.fixture.assignment();
        let keys = |run: &Run| -> Vec<ArtifactRef> {
            run.outcome.artifacts.iter().map(|artifact| artifact.at.clone()).collect()
        };
        let first = self.run(case, assignment.clone(), None).await;
        let before = self.fixture.work_started().await;
        let resume = first.outcome.provider_id.clone().filter(|_| self.fixture.can_resume());
        let again = self.run(case, assignment, resume).await;
        assert_eq!(again.outcome.failure, None, "{case}");
        assert_eq!(keys(&first), keys(&again), "{case}");
        if self.fixture.can_resume() {
            assert_eq!(self.fixture.work_started().await, before, "{case}: finished work was started again");
        }
    }

    async fn maps_every_failure(&self) {
        for (fault, code) in self.fixture.failures() {
            self.fixture.fault(Some(fault)).await;
            let run = self.run(fault, self.fixture.assignment(), None).await;
            let failure = run.outcome.failure.unwrap_or_else(|| panic!("{fault}: succeeded"));
            assert_eq!(failure.code, code, "{fault}: {failure:?}");
            assert!(!failure.message.is_empty(), "{fault}: no words");
            self.fixture.fault(None).await;
        }
    }

    async fn stops_when_asked(&self, stop: Stop) {
        let case = format!("stops for {stop:?}");
        let io = Arc::new(MemoryIo::default());
        let (attempt, stopper) = self.attempt(self.fixture.assignment(), None, io);
        let backend = Arc::clone(&self.backend);
        let run = backend.run(&attempt);
        tokio::pin!(run);
        let working = wait_until(&case, || self.fixture.is_working());
        tokio::select! {
            outcome = &mut run => panic!("{case}: ended before it was seen working: {outcome:?}"),
            () = working => stopper.stop(stop),
        }
        let outcome = tokio::time::timeout(CASE_LIMIT, run).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{case}: no end within {CASE_LIMIT:?}"));
        assert_eq!(outcome.failure.map(|failure| failure.code), Some(stop.code()), "{case}");
        if self.fixture.can_cancel() {
            wait_until(&case, || async { !self.fixture.is_working().await }).await;
        }
    }

    /// A backend that bills says so, and does not start an attempt for which nothing is reserved, whoever placed it.
    async fn starts_nothing_that_is_not_paid_for(&self) {
        let case = "starts nothing that is not paid for";
        assert_eq!(
            self.backend.is_paid(),
            self.fixture.is_paid(),
            "{case}: whether it bills is not as it says"
        );
        if !self.fixture.is_paid() {
            return;
        }
        let assignment = Assignment { reserved_micro_usd: MicroUsd::ZERO, ..self.fixture.assignment() };
        let before = self.fixture.work_started().await;
        let run = self.run(case, assignment, None).await;
        let failure = run.outcome.failure.unwrap_or_else(|| panic!("{case}: succeeded"));
        assert!(!failure.message.is_empty(), "{case}: no words");
        assert!(run.outcome.artifacts.is_empty(), "{case}: something was made");
        assert_eq!(run.outcome.provider_id, None, "{case}: the provider was called");
        assert!(locked(&run.io.started).is_empty(), "{case}: the provider was called");
        assert_eq!(self.fixture.work_started().await, before, "{case}: work was started");
    }

    async fn resumes_without_starting_again(&self) {
        if !self.fixture.can_resume() {
            return;
        }
        let case = "resumes";
        let io = Arc::new(MemoryIo::default());
        let assignment = self.fixture.assignment();
        let id = assignment.id();
        let before = self.fixture.work_started().await;
        let (attempt, _stopper) = self.attempt(assignment.clone(), None, Arc::clone(&io));
        {
            // The worker dies right after the provider's id was recorded: its future is dropped.
            let run = self.backend.run(&attempt);
            tokio::pin!(run);
            let recorded = wait_until(case, || async { locked(&io.started).contains_key(&id) });
            tokio::select! {
                outcome = &mut run => panic!("{case}: ended before its id was recorded: {outcome:?}"),
                () = recorded => {}
            }
        }
        let provider_id = locked(&io.started).get(&id).cloned();
        let run = self.run(case, assignment, provider_id.clone()).await;
        assert_eq!(run.outcome.failure, None, "{case}");
        assert_eq!(run.outcome.provider_id, provider_id, "{case}");
        assert_eq!(self.fixture.work_started().await, before + 1, "{case}: work was started twice");
    }

    /// The store refuses what was made for a while: it is made once, and stored later.
    async fn waits_while_the_store_refuses(&self) {
        let case = "waits for the store";
        let io = Arc::new(MemoryIo { refusals: AtomicU32::new(3), ..MemoryIo::default() });
        let before = self.fixture.work_started().await;
        let run = self.run_with(io, case, self.fixture.assignment(), None).await;
        assert_eq!(run.outcome.failure, None, "{case}");
        assert_eq!(run.io.refusals.load(Ordering::Acquire), 0, "{case}: it was stored elsewhere");
        assert_eq!(locked(&run.io.files).len(), run.outcome.artifacts.len(), "{case}");
        assert_eq!(self.fixture.work_started().await, before + 1, "{case}: work was started again");
        self.is_kept(case, &run.io, run.id);
    }

    /// What was made and never stored is charged once, whatever ends it.
    async fn stops_while_the_store_refuses(&self, stop: Stop) {
        let case = format!("stops for {stop:?} while the store refuses");
        let io = Arc::new(MemoryIo { refusals: AtomicU32::new(u32::MAX), ..MemoryIo::default() });
        let assignment = self.fixture.assignment();
        let id = assignment.id();
        let before = self.fixture.work_started().await;
        let (attempt, stopper) = self.attempt(assignment, None, Arc::clone(&io));
        let backend = Arc::clone(&self.backend);
        let run = backend.run(&attempt);
        tokio::pin!(run);
        let refused = wait_until(&case, || async { io.refusals.load(Ordering::Acquire) < u32::MAX - 1 });
        tokio::select! {
            outcome = &mut run => panic!("{case}: ended although it was not stored: {outcome:?}"),
            () = refused => {}
        }
        self.is_kept(&case, &io, id);
        stopper.stop(stop);
        let outcome = tokio::time::timeout(CASE_LIMIT, run).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{case}: no end within {CASE_LIMIT:?}"));
        assert_eq!(outcome.failure.map(|failure| failure.code), Some(stop.code()), "{case}");
        assert!(!self.fixture.is_paid() || !outcome.usage.is_empty(), "{case}: paid work without usage");
        assert_eq!(self.fixture.work_started().await, before + 1, "{case}: work was started again");
    }

    /// What was paid for is written down with its usage, and is on disk where the provider does not keep it.
    fn is_kept(&self, case: &str, io: &MemoryIo, id: AttemptId) {
        if !self.fixture.is_paid() {
            return;
        }
        let delivered = locked(&io.delivered).get(&id).cloned();
        let delivered =
            delivered.unwrap_or_else(|| panic!("{case}: the claim does not say it was delivered"));
        assert!(!delivered.usage.is_empty(), "{case}: delivered without usage");
        let spooled = locked(&io.spooled).contains_key(&id);
        assert_eq!(
            (spooled, delivered.spooled_by.is_some()),
            (!self.fixture.can_resume(), spooled),
            "{case}"
        );
    }
}

/// Waits until a condition holds, for the tests of the workers.
///
/// # Panics
/// It does not hold in time.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    wait_until(what, || std::future::ready(condition())).await;
}

async fn wait_until<F, Fut>(case: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(CASE_LIMIT, poll).await;
    assert!(done.is_ok(), "{case}: the condition never held within {CASE_LIMIT:?}");
}
