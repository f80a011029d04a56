//! Places an attempt: plan, reserve, `assigned` event, assignment. In this order, so that a crash in
//! between is seen and finished by whoever reads the message next ([`recover`]).
//!
//! A job's first attempt that is free and finds a free slot goes without the event: its assignment carries the
//! decision, and what it leaves behind (assignment, dead letter, events) is its track.

use policy::admit::Admitted;
use policy::plan::{Assign, Plan, PlanInput, plan};
use runtime::clock;
use runtime::metrics;
use runtime::publish::{Message, PublishError};
use schemas::reserve::Reservation;
use schemas::{
    Assignment, AttemptFacts, Backend, CarriedDecision, Class, Decision, Event, Fact, Failure, Job, MicroUsd,
    SCHEMA_VERSION, subjects,
};

use crate::history::{self, History};
use crate::intake::Taken;
use crate::shared::Router;

/// One attempt to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Placing<'a> {
    /// The job.
    pub job: &'a Job,
    /// What admission found out about it.
    pub admitted: &'a Admitted,
    /// When the broker took it in, Unix milliseconds.
    pub submitted_at_ms: i64,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Attempts so far that counted.
    pub counted_attempts: u32,
    /// The attempts so far.
    pub history: &'a [AttemptFacts],
}

/// What came of it.
#[derive(Debug)]
pub enum Placed {
    /// It waits at a backend; the message that brought it may be acknowledged.
    Done,
    /// Nothing changed; look again then (Unix milliseconds).
    Later(i64),
    /// It cannot be placed, ever.
    Refused(Failure),
}

/// Why placing was given up for now. Nothing is lost: the message that brought the job stays.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The broker did not take an event or an assignment.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The job's idempotency key could not be looked up.
    #[error("{0}")]
    Key(String),
    /// The job's events could not be read.
    #[error("reading the job's events: {0}")]
    History(String),
}

/// How soon to look again when the attempt before has not left its queue yet, milliseconds.
const OCCUPIED_AGAIN_MS: i64 = 150;

/// Decides without placing: what `estimate` shows.
#[must_use]
pub fn weigh(router: &Router, placing: &Placing<'_>, refused: &[(Backend, String)]) -> Plan {
    let config = router.config();
    router.with_fleet(|fleet| {
        plan(&PlanInput {
            job: placing.job,
            admitted: placing.admitted,
            attempt: placing.attempt,
            counted_attempts: placing.counted_attempts,
            history: placing.history,
            fleet,
            catalog: &config.catalog,
            prices: &config.prices,
            policy: &config.policy,
            tenant: config.tenants.of(&placing.job.tenant),
            ledger_available: router.reserver.is_available(),
            refused,
            now_ms: clock::now_ms(),
        })
    })
}

/// Decides, and counts the room that an assignment takes: plans that follow see it taken.
#[must_use]
pub fn decide(router: &Router, placing: &Placing<'_>, refused: &[(Backend, String)]) -> Plan {
    let plan = weigh(router, placing, refused);
    if let Plan::Assign(assign) = &plan {
        router.change_fleet(|fleet| fleet.add_backlog(&assign.backend, &assign.class, 1));
    }
    plan
}

/// Undoes what [`decide`] counted, for an assignment that is not made.
pub fn give_room_back(router: &Router, assign: &Assign) {
    router.change_fleet(|fleet| fleet.add_backlog(&assign.backend, &assign.class, -1));
}

/// Places an attempt.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn place(router: &Router, placing: Placing<'_>) -> Result<Placed, PlaceError> {
    let plan = decide(router, &placing, &[]);
    carry(router, placing, plan).await
}

/// Carries out what was decided; decides again where money was refused.
///
/// # Errors
/// As [`place`].
pub async fn carry(router: &Router, placing: Placing<'_>, mut plan: Plan) -> Result<Placed, PlaceError> {
    let mut refused = Vec::new();
    loop {
        match plan {
            Plan::Defer { until_ms, why, .. } => {
                metrics::ROUTER_DEFERRED.increment(1);
                tracing::debug!(job = %placing.job.id, reason = why, "deferred");
                return Ok(Placed::Later(until_ms));
            }
            Plan::Refuse { failure, .. } => return Ok(Placed::Refused(failure)),
            Plan::Assign(assign) => match reserve(router, &placing, &assign).await {
                Reserved::Yes => return carry_out(router, &placing, assign).await,
                Reserved::No(words) => {
                    give_room_back(router, &assign);
                    refused.push((assign.backend.clone(), words));
                }
                // The next plan sees that the ledger is away.
                Reserved::Away => give_room_back(router, &assign),
            },
        }
        plan = decide(router, &placing, &refused);
    }
}

enum Reserved {
    Yes,
    No(String),
    Away,
}

