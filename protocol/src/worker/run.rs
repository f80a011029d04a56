//! One delivery from its first look to its acknowledgement. All decisions are [`machine`]'s.

mod limits;
mod paid;
mod room;
mod stored;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::lock::Mutex;
use schemas::{Assignment, DeliveredResult, Event, Fact, Failure, FailureCode, Outcome, topology};

use super::claim;
use super::errors::Unsettled;
use super::machine::{self, Delivery};
use super::ports::{AttemptControl as _, Preparation, Ran, SharedClaim, WorkerPorts};
use super::settle;
use super::stop::Stop;
use crate::note::Note;
use crate::ports::{Answer, Held, Record};
use crate::race::{Raced, race};
use policy::funds;

/// The broker hears from us at a third of the time after which it would redeliver.
const EXTEND_EVERY: Duration = Duration::from_millis(topology::WORK_ACK_WAIT_MS / 3);

/// An attempt that takes longer than this is published as `running`; quicker ones save the broker a write.
const RUNNING_EVENT_AFTER: Duration = Duration::from_millis(250);

/// How long an assignment rests when broker or claim did not let us go on.
const HAND_BACK_FOR: Duration = Duration::from_secs(2);

/// How long after the hard stop a backend may take to return, before its assignment is left to redelivery.
const ABORT_GRACE: Duration = Duration::from_secs(3);

/// Everything from a delivery to its acknowledgement. There is one of these futures for each job in hand, so what
/// is rare, slow or paid is boxed: the way of quick free work stays small.
pub async fn deliver<P: WorkerPorts>(ports: &P, mut message: P::Delivered) {
    let assignment = match ports.open(&mut message) {
        Ok(assignment) => assignment,
        Err(unreadable) => return Box::pin(settle::pass_on_unreadable(ports, &message, *unreadable)).await,
    };
    let message = &message;
    if ports.is_stopping() {
        return Box::pin(hand_back(ports, message, None)).await;
    }
    let run = Run { ports, message, assignment: &assignment };
    let run = pin!(run.begin());
    // The time to acknowledge is extended for as long as anything is done about the delivery.
    let extending = pin!(extend(ports, message));
    let settled = match race(run, extending).await {
        Raced::Left(settled) => settled,
        Raced::Right(never) => match never {},
    };
    if assignment.is_paid() {
        // What is not settled is left to the next delivery.
        ports.release_spooled(assignment.id());
    }
    if let Err(reason) = settled {
        tracing::warn!(job = %assignment.job.id, attempt = assignment.attempt, error = %reason, "handing back");
        Box::pin(hand_back(ports, message, Some(HAND_BACK_FOR))).await;
    }
}

async fn extend<P: WorkerPorts>(ports: &P, message: &P::Delivered) -> Infallible {
    loop {
        ports.sleep(EXTEND_EVERY).await;
        if let Err(error) = Box::pin(ports.answer(message, Answer::Extend)).await {
            tracing::debug!(%error, "extending the time to acknowledge");
        }
    }
}

async fn hand_back<P: WorkerPorts>(ports: &P, message: &P::Delivered, rest: Option<Duration>) {
    if let Err(error) = ports.answer(message, Answer::HandBack(rest)).await {
        tracing::debug!(%error, "handing back; the broker redelivers by itself");
    }
}

struct Run<'a, P: WorkerPorts> {
    ports: &'a P,
    message: &'a P::Delivered,
    assignment: &'a Arc<Assignment>,
}

