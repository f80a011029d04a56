//! Assignments that no worker will end: taken out of their queue, and the failed attempt that says so.

use policy::cost;
use schemas::topology::stream;
use schemas::{
    Assignment, AttemptId, AttemptRecord, AttemptState, Backend, DeadLetter, Failure, FailureCode, MicroUsd,
    Outcome, SCHEMA_VERSION, WorkerId,
};

use crate::claim_store::Absence;
use crate::errors::StepError;
use crate::ports::{Claimed, Ports, Record};
use crate::router::ports::RouterPorts;
use crate::worker::claim;
use crate::worker::machine::{self, Ended};

/// The name in the claim of a router, for work that no worker will run.
const CLAIMANT: &str = "router-sweep";

/// A paid or free attempt that is to be taken out of its queue.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Where it waits.
    pub backend: &'a Backend,
    /// What is reserved for it.
    pub reserved_micro_usd: MicroUsd,
    /// When it was assigned, Unix milliseconds.
    pub assigned_at_ms: i64,
}

impl<'a> Waiting<'a> {
    /// The attempt of an assignment.
    #[must_use]
    pub const fn of(assignment: &'a Assignment) -> Self {
        Self {
            attempt: assignment.id(),
            backend: &assignment.backend,
            reserved_micro_usd: assignment.reserved_micro_usd,
            assigned_at_ms: assignment.time_ms,
        }
    }

    const fn is_paid(&self) -> bool {
        self.reserved_micro_usd.0 != 0
    }
}

/// The failed attempt of a withdrawn assignment. One without a claim cost nothing; one with a claim costs what the
/// claim says, or possibly everything that was reserved.
#[must_use]
pub fn failed_attempt<P: Ports>(
    ports: &P,
    assignment: &Assignment,
    claim: Option<&AttemptRecord>,
    failure: Failure,
) -> DeadLetter {
    let recorded = claim.and_then(|claim| claim.outcome.clone()).unwrap_or_default();
    let provider_id =
        recorded.provider_id.clone().or_else(|| claim.and_then(|claim| claim.provider_id.clone()));
    let outcome = Outcome { failure: Some(failure), provider_id, ..recorded };
    let now_ms = ports.now_ms();
    let started_at_ms = claim.and_then(|claim| claim.started_at_ms);
    let prices = ports.config().prices;
    let at_ms = started_at_ms.unwrap_or(now_ms);
    let price = cost::price_of(&outcome.usage, &assignment.backend, &assignment.model, &prices, at_ms);
    machine::dead_letter(&Ended {
        assignment,
        worker: claim.map(|claim| &claim.worker),
        simulated: false,
        started_at_ms,
        finished_at_ms: now_ms,
        outcome: &outcome,
        price_micro_usd: price.ok(),
        called: claim.is_some(),
    })
}

/// Takes an assignment out of its queue: the failed attempt is stored first, under the id that a worker's would have,
/// so that of the two one is stored.
///
/// # Errors
/// The broker did not store it.
pub async fn withdraw<P: RouterPorts>(
    ports: &P,
    sequence: u64,
    failed: &DeadLetter,
) -> Result<(), StepError> {
    ports.store(Record::Failed(failed)).await?;
    // Gone already when a worker came back and finished it: then its end stands and the failed attempt finds it. Not
    // deleted, it runs for nothing: its end finds that the job went on.
    let _ = ports.delete(stream::WORK, sequence).await;
    Ok(())
}

/// Whether an attempt may be taken out of its queue unrun. Free work always; of paid work the claim is taken and
/// settled with `failure`, like a worker would, so that none will call the provider for it. Where another process has
/// the claim, the provider may have been called, and a worker must find out.
///
/// # Errors
/// The broker did not answer.
pub async fn claim_unrun<P: Ports>(
    ports: &P,
    waiting: Waiting<'_>,
    failure: &Failure,
) -> Result<bool, StepError> {
    Ok(claimant(ports, waiting, failure).await?.is_none())
}

/// The claim under which a paid attempt may have been started, having taken the claim if there is none; none for free
/// work, and for work that was certainly not started. Taking it is how to know: a claim that is merely read may come from a
/// replica that is behind. Where a claim may have been there and be gone, the one that is taken says so
/// ([`unknowable`]).
pub(crate) async fn claimant<P: Ports>(
    ports: &P,
    waiting: Waiting<'_>,
    failure: &Failure,
) -> Result<Option<AttemptRecord>, StepError> {
    if !waiting.is_paid() {
        return Ok(None);
    }
    let Waiting { attempt, backend, reserved_micro_usd, assigned_at_ms } = waiting;
    let absence = ports.absence_of_claim(assigned_at_ms, true).await?;
    let failure = match &absence {
        Absence::NotStarted => failure,
        Absence::Unknowable(failure) => failure,
    };
    let record = AttemptRecord {
        schema_version: SCHEMA_VERSION,
        job: attempt.job,
        attempt: attempt.attempt,
        backend: backend.clone(),
        worker: claimant_id(),
        state: AttemptState::Settled,
        claimed_at_ms: ports.now_ms(),
        started_at_ms: None,
        reserved_micro_usd,
        provider_id: None,
        outcome: Some(Outcome { failure: Some(failure.clone()), ..Outcome::default() }),
        delivered: None,
        // Any router goes on from the claim of any other.
        nonce: None,
    };
    match claim::create(ports, record).await? {
        // Granted, or taken before by a router that died before it published the failed attempt.
        Claimed::Granted(held) | Claimed::AlreadyClaimed(held) => {
            let record = *held.record;
            let is_unrun = record.worker.as_str() == CLAIMANT && unknowable(&record).is_none();
            Ok(Some(record).filter(|_| !is_unrun))
        }
    }
}

/// Why it cannot be known whether an attempt was started, where a router's claim says so.
#[must_use]
pub fn unknowable(record: &AttemptRecord) -> Option<&Failure> {
    let failure = record.outcome.as_ref()?.failure.as_ref()?;
    let is_routers = record.worker.as_str() == CLAIMANT;
    (is_routers && failure.code == FailureCode::OutcomeUnknown).then_some(failure)
}

fn claimant_id() -> WorkerId {
    CLAIMANT.parse().unwrap_or_else(|_| unreachable!("`{CLAIMANT}` is a worker id"))
}

/// An assignment that the broker gave up on after its last delivery: it killed its workers, and becomes a failed
/// attempt with code `poison`.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn given_up<P: RouterPorts>(ports: &P, sequence: u64, deliveries: u64) -> Result<(), StepError> {
    let words = format!("{deliveries} deliveries and no outcome: it is put aside");
    undeliverable(ports, sequence, Failure::new(FailureCode::Poison, words)).await
}

/// An assignment that no worker will be given: it becomes a failed attempt, and costs what its claim says. One that is
/// gone was settled in the meantime.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn undeliverable<P: RouterPorts>(
    ports: &P,
    sequence: u64,
    failure: Failure,
) -> Result<(), StepError> {
    let Some(assignment) = ports.queued_at(sequence).await? else { return Ok(()) };
    let claim = claimant(ports, Waiting::of(&assignment), &failure).await?;
    withdraw(ports, sequence, &failed_attempt(ports, &assignment, claim.as_ref(), failure)).await
}
