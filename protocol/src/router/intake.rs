//! Jobs from one lane: decode, admit, place, answer.
//!
//! What finds no room waits in hand ([`crate::router::room`]), and the lane pulls no more while much waits. Meanwhile
//! the first jobs of other tenants are read past it ([`crate::router::read_past`]); and what has waited for long is
//! handed back in part, to see what lies behind it.

mod address;
mod arrived;
mod at_once;
mod refuse;
mod unread;
mod verdict;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::Either;
use policy::plan::Plan;
use schemas::config::Scoring;
use schemas::{Class, Failure, Job, JobState, Lane, topology};

use crate::errors::{PortError, StepError};
use crate::note::Note;
use crate::ports::Answer;
use crate::race::{Raced, race};
use crate::router::decide::give_room_back;
use crate::router::ending;
use crate::router::inputs;
use crate::router::job::AdmittedJob;
use crate::router::keys::{self, Keyed};
use crate::router::place::{self, Placed};
use crate::router::ports::{Delivery, RouterPorts};
use crate::router::read_past::{self, InHand};
use crate::router::room::{Wait, WaitOutcome};
use crate::router::schedule;
use crate::router::too_new::Resting;

pub use arrived::Arrived;
use at_once::Begun;
use refuse::{Refusal, refuse};
pub use unread::refuse_unread;
use verdict::{Verdict, conclude, until};
use waiting::{Counted, Waiting};

/// While no more than these wait, a schedule is made as soon as one comes.
const LOOK_AT_ONCE_MAX: usize = 16;

/// How often the broker hears of a job that waits in hand, well within the time after which it would deliver
/// it to another router. One that has waited for this time may be handed back to see what lies behind it.
const EXTEND_EVERY: Duration = Duration::from_millis(topology::INTAKE_ACK_WAIT_MS / 5);

/// How long a job rests that was handed back for that.
const BEHIND_REST: Duration = Duration::from_secs(20);

/// How long a job rests after the broker failed a router in between.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// One lane's jobs in a router's hand.
#[derive(Debug)]
pub struct Intake {
    waiting: Waiting,
    arrivals: AtomicUsize,
    /// Jobs in hand that were read past the consumer.
    read: InHand,
    /// Jobs of a newer schema that were handed back.
    resting: Resting,
}

impl Default for Intake {
    fn default() -> Self {
        Self::with_waiting_max(waiting::JOBS_MAX)
    }
}

impl Intake {
    /// A lane that pulls no more while `waiting_max` jobs wait for room.
    #[must_use]
    pub fn with_waiting_max(waiting_max: usize) -> Self {
        Self {
            waiting: Waiting::new(waiting_max),
            arrivals: AtomicUsize::default(),
            read: InHand::default(),
            resting: Resting::default(),
        }
    }

    /// How many more jobs to pull while `in_hand` are in hand.
    #[must_use]
    pub fn wanted(&self, scoring: Scoring, in_hand: usize, in_hand_max: usize) -> usize {
        self.waiting.wanted(scoring, in_hand, in_hand_max)
    }

    /// How many bytes of messages to pull at most; none where too many are in hand.
    #[must_use]
    pub fn wanted_bytes(&self) -> Option<usize> {
        self.waiting.wanted_bytes()
    }

    /// Whether the waiting room is full for this lane.
    #[must_use]
    pub fn is_full(&self, scoring: Scoring) -> bool {
        self.waiting.is_full(scoring)
    }

    /// Reads the first jobs of other tenants behind those that wait, if the waiting room is full.
    ///
    /// # Errors
    /// The broker did not answer.
    pub async fn read_past<P: RouterPorts>(
        &self,
        ports: &P,
        lane: Lane,
    ) -> Result<Vec<Arrived<P::Delivery>>, PortError> {
        if !self.is_full(ports.config().policy.scoring) {
            return Ok(Vec::new());
        }
        let found = read_past::look(ports, lane, &self.read).await?;
        Ok(found.into_iter().map(|(message, read)| Arrived::read(message, read)).collect())
    }

