//! Jobs from one lane: decode, admit, place, acknowledge.
//!
//! Each lane has its own consumer and its own loop, so an urgent job never waits behind a batch. What
//! finds no room waits in hand ([`crate::room`]), and the lane pulls no more while much waits. Meanwhile the
//! first jobs of other tenants are read past it ([`behind`]); and what has waited for long is handed back in
//! part, to see what lies behind it.

mod arrived;
mod at_once;
mod behind;
mod taken;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt};
use policy::plan::Plan;
use runtime::clock;
use runtime::exit::Fault;
use runtime::metrics;
use schemas::subjects::{self, Subject};
use schemas::{Class, Failure, FailureCode, Job, JobFacts, JobId, JobState, Lane, Tenant, topology};

use crate::ending::{self, End};
use crate::fleet::{next_of, rest};
use crate::history;
use crate::keys::Keyed;
use crate::place::{self, PlaceError, Placed};
use crate::room::Told;
use crate::shared::Router;
use crate::too_new::Resting;

use arrived::{Arrived, Reading};
use at_once::Begun;
pub(crate) use taken::Taken;

/// How long one pull waits for jobs.
const WAIT: Duration = Duration::from_secs(1);

/// Jobs of a lane that may wait for room before it pulls no more.
const WAITING_MAX: usize = 64;

/// How often a lane looks at what lies behind those that wait, while as many wait as may; less often where a look
/// takes long (many tenants): it shall take a tenth of the time.
const LOOK_BEHIND_EVERY: Duration = Duration::from_millis(100);
const LOOK_BEHIND_SHARE: u32 = 10;

/// How often the broker hears of a job that waits in hand, well within the time after which it would deliver
/// it to another router. One that waits for so long may be handed back to see what lies behind it.
const SPEAK_UP_EVERY: Duration = Duration::from_millis(topology::INTAKE_ACK_WAIT_MS / 5);

/// How long a job rests that was handed back for that.
const BEHIND_REST: Duration = Duration::from_secs(20);

/// How long a job rests after the broker failed us in between.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// The shortest wait of a job whose money was refused.
const DEFER_MIN_MS: i64 = 50;

/// One lane's intake.
pub struct Intake {
    router: Router,
    lane: Lane,
    consumer: PullConsumer,
    in_hand: usize,
    waiting: AtomicUsize,
    arrived: AtomicUsize,
    /// Jobs in hand that were read past the consumer.
    reading: Reading,
    /// Jobs of a newer schema that were handed back.
    resting: Resting,
}

/// What is to be done with a job's message.
enum Verdict {
    /// It is settled elsewhere: acknowledge.
    Done,
    /// Hand it back, to be delivered again after a while.
    Back(Option<Duration>),
}

impl Verdict {
    /// Of one whose placement was begun before.
    fn of(placed: &Placed) -> Self {
        match placed {
            Placed::Later(at_ms) => Self::Back(Some(until(*at_ms))),
            Placed::Done | Placed::Refused(_) => Self::Done,
        }
    }
}

impl Intake {
    /// Opens a lane.
    ///
    /// # Errors
    /// Its consumer is not there.
    pub async fn open(router: Router, lane: Lane, in_hand: usize) -> Result<Self, Fault> {
        let name = topology::intake_consumer_name(lane);
        let consumer =
            runtime::topology::consumer(&router.broker.jetstream, topology::stream::JOBS, &name).await?;
        let in_hand = in_hand.clamp(1, 10_000);
        let (waiting, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (reading, resting) = (Reading::default(), Resting::default());
        Ok(Self { router, lane, consumer, in_hand, waiting, arrived, reading, resting })
    }

    /// Takes jobs in until stopped, and settles what is in hand then.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        let mut at_work = FuturesUnordered::new();
        let mut pulled: Option<Batch> = None;
        let mut behind = self.behind(LOOK_BEHIND_EVERY).boxed().fuse();
        loop {
            let stopping = self.router.soft.is_cancelled();
            if pulled.is_none() && !stopping {
                pulled = self.pull(at_work.len()).await;
            }
            if pulled.is_none() && at_work.is_empty() && stopping {
                return Ok(());
            }
            tokio::select! {
                message = next_of(&mut pulled), if pulled.is_some() => match message {
                    Some(Ok(message)) => at_work.push(self.settle(Arrived::delivered(message))),
                    Some(Err(error)) => {
                        tracing::warn!(lane = self.lane.as_str(), %error, "a pull ended early");
                        pulled = None;
                    }
                    None => pulled = None,
                },
                Some(()) = at_work.next(), if !at_work.is_empty() => {}
                (arrived, took) = &mut behind, if !stopping => {
                    at_work.extend(arrived.into_iter().map(|arrived| self.settle(arrived)));
                    let rest = LOOK_BEHIND_EVERY.max(took * LOOK_BEHIND_SHARE);
                    behind = self.behind(rest).boxed().fuse();
                }
                // As many wait as may; or nothing can be pulled just now.
                () = rest(&self.router, TROUBLE_REST), if pulled.is_none() && !stopping => {}
            }
        }
    }