async fn reserve(router: &Router, placing: &Placing<'_>, assign: &Assign) -> Reserved {
    if assign.reserve_micro_usd.0 == 0 {
        return Reserved::Yes;
    }
    let reservation = Reservation {
        job: placing.job.id,
        attempt: placing.attempt,
        tenant: placing.job.tenant.clone(),
        backend: assign.backend.clone(),
        amount_micro_usd: assign.reserve_micro_usd,
        max_cost_micro_usd: placing.job.constraints.max_cost_micro_usd,
        time_ms: clock::now_ms(),
    };
    match router.reserver.reserve(reservation).await {
        Ok(grant) if grant.granted => Reserved::Yes,
        Ok(grant) => Reserved::No(grant.refusal.unwrap_or_else(|| "refused without a reason".to_owned())),
        Err(_) => Reserved::Away,
    }
}

async fn carry_out(
    router: &Router,
    placing: &Placing<'_>,
    assign: Box<Assign>,
) -> Result<Placed, PlaceError> {
    let (told, at, nth) = tell(placing, *assign);
    // Each attempt is placed once: the first onto an empty subject, the others right after the one before.
    let told = match placing.attempt {
        1 => told,
        _ => told.after(Box::pin(last_assigned(router, placing)).await?),
    };
    let work = assignment(at, nth, placing.job.clone(), placing.history.to_vec());
    match Written::told(told, &work).store(router).await? {
        Some(placed) => Ok(placed),
        None => Box::pin(placed_before(router, placing)).await,
    }
}

/// A job's first attempt, decided on and free, as the messages that place it: its assignment `alone` where it may be,
/// and where it starts at once.
#[must_use]
pub(crate) fn write_first(taken: Taken, assign: Assign, alone: bool) -> Written {
    if !(alone && assign.starts_at_once()) {
        let (told, at, nth) = tell(&taken.placing(), assign);
        return Written::told(told, &assignment(at, nth, taken.job, Vec::new()));
    }
    let nth = Nth::of(&taken.placing(), clock::now_ms());
    let (at, decision) = At::of(assign);
    let untold = assignment(at, nth, taken.job, Vec::new());
    Written::untold(&Assignment { decision: Some(CarriedDecision::new(&decision)), ..untold })
}

/// An attempt that is decided on, as the messages that place it. What it was decided from need not stay in memory
/// until they are stored: with hundreds in hand it would have to be fetched from far away to be dropped.
#[derive(Debug)]
pub struct Written {
    /// The `assigned` event, where there is one.
    told: Option<Message>,
    work: Message,
    attempt: u32,
    backend: Backend,
}

impl Written {
    fn told(event: Message, assignment: &Assignment) -> Self {
        Self { told: Some(event), ..Self::untold(assignment) }
    }

    fn untold(assignment: &Assignment) -> Self {
        let (attempt, backend) = (assignment.attempt, assignment.backend.clone());
        Self { told: None, work: work(assignment), attempt, backend }
    }