    /// Settles one message. It is taken as far as it goes before anything is awaited, and for most jobs that is
    /// nearly all the way.
    pub fn settle<P: RouterPorts>(
        &self,
        ports: &P,
        arrived: Arrived<P::Delivery>,
    ) -> impl Future<Output = ()> {
        let counted = self.waiting.count(arrived.message.payload().len());
        match at_once::begin(ports, &arrived) {
            Ok(prepared) => Either::Left(self.store(ports, arrived, prepared, counted)),
            Err(begun) => Either::Right(Box::pin(self.go_on(ports, arrived, begun, counted))),
        }
    }

    async fn go_on<P: RouterPorts>(
        &self,
        ports: &P,
        arrived: Arrived<P::Delivery>,
        begun: Begun,
        _counted: Counted<'_>,
    ) {
        let verdict = match begun {
            Begun::Nothing => Ok(Verdict::Back(None)),
            Begun::Refused(refusal) => refuse(ports, &self.resting, &arrived, *refusal).await,
            Begun::Admitted(begun) => {
                let (admitted, plan) = *begun;
                self.verdict(ports, &arrived, admitted, plan).await
            }
        };
        answer(ports, &arrived, verdict).await;
    }

    async fn store<P: RouterPorts>(
        &self,
        ports: &P,
        arrived: Arrived<P::Delivery>,
        prepared: place::Prepared<P::Message>,
        _counted: Counted<'_>,
    ) {
        let verdict = match prepared.store(ports).await {
            Ok(Some(Placed::Done)) => Ok(Verdict::Done),
            Ok(placed) => Box::pin(self.look_again(ports, &arrived, placed)).await,
            Err(error) => Err(error),
        };
        answer(ports, &arrived, verdict).await;
    }

    /// Goes on with a job that was not placed at once: it was placed before, where nothing was `placed`.
    async fn look_again<P: RouterPorts>(
        &self,
        ports: &P,
        arrived: &Arrived<P::Delivery>,
        placed: Option<Placed>,
    ) -> Result<Verdict, StepError> {
        let admitted = match at_once::read(ports, arrived) {
            Ok(admitted) => admitted,
            Err(refusal) => return refuse(ports, &self.resting, arrived, *refusal).await,
        };
        let placed = match placed {
            Some(placed) => placed,
            None => place::placed_before(ports, &admitted.first_attempt()).await?,
        };
        conclude(ports, arrived, &admitted, placed).await
    }

    async fn verdict<P: RouterPorts>(
        &self,
        ports: &P,
        arrived: &Arrived<P::Delivery>,
        admitted: AdmittedJob,
        plan: Option<Plan>,
    ) -> Result<Verdict, StepError> {
        let job = &admitted.job;
        // Before its key: of what is over the key may have been removed, and is not to be taken once more.
        if arrived.may_have_tracks(job.id)
            && let Some(placed) = place::recover(ports, &admitted.first_attempt()).await?
        {
            return conclude(ports, arrived, &admitted, placed).await;
        }
        let keyed = keys::take(ports, job).await?;
        // And after it: while this router was stopped another one may have told it to be an earlier job, whose key is gone.
        if job.idempotency_key.is_some()
            && arrived.may_be_anothers(ports.now_ms())
            && let Some(placed) = place::recover(ports, &admitted.first_attempt()).await?
        {
            return conclude(ports, arrived, &admitted, placed).await;
        }
        match keyed {
            Keyed::First => {}
            Keyed::SameAs(of) => {
                tracing::info!(job = %job.id, first_job = %of, "the same job again, by its idempotency key");
                ending::duplicate(ports, job, of).await?;
                return Ok(Verdict::Done);
            }
            Keyed::Refused(failure) => {
                let refusal = Refusal::of(job, admitted.submitted_at_ms, failure);
                return refuse(ports, &self.resting, arrived, refusal).await;
            }
        }
        if let Err(failure) = may_use_results(ports, job).await? {
            let refusal = Refusal::of(job, admitted.submitted_at_ms, failure);
            return refuse(ports, &self.resting, arrived, refusal).await;
        }
        self.place(ports, arrived, admitted, plan).await
    }

