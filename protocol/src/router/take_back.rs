//! Takes waiting work back from backends that have lost all their workers or are far behind, so that it can run
//! elsewhere.
//!
//! Each assignment becomes a failed attempt (`interrupted`, which costs no attempt) and only then leaves the queue.
//! Paid work is claimed first, like any worker does: where the claim is taken, its holder may have called the
//! provider, and the assignment waits for a worker that can find out.

use std::collections::{BTreeSet, HashMap};

use policy::admit::admit;
use policy::overdue::{is_overdue, moves};
use policy::plan::Plan;
use schemas::{AttemptFacts, Backend, DeadLetter, Failure, FailureCode, JobId, Queue};

use crate::claim_store;
use crate::errors::StepError;
use crate::router::job::Placement;
use crate::router::place;
use crate::router::ports::{Queued, RouterPorts};
use crate::router::withdraw::{self, Waiting};

/// Assignments taken back from one queue in one look.
const TAKEN_BACK_MAX: usize = 1_000;

/// Waiting assignments of one queue that are looked at for having waited too long.
const OVERDUE_MAX: usize = 100;

/// Since when queues have had no worker, as this router saw it.
#[derive(Debug, Default)]
pub struct Deserted(HashMap<(Backend, Queue), i64>);

/// What a look at one queue came to.
#[derive(Debug)]
pub struct TakenBack {
    /// How many assignments were taken back.
    pub count: u64,
    /// The backend has workers for the class.
    pub is_served: bool,
}

impl Deserted {
    /// Forgets queues that are not looked at any more.
    pub fn keep(&mut self, queues: &BTreeSet<(Backend, Queue)>) {
        self.0.retain(|queue, _| queues.contains(queue));
    }

    /// Looks at one queue, and takes back what should not wait there.
    ///
    /// # Errors
    /// The broker failed in between; the next look goes on.
    pub async fn look<P: RouterPorts>(
        &mut self,
        ports: &P,
        backend: &Backend,
        queue: &Queue,
    ) -> Result<TakenBack, StepError> {
        let (policy, now_ms) = (ports.config().policy, ports.now_ms());
        let (is_served, waiting) = ports.with_fleet(|fleet| {
            let view = fleet.view(backend);
            let is_served = view.is_some_and(|view| view.serves(queue, policy.offer_max_age_ms, now_ms));
            (is_served, fleet.backlog(backend, queue))
        });
        let of = (backend.clone(), queue.clone());
        let count = if is_served {
            self.0.remove(&of);
            if waiting == 0 { 0 } else { overdue(ports, backend, queue).await? }
        } else {
            let since_ms = *self.0.entry(of).or_insert(now_ms);
            let is_stranded = (now_ms - since_ms).unsigned_abs() >= policy.stranded_after_ms;
            if is_stranded { stranded(ports, backend, queue).await? } else { 0 }
        };
        Ok(TakenBack { count, is_served })
    }
}

/// Takes everything back that a backend without workers has; how many.
async fn stranded<P: RouterPorts>(ports: &P, backend: &Backend, queue: &Queue) -> Result<u64, StepError> {
    let (mut next, mut taken) = (1, 0);
    for _ in 0..TAKEN_BACK_MAX {
        let Some(queued) = ports.next_queued(backend, queue, next).await? else { break };
        next = queued.sequence + 1;
        // One that finishes what it has, or that waits for its server, ends it by itself.
        if is_in_hand(ports, backend, queued.assignment.job.id) {
            continue;
        }
        let words = format!("{backend} lost the workers that could take the job while it waited there");
        let mut failure = Failure::new(FailureCode::Interrupted, words);
        // Other servers of the backend may have what it needs.
        failure.retry_after_ms = queue.capability.map(|_| 0);
        taken += u64::from(take_back(ports, queued, failure).await?);
    }
    Ok(taken)
}

