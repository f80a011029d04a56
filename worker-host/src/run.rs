//! One delivery from its first look to its acknowledgement. All decisions are [`machine`]'s.

mod limits;
mod paid;
mod room;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use schemas::codec::{self, CONTENT_TYPE, DecodeError};
use schemas::{Assignment, DeliveredResult, Event, Fact, Failure, FailureCode, Outcome, topology};
use tokio::sync::{Mutex, watch};

use crate::attempt::{Attempt, Stop, Stopper};
use crate::claim::Held;
use crate::host::Shared;
use crate::io::HostIo;
use crate::machine::{self, Delivery};
use crate::{Backend, funds, settle};
use runtime::clock;
use runtime::publish::Message;

/// The broker hears from us at a third of the time after which it would redeliver.
const SPEAK_UP_EVERY: Duration = Duration::from_millis(topology::WORK_ACK_WAIT_MS / 3);

/// An attempt that takes longer than this is told as `running`; quicker ones save the broker a write.
const TELL_RUNNING_AFTER: Duration = Duration::from_millis(250);

/// How long an assignment rests when broker or claim did not let us go on.
const REST: Duration = Duration::from_secs(2);

/// How long after the hard stop a backend may take to let go, before its assignment is left to redelivery.
const LET_GO: Duration = Duration::from_secs(3);

type Delivered = async_nats::jetstream::Message;

/// Everything from a delivery to its acknowledgement. There is one of these futures for each job in hand, so what
/// is rare, slow or paid is boxed: the way of quick free work stays small.
pub(crate) async fn deliver(shared: &Arc<Shared>, backend: &dyn Backend, mut message: Delivered) {
    let assignment = match read(&message) {
        Ok(assignment) => assignment,
        Err(error) => return Box::pin(settle::park_unreadable(shared, &message, &error)).await,
    };
    // Not needed again: what is in hand is small.
    message.message.headers = None;
    let message = &message;
    if shared.lifecycle.soft.is_cancelled() {
        return Box::pin(hand_back(message, None)).await;
    }
    let run = Run { shared, backend, message, assignment: &assignment };
    let run = std::pin::pin!(run.begin());
    // Speaks up for as long as anything is done about the delivery.
    let done = tokio::select! {
        done = run => done,
        never = speak_up(message) => match never {},
    };
    if assignment.is_paid() {
        // What is not settled is left to whoever comes next.
        shared.spool.release(assignment.id());
    }
    if let Err(reason) = done {
        tracing::warn!(job = %assignment.job.id, attempt = assignment.attempt, reason, "handing back");
        Box::pin(hand_back(message, Some(REST))).await;
    }
}

fn read(message: &Delivered) -> Result<Arc<Assignment>, DecodeError> {
    let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
    codec::decode(header.map(async_nats::HeaderValue::as_str), &message.payload).map(Arc::new)
}

async fn speak_up(message: &Delivered) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(SPEAK_UP_EVERY).await;
        if let Err(error) = Box::pin(message.ack_with(AckKind::Progress)).await {
            tracing::debug!(%error, "speaking up");
        }
    }
}

async fn hand_back(message: &Delivered, rest: Option<Duration>) {
    if let Err(error) = message.ack_with(AckKind::Nak(rest)).await {
        tracing::debug!(%error, "handing back; the broker redelivers by itself");
    }
}

struct Run<'a> {
    shared: &'a Arc<Shared>,
    backend: &'a dyn Backend,
    message: &'a Delivered,
    assignment: &'a Arc<Assignment>,
}