    /// Asks for as many jobs as may come; none when none may, or when the broker does not answer.
    async fn pull(&self, at_work: usize) -> Option<Batch> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let free = self.in_hand.saturating_sub(at_work);
        let more = match waiting {
            // A pull costs as much as a job: not one for each that is settled.
            0 if free < self.in_hand.div_ceil(4) => 0,
            0 => free,
            _ => free.min(WAITING_MAX.saturating_sub(waiting)),
        };
        if more == 0 {
            return None;
        }
        match self.consumer.batch().max_messages(more).expires(WAIT).messages().await {
            Ok(batch) => Some(batch),
            Err(error) => {
                tracing::warn!(lane = self.lane.as_str(), %error, "pulling failed, trying again");
                rest(&self.router, TROUBLE_REST).await;
                None
            }
        }
    }

    /// After a rest, what lies behind those that wait, if as many wait as may; and how long it took to find.
    async fn behind(&self, rest: Duration) -> (Vec<Arrived>, Duration) {
        tokio::time::sleep(rest).await;
        if self.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            return (Vec::new(), Duration::ZERO);
        }
        let started = Instant::now();
        let arrived = behind::look(&self.router, self.lane, &self.reading).await;
        (arrived, started.elapsed())
    }

    /// Settles one message. It is taken as far as it goes before anybody is waited for, and for most jobs that is
    /// nearly all the way.
    fn settle(&self, arrived: Arrived) -> impl Future<Output = ()> {
        match self.begin(&arrived) {
            Ok(written) => Either::Left(self.store(arrived, written)),
            Err(begun) => Either::Right(Box::pin(self.go_on(arrived, begun))),
        }
    }

    async fn go_on(&self, arrived: Arrived, begun: Begun) {
        let verdict = match begun {
            Begun::Nothing => Ok(Verdict::Back(None)),
            Begun::Refused(refused) => self.refuse(&arrived, *refused).await,
            Begun::Taken(begun) => {
                let (taken, plan) = *begun;
                self.verdict(&arrived, taken, plan).await
            }
        };
        self.say(&arrived, verdict).await;
    }

    /// Tells the broker.
    async fn say(&self, arrived: &Arrived, verdict: Result<Verdict, PlaceError>) {
        let word = match verdict {
            Ok(Verdict::Done) => AckKind::Ack,
            Ok(Verdict::Back(wait)) => AckKind::Nak(wait),
            Err(error) => {
                tracing::warn!(lane = self.lane.as_str(), %error, "handing a job back");
                AckKind::Nak(Some(TROUBLE_REST))
            }
        };
        arrived.settle(&self.router.broker, word).await;
    }

    async fn verdict(
        &self,
        arrived: &Arrived,
        taken: Taken,
        plan: Option<Plan>,
    ) -> Result<Verdict, PlaceError> {
        let job = &taken.job;
        let keyed = match &job.idempotency_key {
            None => Keyed::First,
            Some(_) => self.router.keys.take(job).await.map_err(PlaceError::Key)?,
        };
        match keyed {
            Keyed::First => {}
            Keyed::SameAs(of) => {
                tracing::info!(job = %job.id, first_job = %of, "the same job again, by its idempotency key");
                ending::duplicate(&self.router, job, of).await?;
                return Ok(Verdict::Done);
            }
            Keyed::Refused(failure) => {
                let refused = Refused { id: Some(job.id), job: Some(taken.job), failure };
                return self.refuse(arrived, refused).await;
            }
        }
        if arrived.may_have_tracks(job.id)
            && let Some(placed) = place::recover(&self.router, &taken.placing()).await?
        {
            return Ok(Verdict::of(&placed));
        }
        if let Err(failure) = self.may_use_results(job).await? {
            let refused = Refused { id: Some(job.id), job: Some(taken.job), failure };
            return self.refuse(arrived, refused).await;
        }
        self.place(arrived, taken, plan).await
    }

    /// Whether each result of an earlier job that is an input of this one is the same tenant's. A job without such
    /// inputs asks nobody.
    async fn may_use_results(&self, job: &Job) -> Result<Result<(), Failure>, PlaceError> {
        for (index, input, of) in policy::admit::results(job) {
            let ended = history::last_ended(&self.router.broker, &job.tenant, of).await;
            let ended = ended.map_err(PlaceError::History)?;
            if let Err(failure) = policy::admit::check_result(job, index, input, ended.as_ref()) {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    /// Places a job as soon as there is room for it.
    async fn place(
        &self,
        arrived: &Arrived,
        taken: Taken,
        mut plan: Option<Plan>,
    ) -> Result<Verdict, PlaceError> {
        let (router, taken) = (&self.router, Arc::new(taken));
        let mut held = None;
        if plan.is_none() && router.room.is_empty() {
            plan = Some(place::decide(router, &taken.placing(), &[]));
        }
        loop {
            if let Some((state, failure)) = taken.is_over(router) {
                if let Some(Plan::Assign(assign)) = &plan {
                    place::give_room_back(router, assign);
                }
                ending::end(router, taken.end(state, failure)).await?;
                return Ok(Verdict::Done);
            }
            let just_planned = plan.is_some();
            let planned = match plan.take() {
                None | Some(Plan::Defer { .. }) => {
                    let held = held.get_or_insert_with(|| self.hold(arrived));
                    match self.wait_for_room(arrived, &taken, held, just_planned).await {
                        Ok(Told::Plan(plan)) => plan,
                        Ok(Told::Look) => continue,
                        Err(back) => return Ok(back),
                    }
                }
                Some(planned) => planned,
            };
            match place::carry(router, taken.placing(), planned).await? {
                Placed::Done => return Ok(Verdict::Done),
                Placed::Refused(failure) => {
                    let expired = failure.code == FailureCode::Expired;
                    let state = if expired { JobState::Expired } else { JobState::Failed };
                    let end = taken.end(state, failure);
                    ending::fail(router, &taken.job, end, &arrived.original()).await?;
                    return Ok(Verdict::Done);
                }
                // Its money was refused just now; others may have room meanwhile.
                Placed::Later(at_ms) => {
                    held.get_or_insert_with(|| self.hold(arrived));
                    rest(router, until(at_ms)).await;
                }
            }
        }
    }

    /// Waits until the job is planned; what is to be done with its message where it is not.
    async fn wait_for_room(
        &self,
        arrived: &Arrived,
        taken: &Arc<Taken>,
        held: &Held<'_>,
        just_planned: bool,
    ) -> Result<Told, Verdict> {
        let mut seat = self.router.room.enter(Arc::clone(taken), self.cost_ms(&taken.admitted.class));
        if seat.is_first() && !just_planned {
            match place::decide(&self.router, &taken.placing(), &[]) {
                Plan::Defer { .. } => {}
                plan => {
                    seat.served();
                    return Ok(Told::Plan(plan));
                }
            }
        }
        metrics::ROUTER_DEFERRED.increment(1);
        loop {
            tokio::select! {
                told = seat.told() => return told.ok_or(Verdict::Back(None)),
                () = self.router.soft.cancelled() => return Err(Verdict::Back(None)),
                () = tokio::time::sleep(SPEAK_UP_EVERY) => {}
            }
            if held.looks_behind() {
                return Err(Verdict::Back(Some(BEHIND_REST)));
            }
            arrived.speak_up(&self.router.broker.client).await;
        }
    }

    fn hold(&self, arrived: &Arrived) -> Held<'_> {
        // What was read past the consumer keeps nothing from being pulled.
        let waiting = (!arrived.is_read()).then_some(&self.waiting);
        if let Some(waiting) = waiting {
            waiting.fetch_add(1, Ordering::Relaxed);
        }
        Held { waiting, nth: self.arrived.fetch_add(1, Ordering::Relaxed), behind: arrived.behind }
    }

    /// The slot time that a job of the class takes where it is made first.
    fn cost_ms(&self, class: &Class) -> u64 {
        let config = self.router.config.borrow();
        let service = config.catalog.services.iter().find(|service| service.class == *class);
        service.map_or(1, |service| service.expected_ms)
    }

    /// Puts a publish aside that is no job: parked with its bytes, told where tenant and id are known,
    /// and only then acknowledged. One of a newer schema is handed back before, and does not end.
    async fn refuse(&self, arrived: &Arrived, refused: Refused) -> Result<Verdict, PlaceError> {
        let Refused { job, id, failure } = refused;
        let is_too_new = failure.code == FailureCode::TooNew;
        if is_too_new && let Some(rest) = self.resting.rest(&self.router.schemas, arrived.submitted_at_ms) {
            return Ok(Verdict::Back(Some(rest)));
        }
        let tenant = match subjects::parse(&arrived.subject) {
            Some(Subject::Jobs(_, tenant)) => Some(tenant),
            _ => None,
        };
        metrics::ROUTER_REFUSED.of([failure.code.as_str().into()]).increment(1);
        tracing::info!(
            job = id.map(|id| id.to_string()),
            tenant = tenant.as_ref().map(Tenant::as_str),
            field = failure.field.as_deref().unwrap_or_default(),
            reason = failure.message,
            "refused"
        );
        let about = (tenant.as_ref(), id);
        let parked_id = format!("jobs.{}.parked", arrived.sequence);
        ending::park(&self.router, parked_id, about, failure.clone(), &arrived.original(), Vec::new())
            .await?;
        let (Some(tenant), Some(id)) = (tenant, id) else { return Ok(Verdict::Done) };
        ending::refuse(&self.router, &tenant, id, &failure).await?;
        if is_too_new {
            return Ok(Verdict::Done);
        }
        // A job that runs under this id is not ended by a bad publish that borrows it.
        let history = history::read(&self.router.broker, id).await.map_err(PlaceError::History)?;
        if let Some(job) = job.filter(|_| history.facts().is_none()) {
            let facts = JobFacts::of(&job, None, arrived.submitted_at_ms);
            let end = End {
                tenant,
                job: id,
                attempt: 0,
                facts,
                state: JobState::Failed,
                failure: Some(failure),
                attempts: Vec::new(),
            };
            ending::end(&self.router, end).await?;
        }
        Ok(Verdict::Done)
    }
}

/// One that waits, from its first wait to its end.
struct Held<'a> {
    /// Where it counts as waiting.
    waiting: Option<&'a AtomicUsize>,
    nth: usize,
    /// There was more behind it when it came.
    behind: bool,
}

impl Held<'_> {
    /// As many wait as may: every other is handed back, since what lies behind may find room elsewhere.
    fn looks_behind(&self) -> bool {
        let full = self.waiting.is_some_and(|waiting| waiting.load(Ordering::Relaxed) >= WAITING_MAX);
        self.behind && self.nth % 2 == 1 && full
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

struct Refused {
    job: Option<Job>,
    id: Option<JobId>,
    failure: Failure,
}

fn until(at_ms: i64) -> Duration {
    Duration::from_millis((at_ms - clock::now_ms()).max(DEFER_MIN_MS).unsigned_abs())
}
