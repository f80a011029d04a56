//! Places an attempt: plan, reserve, `assigned` event, assignment. In this order, so that a crash in between is seen
//! and finished by the router that reads the message next ([`recover`]).
//!
//! A job's first attempt that is free and finds a free slot goes without the event: its assignment carries the
//! decision, and what it leaves behind (assignment, failed attempt, events) is its track.

mod placed;
mod prepared;

use policy::plan::{Assign, Choice, Plan};
use schemas::config::Scoring;
use schemas::reserve::Reservation;
use schemas::{Backend, Fact, JobId};

use crate::errors::StepError;
use crate::note::Note;
use crate::router::decide::{give_room_back, plan_with, take_room};
use crate::router::history::{self, History};
use crate::router::job::Placement;
use crate::router::ports::RouterPorts;
use crate::router::schedule;

pub use placed::Placed;
use prepared::{AttemptStamp, Target, assigned, assignment, store_work};
pub use prepared::{Prepared, prepare_first};

/// Decides without placing: what `estimate` shows.
#[must_use]
pub fn weigh<P: RouterPorts>(ports: &P, placement: &Placement<'_>, refused: &[(Backend, String)]) -> Plan {
    let config = ports.config();
    match config.policy.scoring {
        Scoring::Weighted => plan_with(ports, &config, placement, refused, Choice::Weighted),
        Scoring::Schedule => schedule::weigh(ports, &config, placement, refused),
    }
}

/// What becomes of a job that has just come, while none waits: what a schedule does not start at once waits for its look.
#[must_use]
pub(super) fn decide_first<P: RouterPorts>(ports: &P, placement: &Placement<'_>) -> Plan {
    let config = ports.config();
    match config.policy.scoring {
        Scoring::Weighted => taken(ports, plan_with(ports, &config, placement, &[], Choice::Weighted)),
        Scoring::Schedule => schedule::at_once(ports, &config, placement),
    }
}

/// Decides, and counts the room that an assignment takes: plans that follow see it taken.
#[must_use]
pub fn decide<P: RouterPorts>(ports: &P, placement: &Placement<'_>, refused: &[(Backend, String)]) -> Plan {
    taken(ports, weigh(ports, placement, refused))
}

/// The room that a plan takes is counted.
fn taken<P: RouterPorts>(ports: &P, plan: Plan) -> Plan {
    if let Plan::Assign(assign) = &plan {
        take_room(ports, assign);
    }
    plan
}

/// Places an attempt.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn place<P: RouterPorts>(ports: &P, placement: Placement<'_>) -> Result<Placed, StepError> {
    let plan = decide(ports, &placement, &[]);
    execute(ports, placement, plan).await
}

/// Executes a plan; decides again where money was refused.
///
/// # Errors
/// As [`place`].
pub async fn execute<P: RouterPorts>(
    ports: &P,
    placement: Placement<'_>,
    mut plan: Plan,
) -> Result<Placed, StepError> {
    let mut refused = Vec::new();
    loop {
        match plan {
            Plan::Defer { until_ms, why, .. } => {
                ports.note(Note::Deferred);
                tracing::debug!(job = %placement.job.id, reason = why, "deferred");
                return Ok(Placed::Later { at_ms: until_ms, why, refused });
            }
            Plan::Refuse { failure, .. } => return Ok(Placed::Refused(failure)),
            Plan::Assign(assign) => match reserve(ports, &placement, &assign).await {
                Reserved::Yes => return assign_attempt(ports, &placement, assign).await,
                Reserved::No(words) => {
                    give_room_back(ports, &assign);
                    refused.push((assign.backend.clone(), words));
                }
                // The next plan sees that the ledger is away.
                Reserved::Away => give_room_back(ports, &assign),
            },
        }
        let config = ports.config();
        // A first attempt is bound by looks at the room alone.
        let waits_in_room = placement.attempt == 1 && config.policy.scoring == Scoring::Schedule;
        plan = if waits_in_room {
            plan_with(ports, &config, &placement, &refused, Choice::Waits { why: "its turn" })
        } else {
            decide(ports, &placement, &refused)
        };
    }
}

enum Reserved {
    Yes,
    No(String),
    Away,
}

async fn reserve<P: RouterPorts>(ports: &P, placement: &Placement<'_>, assign: &Assign) -> Reserved {
    if assign.reserve_micro_usd.0 == 0 {
        return Reserved::Yes;
    }
    let reservation = Reservation {
        job: placement.job.id,
        attempt: placement.attempt,
        tenant: placement.job.tenant.clone(),
        backend: assign.backend.clone(),
        amount_micro_usd: assign.reserve_micro_usd,
        max_cost_micro_usd: placement.job.constraints.max_cost_micro_usd,
        time_ms: ports.now_ms(),
    };
    match ports.reserve(reservation).await {
        Ok(grant) if grant.granted => Reserved::Yes,
        Ok(grant) => Reserved::No(grant.refusal.unwrap_or_else(|| "refused without a reason".to_owned())),
        Err(_) => Reserved::Away,
    }
}

