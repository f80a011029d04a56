//! An attempt that is decided on, as the messages that place it.

use policy::plan::Assign;
use schemas::{
    Assignment, AttemptFacts, Backend, Capability, CarriedDecision, Class, Decision, Event, Fact, Failure,
    Job, MicroUsd, SCHEMA_VERSION,
};

use super::placed::Placed;
use crate::errors::{PublishError, StepError};
use crate::note::Note;
use crate::ports::{Ports, Record};
use crate::router::job::{AdmittedJob, Placement};

/// How soon to look again when the attempt before has not left its queue yet, milliseconds.
const OCCUPIED_AGAIN_MS: i64 = 150;

/// An attempt that is decided on, as the messages that place it. What it was decided from need not stay in memory
/// until they are stored: with hundreds in hand it would have to be fetched from far away to be dropped.
#[derive(Debug)]
pub struct Prepared<M> {
    /// The `assigned` event, where there is one.
    event: Option<M>,
    work: M,
    attempt: u32,
    backend: Backend,
}

/// A job's first attempt, decided on and free: its assignment `alone` where it may be, and where it starts at once.
#[must_use]
pub fn prepare_first<P: Ports>(
    ports: &P,
    admitted: AdmittedJob,
    assign: Assign,
    alone: bool,
) -> Prepared<P::Message> {
    let starts_alone = alone && assign.starts_at_once();
    let (target, decision) = Target::of(assign);
    let now_ms = ports.now_ms();
    let stamp = AttemptStamp::of(&admitted.first_attempt(), now_ms);
    if starts_alone {
        let work = assignment(target, stamp, admitted.job, Vec::new());
        let work = Assignment { decision: Some(CarriedDecision::new(&decision)), ..work };
        return Prepared::without_event(ports, &work);
    }
    let event = assigned(&admitted.first_attempt(), &target, decision, now_ms);
    Prepared::with_event(ports, &event, None, &assignment(target, stamp, admitted.job, Vec::new()))
}

impl<M> Prepared<M> {
    pub(super) fn with_event<P: Ports<Message = M>>(
        ports: &P,
        event: &Event,
        after: Option<u64>,
        work: &Assignment,
    ) -> Self {
        let record = match after {
            None => Record::Event(event),
            Some(sequence) => Record::EventAfter(event, sequence),
        };
        let event = ports.message(record);
        Self { event: Some(event), ..Self::without_event(ports, work) }
    }

    fn without_event<P: Ports<Message = M>>(ports: &P, work: &Assignment) -> Self {
        let (attempt, backend) = (work.attempt, work.backend.clone());
        Self { event: None, work: ports.message(Record::Work(work)), attempt, backend }
    }

    /// Stores the event, then the assignment. None when the attempt was placed before: by a router that died in
    /// between, one that slept, or for a publish that was repeated ([`crate::router::place::placed_before`]).
    ///
    /// # Errors
    /// The broker failed in between; [`crate::router::place::recover`] finds it.
    pub async fn store<P: Ports<Message = M>>(self, ports: &P) -> Result<Option<Placed>, StepError> {
        let Self { event, work, attempt, backend } = self;
        if let Some(event) = event {
            match ports.publish(&event).await {
                Ok(_) => {}
                Err(PublishError::Occupied { .. }) => return Ok(None),
                Err(PublishError::TooLarge { bytes, limit_bytes, .. }) => {
                    return Ok(Some(too_large("an event", bytes, limit_bytes)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        ports.note(Note::Assigned(&backend));
        store_work(ports, &work, attempt).await.map(Some)
    }
}

pub(super) async fn store_work<P: Ports>(
    ports: &P,
    work: &P::Message,
    attempt: u32,
) -> Result<Placed, StepError> {
    match ports.publish(work).await {
        Ok(_) => Ok(Placed::Done),
        // The subject holds this job's first assignment already.
        Err(PublishError::Occupied { .. }) if attempt == 1 => Ok(Placed::Done),
        // The attempt before is published as failed and about to be acknowledged.
        Err(PublishError::Occupied { .. }) => Ok(Placed::Later {
            at_ms: ports.now_ms() + OCCUPIED_AGAIN_MS,
            why: "its attempt before leaves its queue".to_owned(),
            refused: Vec::new(),
        }),
        // The same would come of another try.
        Err(PublishError::TooLarge { bytes, limit_bytes, .. }) => {
            Ok(too_large("an assignment", bytes, limit_bytes))
        }
        Err(error) => Err(error.into()),
    }
}

fn too_large(what: &str, bytes: usize, limit_bytes: usize) -> Placed {
    let words = format!(
        "the job needs {what} of {bytes} bytes, and a message may have {limit_bytes}: put long lists of the workflow into \
         a file and name it in body.inputs"
    );
    Placed::Refused(Failure::invalid("body.workflow", words))
}

/// Where an attempt is placed: an [`Assign`] without its decision.
pub(super) struct Target {
    pub(super) backend: Backend,
    pub(super) class: Class,
    pub(super) capability: Option<Capability>,
    pub(super) model: String,
    pub(super) timeout_ms: u64,
    pub(super) reserve_micro_usd: MicroUsd,
}

impl Target {
    pub(super) fn of(assign: Assign) -> (Self, Decision) {
        let Assign { decision, backend, class, capability, model, timeout_ms, reserve_micro_usd } = assign;
        (Self { backend, class, capability, model, timeout_ms, reserve_micro_usd }, decision)
    }
}

/// Which attempt it is, and when it was placed.
#[derive(Clone, Copy)]
pub(super) struct AttemptStamp {
    submitted_at_ms: i64,
    attempt: u32,
    counted_attempts: u32,
    time_ms: i64,
}

impl AttemptStamp {
    pub(super) const fn of(placement: &Placement<'_>, time_ms: i64) -> Self {
        let Placement { submitted_at_ms, attempt, counted_attempts, .. } = *placement;
        Self { submitted_at_ms, attempt, counted_attempts, time_ms }
    }
}

/// The `assigned` event, which takes the decision.
pub(super) fn assigned(placement: &Placement<'_>, target: &Target, decision: Decision, now_ms: i64) -> Event {
    let job = placement.job;
    let fact = Fact::Assigned {
        facts: policy::admit::facts(job, Some(target.class.clone()), placement.submitted_at_ms),
        backend: target.backend.clone(),
        class: target.class.clone(),
        capability: target.capability,
        model: target.model.clone(),
        reserved_micro_usd: target.reserve_micro_usd,
        decision,
    };
    Event::new(now_ms, job.tenant.clone(), job.id, placement.attempt, fact)
}

pub(super) fn assignment(
    target: Target,
    stamp: AttemptStamp,
    job: Job,
    history: Vec<AttemptFacts>,
) -> Assignment {
    Assignment {
        schema_version: SCHEMA_VERSION,
        time_ms: stamp.time_ms,
        submitted_at_ms: stamp.submitted_at_ms,
        attempt: stamp.attempt,
        counted_attempts: stamp.counted_attempts,
        backend: target.backend,
        class: target.class,
        capability: target.capability,
        model: target.model,
        timeout_ms: target.timeout_ms,
        reserved_micro_usd: target.reserve_micro_usd,
        decision: None,
        warnings: policy::admit::outranked(&job),
        job,
        history,
    }
}
