//! After the provider has delivered: fetched and stored again and again, by the worker that has the result.

use futures::lock::Mutex;
use schemas::Outcome;

use super::{Run, failed};
use crate::ports::Held;
use crate::race::{Raced, race};
use crate::worker::delivered::{self, After};
use crate::worker::errors::Unsettled;
use crate::worker::machine::{self, Begin};
use crate::worker::ports::{AttemptControl as _, WorkerPorts};
use crate::worker::stop::Stop;

impl<P: WorkerPorts> Run<'_, P> {
    /// Runs an attempt by its id until its delivered result is stored, or it ends otherwise. None when the backend
    /// does not end after a stop.
    pub(super) async fn until_stored(
        &self,
        mut attempt: P::Attempt,
        started_at_ms: i64,
        held: &Mutex<Option<Held>>,
        mut outcome: Outcome,
    ) -> Option<Outcome> {
        let mut tries = 0;
        loop {
            let Some(result) = attempt.delivery() else { return Some(outcome) };
            let id = held.lock().await.as_ref().and_then(|held| held.record.provider_id.clone());
            match delivered::after(outcome.clone(), &result, id.is_some(), tries, self.ports.now_ms()) {
                After::Settle(outcome) => return Some(*outcome),
                After::Again => {}
            }
            tries += 1;
            let reason = outcome.failure.as_ref().map(|failure| failure.message.as_str());
            tracing::warn!(job = %self.assignment.job.id, attempt = self.assignment.attempt, error = reason, tries, "delivered and not fetched: trying again");
            self.rest_between_fetches(&attempt, tries, started_at_ms).await;
            if let Some(stop) = attempt.stop_reason() {
                return Some(delivered::charged(failed(stop.failure()), &result));
            }
            attempt = attempt.resumed_by(id.unwrap_or_default());
            outcome = self.run_in_time(&attempt, started_at_ms, held).await?;
        }
    }

    /// Rests until the next fetch, or until the attempt has to end; then it is stopped.
    async fn rest_between_fetches(&self, attempt: &P::Attempt, tries: u32, started_at_ms: i64) {
        let ending = race(self.out_of_time(attempt, started_at_ms), self.ports.hard_stopping());
        let resting = race(self.ports.sleep(delivered::again_after(tries)), attempt.stopped());
        match race(resting, ending).await {
            Raced::Left(_) => {}
            Raced::Right(Raced::Left(stop)) => attempt.stop(stop),
            Raced::Right(Raced::Right(())) => attempt.stop(Stop::Drain),
        }
    }

    /// The result is in a worker's spool, and that worker stores it, whichever has the assignment. It is kept
    /// meanwhile: handing it back again and again would look like lost workers.
    pub(super) async fn await_stored(&self, mut held: Held) -> Result<(), Unsettled> {
        let ports = self.ports;
        let job = &self.assignment.job;
        tracing::info!(job = %job.id, attempt = self.assignment.attempt, "waiting until its spooled result is stored");
        for looks in 0.. {
            let ended = if ports.is_cancelled(&job.tenant, job.id) {
                Some(Stop::Cancelled)
            } else if self.is_expired() {
                Some(Stop::Expired)
            } else {
                None
            };
            let started_at_ms = held.record.started_at_ms;
            if let (Some(stop), Some(result)) = (ended, held.record.delivered.clone()) {
                let outcome = delivered::charged(failed(stop.failure()), &result);
                return self.settle(Some(held), &outcome, started_at_ms, true).await;
            }
            let now_ms = ports.now_ms();
            match machine::begin_from(&held.record, 1, now_ms) {
                Begin::AwaitStored => {
                    let result = held.record.delivered.as_ref();
                    let given_up = result.and_then(|result| delivered::waited_enough(result, looks, now_ms));
                    if let Some(outcome) = given_up {
                        return self.settle(Some(held), &outcome, started_at_ms, true).await;
                    }
                }
                Begin::Retell(outcome) => return self.settle(None, &outcome, started_at_ms, true).await,
                Begin::GiveUp(outcome) => {
                    return self.settle(Some(held), &outcome, started_at_ms, true).await;
                }
                _ => return Err(Unsettled::ClaimChanged),
            }
            match race(ports.sleep(delivered::LOOK_EVERY), ports.stopping()).await {
                Raced::Left(()) => {}
                Raced::Right(()) => return Err(Unsettled::Stopping),
            }
            match ports.read_claim(self.assignment.id()).await {
                Ok(Some(current)) => held = current,
                Ok(None) => return Err(Unsettled::ClaimGone),
                Err(error) => tracing::debug!(%error, "looking for a stored result"),
            }
        }
        unreachable!("it looks until it returns")
    }
}