async fn assign_attempt<P: RouterPorts>(
    ports: &P,
    placement: &Placement<'_>,
    assign: Box<Assign>,
) -> Result<Placed, StepError> {
    let (target, decision) = Target::of(*assign);
    // Each attempt is placed once: the first onto an empty subject, the others right after the one before.
    let after = match placement.attempt {
        1 => None,
        _ => Some(Box::pin(sequence_before(ports, placement)).await?),
    };
    let event = assigned(placement, &target, decision, ports.now_ms());
    let stamp = AttemptStamp::of(placement, event.time_ms);
    let work = assignment(target, stamp, placement.job.clone(), placement.history.to_vec());
    match Prepared::with_event(ports, &event, after, &work).store(ports).await? {
        Some(placed) => Ok(placed),
        None => Box::pin(placed_before(ports, placement)).await,
    }
}

/// Resumes a placement that another router began.
///
/// # Errors
/// As [`place`].
pub async fn placed_before<P: RouterPorts>(
    ports: &P,
    placement: &Placement<'_>,
) -> Result<Placed, StepError> {
    let history = history::read(ports, placement.job.id).await?;
    let placed = history.last_assigned().is_some_and(|event| event.attempt >= placement.attempt);
    // Read from a replica that lags: nothing may be concluded from what it does not show.
    if !placed && history.ended().is_none() {
        return Err(StepError::Lagging);
    }
    resume(ports, placement, &history).await
}

/// Where the job's last `assigned` event lies, as long as it is of an earlier attempt; else 0, which refuses
/// the next one.
async fn sequence_before<P: RouterPorts>(ports: &P, placement: &Placement<'_>) -> Result<u64, StepError> {
    let last = ports.last_assigned(&placement.job.tenant, placement.job.id).await?;
    Ok(last.filter(|last| last.attempt < placement.attempt).map_or(0, |last| last.sequence))
}

/// Resumes a placement that was begun, if there is one: call it for a message that was read before.
///
/// # Errors
/// As [`place`].
pub async fn recover<P: RouterPorts>(
    ports: &P,
    placement: &Placement<'_>,
) -> Result<Option<Placed>, StepError> {
    let history = history::read(ports, placement.job.id).await?;
    recover_from(ports, placement, &history).await
}

/// As [`recover`], from a history that was read just now.
///
/// # Errors
/// As [`place`].
pub async fn recover_from<P: RouterPorts>(
    ports: &P,
    placement: &Placement<'_>,
    history: &History,
) -> Result<Option<Placed>, StepError> {
    if history.has_begun(placement.attempt) {
        resume(ports, placement, history).await.map(Some)
    } else {
        Ok(None)
    }
}

/// Whether an attempt that is told of was never handed on: its assignment is in no queue, and nothing followed it. An
/// assignment stays in its queue until what follows from it is stored; one of an attempt before, whose acknowledgement was
/// lost, may lie there still, and ends nothing.
///
/// # Errors
/// The broker did not answer.
pub async fn is_unassigned<P: RouterPorts>(ports: &P, job: JobId, attempt: u32) -> Result<bool, StepError> {
    if ports.queued(job).await?.is_some_and(|queued| queued.attempt >= attempt) {
        return Ok(false);
    }
    // Read after the queue: what left it in between is seen here.
    let history = history::read(ports, job).await?;
    Ok(history.ended().is_none() && !history.went_on_from(attempt) && !history.placed_without_event(attempt))
}

/// The `assigned` event is there: makes sure that the assignment is too, unless it has been worked on.
async fn resume<P: RouterPorts>(
    ports: &P,
    placement: &Placement<'_>,
    history: &History,
) -> Result<Placed, StepError> {
    if history.is_over()
        || history.went_on_from(placement.attempt)
        || history.placed_without_event(placement.attempt)
    {
        return Ok(Placed::Done);
    }
    let Some(event) = history.last_assigned().filter(|event| event.attempt == placement.attempt) else {
        return Ok(Placed::Done);
    };
    let Fact::Assigned { backend, class, capability, model, reserved_micro_usd, .. } = &event.fact else {
        return Ok(Placed::Done);
    };
    // Before anything is made of it: what is over is not placed once more.
    if let Some((state, failure)) =
        placement.is_over(ports.is_cancelled(&placement.job.tenant, placement.job.id), ports.now_ms())
    {
        let unassigned = is_unassigned(ports, placement.job.id, placement.attempt).await?;
        // Whoever has the assignment ends the job.
        return Ok(if unassigned { Placed::Over(state, failure) } else { Placed::Done });
    }
    tracing::info!(job = %placement.job.id, attempt = placement.attempt, %backend, "resuming a placement");
    let config = ports.config();
    let service = config.catalog.service(backend, class);
    let target = Target {
        backend: backend.clone(),
        class: class.clone(),
        capability: *capability,
        model: model.clone(),
        timeout_ms: service.map_or(config.policy.patience_ms, |service| service.timeout_ms),
        reserve_micro_usd: *reserved_micro_usd,
    };
    let stamp = AttemptStamp::of(placement, event.time_ms);
    let work = assignment(target, stamp, placement.job.clone(), placement.history.to_vec());
    let work = ports.message(crate::ports::Record::Work(&work));
    store_work(ports, &work, placement.attempt).await
}