    /// Places a job as soon as there is room for it.
    async fn place<P: RouterPorts>(
        &self,
        ports: &P,
        arrived: &Arrived<P::Delivery>,
        admitted: AdmittedJob,
        mut plan: Option<Plan>,
    ) -> Result<Verdict, StepError> {
        let admitted = Arc::new(admitted);
        let (mut held, mut noted) = (None, None);
        if plan.is_none() && ports.room().is_empty_everywhere(ports.now_ms()) {
            plan = Some(place::decide_first(ports, &admitted.first_attempt()));
        }
        loop {
            if let Some((state, failure)) = over(ports, &admitted).await {
                if let Some(Plan::Assign(assign)) = &plan {
                    give_room_back(ports, assign);
                }
                ending::end(ports, admitted.end(state, failure)).await?;
                return Ok(Verdict::Done);
            }
            let just_planned = plan.is_some();
            let planned = match plan.take() {
                None | Some(Plan::Defer { .. }) => {
                    let held = self.hold_once(ports, arrived, &admitted, &mut held).await;
                    match wait_for_room(ports, arrived, &admitted, held, just_planned).await {
                        Ok(WaitOutcome::Plan(plan)) => plan,
                        Ok(WaitOutcome::Over) => continue,
                        Err(back) => return Ok(back),
                    }
                }
                Some(planned) => planned,
            };
            match place::execute(ports, admitted.first_attempt(), planned).await? {
                // Its money was refused just now; others may have room meanwhile.
                Placed::Later { at_ms, why, refused } => {
                    // Also the money of a job that went on elsewhere is refused: another router may have had it while
                    // this one was stopped, or read it past the consumer.
                    if let Some(placed) = place::recover(ports, &admitted.first_attempt()).await? {
                        return conclude(ports, arrived, &admitted, placed).await;
                    }
                    self.hold_once(ports, arrived, &admitted, &mut held).await;
                    let wait = Wait::of(&admitted, why, at_ms);
                    // Known until it is placed, also while it is planned again.
                    if let Some(before) =
                        noted.replace(ports.room().put_off(admitted.job.id, wait, ports.now_ms()))
                    {
                        before.leave();
                    }
                    match ports.config().policy.scoring {
                        Scoring::Weighted => ports.rest(until(at_ms, ports.now_ms())).await,
                        // Meanwhile it waits for what costs nothing.
                        Scoring::Schedule => ports.room().refuse(admitted.job.id, refused, at_ms),
                    }
                }
                placed => return conclude(ports, arrived, &admitted, placed).await,
            }
        }
    }

    /// Holds a job that begins to wait, and looks up until when its inputs are kept.
    async fn hold_once<'a, 'h, P: RouterPorts>(
        &'a self,
        ports: &P,
        arrived: &Arrived<P::Delivery>,
        admitted: &AdmittedJob,
        held: &'h mut Option<Held<'a>>,
    ) -> &'h mut Held<'a> {
        if held.is_none() {
            inputs::look(ports, &admitted.job, &admitted.inputs).await;
        }
        held.get_or_insert_with(|| self.hold(arrived))
    }

    fn hold<D: Delivery>(&self, arrived: &Arrived<D>) -> Held<'_> {
        // What was read past the consumer keeps nothing from being pulled.
        let bytes = (!arrived.is_read()).then(|| arrived.message.payload().len());
        if let Some(bytes) = bytes {
            self.waiting.enter(bytes);
        }
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        Held { intake: self, bytes, number, has_more_behind: arrived.message.has_more_behind() }
    }
}

/// Whether each result of an earlier job that is an input of this one is the same tenant's. A job without such inputs
/// costs no look-up.
async fn may_use_results<P: RouterPorts>(ports: &P, job: &Job) -> Result<Result<(), Failure>, StepError> {
    for (index, input, of) in policy::admit::results(job) {
        let ended = ports.last_ended(&job.tenant, of).await?;
        if let Err(failure) = policy::admit::check_result(job, index, input, ended.as_ref()) {
            return Ok(Err(failure));
        }
    }
    Ok(Ok(()))
}