impl<P: WorkerPorts> Run<'_, P> {
    async fn begin(&self) -> Result<(), Unsettled> {
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
        Delivery {
            delivered: self.ports.deliveries(self.message),
            cancelled: self.ports.is_cancelled(&self.assignment.job.tenant, self.assignment.job.id),
            expired: self.is_expired(),
            paid: self.assignment.is_paid(),
        }
    }

    fn is_expired(&self) -> bool {
        let deadline_ms = self.assignment.job.constraints.deadline_ms;
        deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.ports.now_ms())
    }

    /// Ends what need not begin.
    async fn refuse(&self, failure: Failure, delivery: Delivery) -> Result<(), Unsettled> {
        if delivery.delivered > 1 {
            let attempt = self.attempt(&SharedClaim::default(), None, None)?;
            self.ports.abandon(&attempt).await;
        }
        self.settle(None, &failed(failure), None, false).await
    }

    /// Settles an outcome; one that is unknown, and that the provider may report, waits for the report and
    /// goes on by the id that it names.
    async fn settle_or_await_report(
        &self,
        held: Option<Held>,
        outcome: &Outcome,
        started_at_ms: Option<i64>,
    ) -> Result<(), Unsettled> {
        let unconfirmed = outcome.provider_id.is_none()
            && outcome.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::OutcomeUnknown);
        match held {
            Some(held) if unconfirmed && self.ports.reports(self.assignment) => {
                Box::pin(self.await_report(held, outcome, started_at_ms)).await
            }
            held => self.settle(held, outcome, started_at_ms, true).await,
        }
    }

    fn attempt(
        &self,
        held: &SharedClaim,
        resume_id: Option<String>,
        delivered: Option<DeliveredResult>,
    ) -> Result<P::Attempt, Unsettled> {
        let catalog = self.ports.config().catalog;
        let Assignment { backend, class, .. } = &**self.assignment;
        let Some(service) = catalog.service(backend, class).cloned() else {
            return Err(Unsettled::NoService { backend: backend.clone(), class: class.clone() });
        };
        Ok(self.ports.attempt(Preparation {
            assignment: self.assignment,
            catalog,
            service,
            resume_id,
            delivered,
            held: Arc::clone(held),
        }))
    }

    async fn run(&self, held: Option<Held>, resume_id: Option<String>) -> Result<(), Unsettled> {
        self.run_or_stop(held, resume_id, None).await
    }

    /// Runs an attempt, or stops at once what runs of it at the provider.
    async fn run_or_stop(
        &self,
        held: Option<Held>,
        resume_id: Option<String>,
        stop: Option<Stop>,
    ) -> Result<(), Unsettled> {
        let ports = self.ports;
        let job = self.assignment.job.id;
        // Resumed work began when the provider took it, not when we found it.
        let resumed_at_ms = held.as_ref().and_then(|held| held.record.started_at_ms);
        let started_at_ms = resumed_at_ms.unwrap_or_else(|| ports.now_ms());
        if resume_id.is_none()
            && let Some(failure) = self.unread().or_else(|| self.unfunded(started_at_ms))
        {
            return Box::pin(self.settle(held, &failed(failure), None, false)).await;
        }
        let delivered = held.as_ref().and_then(|held| held.record.delivered.clone());
        let held = Arc::new(Mutex::new(held));
        let attempt = self.attempt(&held, resume_id, delivered)?;
        ports.register(&attempt);
        if let Some(stop) = stop {
            attempt.stop(stop);
        }
        // A request that came before the attempt was registered stopped nothing.
        if ports.is_cancelled(&self.assignment.job.tenant, job) {
            attempt.stop(Stop::Cancelled);
        }
        let outcome = self.run_in_time(&attempt, started_at_ms, &held).await;
        let delivered_at_ms = attempt.delivery().map(|delivered| delivered.at_ms);
        let outcome = match outcome {
            Some(outcome) if self.assignment.is_paid() && delivered_at_ms.is_some() => {
                // Rare but for paid work, and slow.
                Box::pin(self.until_stored(attempt, started_at_ms, &held, outcome)).await
            }
            outcome => {
                // Gone before anything is waited for: what is in hand is small.
                drop(attempt);
                outcome
            }
        };
        ports.unregister(job);
        let outcome = outcome.ok_or(Unsettled::NotAborted)?;
        let held = held.lock().await.take();
        let outcome = with_recorded_id(outcome, held.as_ref());
        // Waiting for the store is not what the work takes.
        self.learn(&outcome, started_at_ms, delivered_at_ms.unwrap_or_else(|| ports.now_ms()));
        if delivered_at_ms.is_some() {
            let code = outcome.failure.as_ref().map(|failure| failure.code);
            if self.assignment.is_paid() && code == Some(FailureCode::Interrupted) {
                return Err(Unsettled::LeftDelivered);
            }
            return self.settle(held, &outcome, Some(started_at_ms), true).await;
        }
        self.settle_or_await_report(held, &outcome, Some(started_at_ms)).await
    }

    /// Why the attempt is handed back unstarted: its provider bills, and a document cannot be read here. It is seldom
    /// needed: such a worker pulls nothing.
    fn unread(&self) -> Option<Failure> {
        let config = self.ports.config();
        let document = config.unreadable().filter(|_| self.ports.bills())?;
        let words = funds::unreadable(document, "worker");
        Some(Failure::new(FailureCode::Interrupted, format!("not started: {words}")))
    }

    /// Why the attempt is handed back unstarted: its provider bills, and the reserved money does not suffice.
    fn unfunded(&self, now_ms: i64) -> Option<Failure> {
        if !self.ports.bills() {
            return None;
        }
        let config = self.ports.config();
        let service = config.catalog.service(&self.assignment.backend, &self.assignment.class)?;
        let words = funds::shortfall(self.assignment, service, &config.prices, now_ms)?;
        self.ports.note(Note::Unfunded);
        Some(funds::handed_back(self.assignment, &words))
    }

    /// Runs the attempt; stops it at its limit, at the job's deadline, or when the process stops. None when
    /// the backend does not end then.
    async fn run_in_time(
        &self,
        attempt: &P::Attempt,
        started_at_ms: i64,
        held: &Mutex<Option<Held>>,
    ) -> Option<Outcome> {
        let mut running = pin!(self.ports.run(attempt));
        let soon = pin!(self.ports.sleep(RUNNING_EVENT_AFTER));
        // Most of what is quick ends before any of the following is needed.
        match race(running.as_mut(), soon).await {
            Raced::Left(outcome) => Some(outcome),
            Raced::Right(()) => Box::pin(self.run_on(running, attempt, started_at_ms, held)).await,
        }
    }

    async fn run_on(
        &self,
        running: Pin<&mut impl Future<Output = Outcome>>,
        attempt: &P::Attempt,
        started_at_ms: i64,
        held: &Mutex<Option<Held>>,
    ) -> Option<Outcome> {
        let in_time = async {
            let stop = match race(self.out_of_time(attempt, started_at_ms), self.ports.hard_stopping()).await
            {
                Raced::Left(stop) => stop,
                Raced::Right(()) => Stop::Drain,
            };
            attempt.stop(stop);
            self.ports.hard_stopping().await;
            self.ports.sleep(ABORT_GRACE).await;
        };
        let published_and_ended = futures::future::join(self.publish_running(started_at_ms), running);
        let (running, keeping) =
            (pin!(race(published_and_ended, in_time)), pin!(claim::keep(self.ports, held)));
        match race(running, keeping).await {
            Raced::Left(Raced::Left(((), outcome))) => Some(outcome),
            Raced::Left(Raced::Right(())) => None,
            Raced::Right(never) => match never {},
        }
    }

    fn learn(&self, outcome: &Outcome, started_at_ms: i64, ended_at_ms: i64) {
        let (started_at_ms, ended_at_ms) = outcome
            .ran
            .as_ref()
            .map_or((started_at_ms, ended_at_ms), |ran| (ran.started_at_ms, ran.ended_at_ms));
        self.ports.learn(Ran {
            class: &self.assignment.class,
            run_ms: (ended_at_ms - started_at_ms).max(0).unsigned_abs(),
            job: self.assignment.job.id,
            failure: outcome.failure.as_ref(),
            stored_bytes: match &outcome.manifest {
                Some(manifest) => manifest.bytes,
                None => outcome.artifacts.iter().map(|artifact| artifact.bytes).sum(),
            },
        });
    }

    async fn publish_running(&self, started_at_ms: i64) {
        let job = &self.assignment.job;
        let fact = Fact::Running {
            facts: self.assignment.facts(),
            backend: self.assignment.backend.clone(),
            worker: self.ports.worker().clone(),
            started_at_ms,
        };
        let now_ms = self.ports.now_ms();
        let event = Event::new(now_ms, job.tenant.clone(), job.id, self.assignment.attempt, fact);
        if let Err(error) = self.ports.store(Record::Event(&event)).await {
            tracing::debug!(%error, "the running event was not stored");
        }
    }

    fn settle<'o>(
        &'o self,
        held: Option<Held>,
        outcome: &'o Outcome,
        started_at_ms: Option<i64>,
        called: bool,
    ) -> impl Future<Output = Result<(), Unsettled>> + 'o {
        let settling = settle::Settling {
            assignment: self.assignment,
            message: self.message,
            outcome,
            started_at_ms,
            called,
        };
        settle::settle(self.ports, settling, held)
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