impl Run<'_> {
    async fn begin(&self) -> Result<(), String> {
        if self.assignment.is_paid() {
            return Box::pin(self.begin_paid()).await;
        }
        let delivery = self.delivery();
        match machine::first_look(delivery) {
            Some(failure) => Box::pin(self.refuse(failure, delivery)).await,
            None => self.run(None, None).await,
        }
    }

    fn delivery(&self) -> Delivery {
        let job = &self.assignment.job;
        Delivery {
            delivered: self.message.info().map_or(1, |info| info.delivered),
            cancelled: self.shared.cancels.contains(job.id),
            expired: job.constraints.deadline_ms.is_some_and(|deadline| deadline <= clock::now_ms()),
            paid: self.assignment.is_paid(),
        }
    }

    /// Ends what need not begin.
    async fn refuse(&self, failure: Failure, delivery: Delivery) -> Result<(), String> {
        if delivery.delivered > 1 {
            let (attempt, _stopper) = self.attempt(Arc::new(Mutex::new(None)), None)?;
            self.backend.abandon(&attempt).await;
        }
        self.settle(None, &failed(failure), None, false).await
    }

    /// Settles an outcome; one that is unknown, and that the provider may report, waits for the report and
    /// goes on by the id that it tells.
    async fn settle_or_adopt(
        &self,
        held: Option<Held>,
        outcome: &Outcome,
        started_at_ms: Option<i64>,
    ) -> Result<(), String> {
        let unconfirmed = outcome.provider_id.is_none()
            && outcome.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::OutcomeUnknown);
        match held {
            Some(held) if unconfirmed && self.report_url().is_some() => {
                Box::pin(self.adopt(held, outcome, started_at_ms)).await
            }
            held => self.settle(held, outcome, started_at_ms, true).await,
        }
    }

    /// Where the provider may report the attempt, if it can.
    fn report_url(&self) -> Option<String> {
        let catalog = self.shared.config.borrow().catalog.clone();
        let service = catalog.service(&self.assignment.backend, &self.assignment.class)?;
        let reports = self.assignment.is_paid() && self.backend.reports(service);
        let address = self.shared.reports.as_ref().filter(|_| reports)?;
        Some(address.of(self.assignment.id()))
    }

    fn attempt(
        &self,
        held: Arc<Mutex<Option<Held>>>,
        resume_id: Option<String>,
    ) -> Result<(Attempt, Stopper), String> {
        let catalog = self.shared.config.borrow().catalog.clone();
        let (backend, class) = (&self.assignment.backend, &self.assignment.class);
        let service = catalog.service(backend, class).cloned();
        let service =
            service.ok_or_else(|| format!("the catalog has no service {backend}/{class} any more"))?;
        let io = HostIo { shared: Arc::clone(self.shared), held };
        let stopper = Stopper::default();
        let attempt = Attempt::new(
            Arc::clone(self.assignment),
            catalog,
            service,
            resume_id,
            Arc::new(io),
            stopper.clone(),
        );
        let attempt = attempt.reporting_to(self.report_url());
        Ok((attempt, stopper))
    }

    async fn run(&self, held: Option<Held>, resume_id: Option<String>) -> Result<(), String> {
        let shared = self.shared;
        let job = self.assignment.job.id;
        // Resumed work began when the provider took it, not when we found it.
        let resumed_at = held.as_ref().and_then(|held| held.record.started_at_ms);
        let started_at_ms = resumed_at.unwrap_or_else(clock::now_ms);
        if resume_id.is_none()
            && let Some(failure) = self.unfunded(started_at_ms)
        {
            return Box::pin(self.settle(held, &failed(failure), None, false)).await;
        }
        let delivered = held.as_ref().and_then(|held| held.record.delivered.clone());
        let held = Arc::new(Mutex::new(held));
        let (attempt, stopper) = self.attempt(Arc::clone(&held), resume_id)?;
        let kept_ms = self.backend.kept_ms(&attempt.service);
        let attempt = attempt.keeping(kept_ms, delivered);
        let delivery = attempt.delivery();
        shared.stoppers.running(job, &stopper);
        if shared.cancels.contains(job) {
            stopper.stop(Stop::Cancelled);
        }
        shared.figures.attempts_running.increment(1.0);
        let outcome = self.run_in_time(&attempt, &stopper, started_at_ms).await;
        let outcome = match outcome {
            Some(outcome) if self.assignment.is_paid() && delivery.borrow().is_some() => {
                // Rare but for paid work, and slow.
                Box::pin(self.until_stored(attempt, &stopper, started_at_ms, &held, outcome)).await
            }
            outcome => {
                // Gone before anybody is waited for: what is in hand is small.
                drop(attempt);
                outcome
            }
        };
        drop(stopper);
        shared.stoppers.ended(job);
        shared.figures.attempts_running.decrement(1.0);
        let Some(outcome) = outcome else { return Err("the backend did not let go in time".to_owned()) };
        let outcome = with_recorded_id(outcome, held.lock().await.as_ref());
        // Waiting for the store is not what the work takes.
        let made_at_ms = delivery.borrow().as_ref().map(|delivered| delivered.at_ms);
        self.learn(&outcome, started_at_ms, made_at_ms.unwrap_or_else(clock::now_ms));
        let held = held.lock().await.take();
        if delivery.borrow().is_some() {
            let code = outcome.failure.as_ref().map(|failure| failure.code);
            if self.assignment.is_paid() && code == Some(FailureCode::Interrupted) {
                return Err("delivered and left where it is kept, to be stored".to_owned());
            }
            return self.settle(held, &outcome, Some(started_at_ms), true).await;
        }
        self.settle_or_adopt(held, &outcome, Some(started_at_ms)).await
    }

    /// Why the attempt is handed back unstarted: its provider bills, and the reserved money does not suffice.
    fn unfunded(&self, now_ms: i64) -> Option<Failure> {
        if !self.backend.is_paid() {
            return None;
        }
        let config = self.shared.config.borrow();
        let service = config.catalog.service(&self.assignment.backend, &self.assignment.class)?;
        let words = funds::shortfall(self.assignment, service, &config.prices, now_ms)?;
        metrics::counter!("argosy_worker_unfunded_total").increment(1);
        Some(funds::handed_back(self.assignment, &words))
    }

    /// Runs the attempt; stops it at its limit, at the job's deadline, or when the process lets go. None when
    /// the backend does not end then.
    async fn run_in_time(&self, attempt: &Attempt, stopper: &Stopper, started_at_ms: i64) -> Option<Outcome> {
        let mut running = self.backend.run(attempt);
        // Most of what is quick ends before any of the following is needed.
        match tokio::time::timeout(TELL_RUNNING_AFTER, &mut running).await {
            Ok(outcome) => Some(outcome),
            Err(_) => Box::pin(self.run_on(running, attempt.delivery(), stopper, started_at_ms)).await,
        }
    }

    async fn run_on(
        &self,
        running: impl Future<Output = Outcome>,
        delivery: watch::Receiver<Option<DeliveredResult>>,
        stopper: &Stopper,
        started_at_ms: i64,
    ) -> Option<Outcome> {
        let in_time = async {
            tokio::select! {
                stop = self.out_of_time(delivery, started_at_ms) => stopper.stop(stop),
                () = self.shared.lifecycle.hard.cancelled() => stopper.stop(Stop::Drain),
            }
            let_go(self.shared).await;
        };
        let told_and_ended = async {
            let ((), outcome) = tokio::join!(self.tell_running(started_at_ms), running);
            outcome
        };
        tokio::select! {
            outcome = told_and_ended => Some(outcome),
            () = in_time => None,
        }
    }

    fn learn(&self, outcome: &Outcome, started_at_ms: i64, ended_at_ms: i64) {
        let run_ms = (ended_at_ms - started_at_ms).max(0).unsigned_abs();
        let code = outcome.failure.as_ref().map(|failure| failure.code);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one run")]
        self.shared.figures.run_seconds(code).record(run_ms as f64 / 1000.0);
        match code {
            None => {
                let bytes = outcome.artifacts.iter().map(|artifact| artifact.bytes).sum();
                self.shared.room.learn(&self.assignment.class, bytes);
                self.shared.learn(&self.assignment.class, run_ms);
            }
            Some(FailureCode::BackendDown | FailureCode::ProviderStopped | FailureCode::QuotaExhausted) => {
                self.shared.discover_now.notify_one();
            }
            Some(_) => {}
        }
    }

    async fn tell_running(&self, started_at_ms: i64) {
        let job = &self.assignment.job;
        let fact = Fact::Running {
            facts: self.assignment.facts(),
            backend: self.assignment.backend.clone(),
            worker: self.shared.worker.clone(),
            started_at_ms,
        };
        let event = Event::new(clock::now_ms(), job.tenant.clone(), job.id, self.assignment.attempt, fact);
        if let Err(error) = self.shared.broker.publisher.publish(&Message::event(&event)).await {
            tracing::debug!(%error, "the running event was not stored");
        }
    }

    fn settle<'o>(
        &'o self,
        held: Option<Held>,
        outcome: &'o Outcome,
        started_at_ms: Option<i64>,
        called: bool,
    ) -> impl Future<Output = Result<(), String>> + 'o {
        let settling = settle::Settling {
            assignment: self.assignment,
            message: self.message,
            outcome,
            started_at_ms,
            called,
        };
        settle::settle(self.shared, settling, held)
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

/// An outcome without an id gets the recorded one: what was started is never reported as not started.
fn with_recorded_id(mut outcome: Outcome, held: Option<&Held>) -> Outcome {
    if outcome.provider_id.is_none() {
        outcome.provider_id = held.and_then(|held| held.record.provider_id.clone());
    }
    outcome
}

async fn let_go(shared: &Shared) {
    shared.lifecycle.hard.cancelled().await;
    tokio::time::sleep(LET_GO).await;
}