/// Whether a worker that is there may have a job in hand.
fn is_in_hand<P: RouterPorts>(ports: &P, backend: &Backend, job: JobId) -> bool {
    let (policy, now_ms) = (ports.config().policy, ports.now_ms());
    ports.with_fleet(|fleet| {
        let offers = fleet.view(backend).map_or(&[][..], |view| &view.offers);
        offers.iter().any(|offer| offer.is_fresh(policy.offer_max_age_ms, now_ms) && offer.may_have(job))
    })
}

/// Takes back what has waited too long for a worker of a backend, and would be placed elsewhere now; how many.
async fn overdue<P: RouterPorts>(ports: &P, backend: &Backend, queue: &Queue) -> Result<u64, StepError> {
    let Some(mut next) = ports.undelivered_from(backend, queue).await? else { return Ok(0) };
    let (config, mut taken) = (ports.config(), 0);
    for _ in 0..OVERDUE_MAX {
        let Some(queued) = ports.next_queued(backend, queue, next).await? else { break };
        next = queued.sequence + 1;
        // Those behind it have waited less.
        if !is_overdue(queued.assignment.time_ms, ports.now_ms(), &config.policy) {
            break;
        }
        let words = format!("{backend} is far behind: the job waited there for too long");
        let behind = Failure::new(FailureCode::Interrupted, words);
        let failed = withdraw::failed_attempt(ports, &queued.assignment, None, behind.clone());
        if waits_too_long(ports, &queued).await? {
            let words = "it waited for so long that its claim would not be kept: it is planned again";
            let failure = Failure::new(FailureCode::Interrupted, words);
            taken += u64::from(take_back(ports, queued, failure).await?);
        } else if plan_after(ports, &failed).is_some_and(|plan| moves(backend, &plan)) {
            taken += u64::from(take_back(ports, queued, behind).await?);
        }
    }
    Ok(taken)
}

/// Whether paid work waits too long: if it waited on, the absence of its claim would prove nothing.
async fn waits_too_long<P: RouterPorts>(ports: &P, queued: &Queued) -> Result<bool, StepError> {
    let (assigned_at_ms, is_paid) = (queued.assignment.time_ms, queued.assignment.is_paid());
    if !claim_store::is_to_be_compared(assigned_at_ms, is_paid, ports.now_ms()) {
        return Ok(false);
    }
    Ok(ports.claim_store().await?.waits_too_long(assigned_at_ms, ports.now_ms()))
}

/// The plan that would follow a failed attempt; none for a job that would not be admitted any more.
fn plan_after<P: RouterPorts>(ports: &P, failed: &DeadLetter) -> Option<Plan> {
    let assignment = &failed.assignment;
    let (job, config) = (&assignment.job, ports.config());
    let history: Vec<AttemptFacts> =
        assignment.history.iter().chain(std::iter::once(&failed.ended_attempt)).cloned().collect();
    let admitted = admit(job, &config.catalog, &config.policy, 0, assignment.submitted_at_ms).ok()?;
    let placement = Placement {
        job,
        admitted: &admitted,
        submitted_at_ms: assignment.submitted_at_ms,
        attempt: assignment.attempt + 1,
        counted_attempts: assignment.counted_attempts,
        history: &history,
    };
    Some(place::weigh(ports, &placement, &[]))
}

async fn take_back<P: RouterPorts>(ports: &P, queued: Queued, failure: Failure) -> Result<bool, StepError> {
    let assignment = &queued.assignment;
    let claim = withdraw::claimant(ports, Waiting::of(assignment), &failure).await?;
    let failed = match &claim {
        None => withdraw::failed_attempt(ports, assignment, None, failure),
        // Its claim may have been there and be gone: no worker can find out more.
        Some(claim) => match withdraw::unknowable(claim) {
            None => return Ok(false),
            Some(failure) => withdraw::failed_attempt(ports, assignment, Some(claim), failure.clone()),
        },
    };
    withdraw::withdraw(ports, queued.sequence, &failed).await?;
    Ok(true)
}