/// Waits until the job is planned; what is to be done with its message where it is not.
async fn wait_for_room<P: RouterPorts>(
    ports: &P,
    arrived: &Arrived<P::Delivery>,
    admitted: &Arc<AdmittedJob>,
    held: &Held<'_>,
    just_planned: bool,
) -> Result<WaitOutcome, Verdict> {
    let mut seat = ports.room().enter(Arc::clone(admitted), cost_ms(ports, &admitted.admitted.class));
    if ports.config().policy.scoring == Scoring::Schedule {
        // One more among many changes little before the next look.
        if ports.room().len() <= LOOK_AT_ONCE_MAX {
            look_at_room(ports);
        }
    } else if seat.is_first() && !just_planned {
        match place::decide(ports, &admitted.first_attempt(), &[]) {
            Plan::Defer { .. } => {}
            plan => {
                seat.served();
                return Ok(WaitOutcome::Plan(plan));
            }
        }
    }
    ports.note(Note::Deferred);
    loop {
        match race(seat.outcome(), race(ports.stopping(), ports.sleep(EXTEND_EVERY))).await {
            Raced::Left(outcome) => return outcome.ok_or(Verdict::Back(None)),
            Raced::Right(Raced::Left(())) => return Err(Verdict::Back(None)),
            Raced::Right(Raced::Right(())) => {}
        }
        if held.gives_way(ports.config().policy.scoring) {
            return Err(Verdict::Back(Some(BEHIND_REST)));
        }
        arrived.answer(ports, Answer::Extend).await;
    }
}

/// How a job ends that is not to be placed any more, if it is not: it is cancelled, late, or an input of it goes.
async fn over<P: RouterPorts>(ports: &P, admitted: &AdmittedJob) -> Option<(JobState, Failure)> {
    let is_cancelled = ports.is_cancelled(&admitted.job.tenant, admitted.job.id);
    let over = admitted.is_over(is_cancelled, ports.now_ms());
    if over.is_some() {
        return over;
    }
    let failure = inputs::ends(ports, &admitted.job, &admitted.inputs).await?;
    ports.note(Note::InputGone);
    Some((JobState::Failed, failure))
}

/// Plans again for the jobs in hand that wait for room.
pub fn look_at_room<P: RouterPorts>(ports: &P) {
    let now_ms = ports.now_ms();
    let is_over = |admitted: &AdmittedJob| {
        let is_cancelled = ports.is_cancelled(&admitted.job.tenant, admitted.job.id);
        admitted.is_over(is_cancelled, now_ms).is_some() || admitted.inputs.is_going(now_ms)
    };
    let unused = |plan| {
        if let Plan::Assign(assign) = plan {
            give_room_back(ports, &assign);
        }
    };
    match ports.config().policy.scoring {
        Scoring::Weighted => {
            let decide = |admitted: &AdmittedJob| place::decide(ports, &admitted.first_attempt(), &[]);
            ports.room().look(is_over, decide, unused);
        }
        Scoring::Schedule => {
            ports.room().look_at_all(now_ms, is_over, |waits| schedule::look(ports, waits), unused);
        }
    }
}

/// The slot time that a job of the class takes at the backend that makes it first, milliseconds.
fn cost_ms<P: RouterPorts>(ports: &P, class: &Class) -> u64 {
    let catalog = ports.config().catalog;
    let service = catalog.services.iter().find(|service| service.class == *class);
    service.map_or(1, |service| service.expected_ms)
}

/// Answers the broker.
async fn answer<P: RouterPorts>(
    ports: &P,
    arrived: &Arrived<P::Delivery>,
    verdict: Result<Verdict, StepError>,
) {
    let answer = match verdict {
        Ok(Verdict::Done) => Answer::Acknowledge,
        Ok(Verdict::Back(wait)) => Answer::HandBack(wait),
        Err(error) => {
            tracing::warn!(%error, "handing a job back");
            Answer::HandBack(Some(TROUBLE_REST))
        }
    };
    arrived.answer(ports, answer).await;
}

/// A job that waits, from its first wait to its end.
struct Held<'a> {
    intake: &'a Intake,
    /// Of its message, where it counts as waiting.
    bytes: Option<usize>,
    number: usize,
    /// More lay behind it when it came.
    has_more_behind: bool,
}

impl Held<'_> {
    /// The waiting room is full: every other job is handed back, since what lies behind may find room elsewhere.
    fn gives_way(&self, scoring: Scoring) -> bool {
        let full = self.bytes.is_some() && self.intake.is_full(scoring);
        self.has_more_behind && self.number % 2 == 1 && full
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes {
            self.intake.waiting.leave(bytes);
        }
    }
}