    /// Stores the event, then the assignment. None when the attempt was placed before: by a router that died in
    /// between, one that slept, or for a publish that was repeated ([`placed_before`]).
    ///
    /// # Errors
    /// The broker failed in between; [`recover`] finds it.
    pub async fn store(self, router: &Router) -> Result<Option<Placed>, PlaceError> {
        let Self { told, work, attempt, backend } = self;
        if let Some(told) = told {
            match router.broker.publisher.publish(&told).await {
                Ok(_) => {}
                Err(PublishError::Occupied { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        router.assigned.count(&backend);
        store_work(router, &work, attempt).await.map(Some)
    }
}

/// Finishes what somebody else began.
///
/// # Errors
/// As [`place`].
pub async fn placed_before(router: &Router, placing: &Placing<'_>) -> Result<Placed, PlaceError> {
    let history = history::read(&router.broker, placing.job.id).await.map_err(PlaceError::History)?;
    let placed = history.last_assigned().is_some_and(|event| event.attempt >= placing.attempt);
    // Read from a replica that lags: nothing may be concluded from what it does not show.
    if !placed && history.ended().is_none() {
        return Err(PlaceError::History("the event that is in the way cannot be read yet".to_owned()));
    }
    finish(router, placing, &history).await
}

/// Where the job's last `assigned` event lies, as long as it is of an earlier attempt; else 0, which refuses
/// the next one.
async fn last_assigned(router: &Router, placing: &Placing<'_>) -> Result<u64, PlaceError> {
    let job = placing.job;
    let last = history::last_assigned(&router.broker, &job.tenant, job.id).await;
    let last = last.map_err(PlaceError::History)?;
    Ok(last.filter(|last| last.attempt < placing.attempt).map_or(0, |last| last.sequence))
}

/// Finishes a placement that somebody began, if there is one: call it for a message that was read before.
///
/// # Errors
/// As [`place`].
pub async fn recover(router: &Router, placing: &Placing<'_>) -> Result<Option<Placed>, PlaceError> {
    let history = history::read(&router.broker, placing.job.id).await.map_err(PlaceError::History)?;
    let begun = history.ended().is_some()
        || history.went_on_from(placing.attempt)
        || history.last_assigned().is_some_and(|event| event.attempt >= placing.attempt);
    if begun { finish(router, placing, &history).await.map(Some) } else { Ok(None) }
}

/// The `assigned` event is there: make sure that the assignment is too, unless it has been worked on.
async fn finish(router: &Router, placing: &Placing<'_>, history: &History) -> Result<Placed, PlaceError> {
    if history.ended().is_some()
        || history.went_on_from(placing.attempt)
        || history.is_placed_untold(placing.attempt)
    {
        return Ok(Placed::Done);
    }
    let Some(event) = history.last_assigned().filter(|event| event.attempt == placing.attempt) else {
        return Ok(Placed::Done);
    };
    let Fact::Assigned { backend, class, model, reserved_micro_usd, .. } = &event.fact else {
        return Ok(Placed::Done);
    };
    tracing::info!(job = %placing.job.id, attempt = placing.attempt, %backend, "finishing a placement");
    let config = router.config();
    let service = config.catalog.service(backend, class);
    let at = At {
        backend: backend.clone(),
        class: class.clone(),
        model: model.clone(),
        timeout_ms: service.map_or(config.policy.patience_ms, |service| service.timeout_ms),
        reserve_micro_usd: *reserved_micro_usd,
    };
    let nth = Nth::of(placing, event.time_ms);
    let work = work(&assignment(at, nth, placing.job.clone(), placing.history.to_vec()));
    store_work(router, &work, nth.attempt).await
}

/// Where an attempt is placed: an [`Assign`] without its decision.
struct At {
    backend: Backend,
    class: Class,
    model: String,
    timeout_ms: u64,
    reserve_micro_usd: MicroUsd,
}

impl At {
    fn of(assign: Assign) -> (Self, Decision) {
        let Assign { decision, backend, class, model, timeout_ms, reserve_micro_usd } = assign;
        (Self { backend, class, model, timeout_ms, reserve_micro_usd }, decision)
    }
}

/// Which attempt it is, and when it was placed.
#[derive(Clone, Copy)]
struct Nth {
    submitted_at_ms: i64,
    attempt: u32,
    counted_attempts: u32,
    time_ms: i64,
}

impl Nth {
    const fn of(placing: &Placing<'_>, time_ms: i64) -> Self {
        let Placing { submitted_at_ms, attempt, counted_attempts, .. } = *placing;
        Self { submitted_at_ms, attempt, counted_attempts, time_ms }
    }
}

async fn store_work(router: &Router, work: &Message, attempt: u32) -> Result<Placed, PlaceError> {
    match router.broker.publisher.publish(work).await {
        Ok(_) => Ok(Placed::Done),
        // The subject holds this job's first assignment already.
        Err(PublishError::Occupied { .. }) if attempt == 1 => Ok(Placed::Done),
        // The attempt before is published as failed and about to be acknowledged.
        Err(PublishError::Occupied { .. }) => Ok(Placed::Later(clock::now_ms() + OCCUPIED_AGAIN_MS)),
        Err(error) => Err(error.into()),
    }
}

/// The `assigned` event, which takes the decision.
fn tell(placing: &Placing<'_>, assign: Assign) -> (Message, At, Nth) {
    let (at, decision) = At::of(assign);
    let event = assigned_event(placing, &at, decision);
    (Message::event(&event), at, Nth::of(placing, event.time_ms))
}

fn work(assignment: &Assignment) -> Message {
    let subject = subjects::work(&assignment.backend, &assignment.class, assignment.job.id);
    Message::new(subject, format!("{}.work", assignment.id()), assignment)
}

fn assigned_event(placing: &Placing<'_>, at: &At, decision: Decision) -> Event {
    let job = placing.job;
    let fact = Fact::Assigned {
        facts: policy::admit::facts(job, Some(at.class.clone()), placing.submitted_at_ms),
        backend: at.backend.clone(),
        class: at.class.clone(),
        model: at.model.clone(),
        reserved_micro_usd: at.reserve_micro_usd,
        decision,
    };
    Event::new(clock::now_ms(), job.tenant.clone(), job.id, placing.attempt, fact)
}

fn assignment(at: At, nth: Nth, job: Job, history: Vec<AttemptFacts>) -> Assignment {
    Assignment {
        schema_version: SCHEMA_VERSION,
        time_ms: nth.time_ms,
        submitted_at_ms: nth.submitted_at_ms,
        attempt: nth.attempt,
        counted_attempts: nth.counted_attempts,
        backend: at.backend,
        class: at.class,
        model: at.model,
        timeout_ms: at.timeout_ms,
        reserved_micro_usd: at.reserve_micro_usd,
        decision: None,
        warnings: policy::admit::outranked(&job),
        job,
        history,
    }
}
