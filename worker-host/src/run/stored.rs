//! After the provider has delivered: fetched and stored again and again, by whoever has the result.

use std::time::Duration;

use schemas::Outcome;
use tokio::sync::Mutex;

use super::{Run, failed};
use crate::attempt::{Attempt, Stop, Stopper};
use crate::claim::Held;
use crate::delivered::{self, After};
use crate::machine::Begin;
use runtime::clock;

/// How often a claim is looked at whose result another worker stores.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Runs an attempt by its id until its delivered result is stored, or it ends otherwise. None when the backend
    /// does not let go.
    pub(super) async fn until_stored(
        &self,
        mut attempt: Attempt,
        stopper: &Stopper,
        started_at_ms: i64,
        held: &Mutex<Option<Held>>,
        mut outcome: Outcome,
    ) -> Option<Outcome> {
        let mut tries = 0;
        loop {
            let Some(result) = attempt.delivery().borrow().clone() else { return Some(outcome) };
            let id = held.lock().await.as_ref().and_then(|held| held.record.provider_id.clone());
            match delivered::after(outcome.clone(), &result, id.is_some(), clock::now_ms()) {
                After::Settle(outcome) => return Some(*outcome),
                After::Again => {}
            }
            tries += 1;
            let reason = outcome.failure.as_ref().map(|failure| failure.message.as_str());
            tracing::warn!(job = %attempt.id().job, attempt = attempt.id().attempt, reason, tries, "delivered and not fetched: trying again");
            let delivery = attempt.delivery();
            tokio::select! {
                () = tokio::time::sleep(delivered::again_after(tries)) => {}
                stop = self.out_of_time(delivery, started_at_ms) => stopper.stop(stop),
                () = self.shared.lifecycle.hard.cancelled() => stopper.stop(Stop::Drain),
                _ = attempt.stopped() => {}
            }
            if let Some(stop) = attempt.stop_now() {
                return Some(delivered::charged(attempt.stopped_outcome(stop), &result));
            }
            attempt = attempt.resumed_by(id.unwrap_or_default());
            outcome = self.run_in_time(&attempt, stopper, started_at_ms).await?;
        }
    }

    /// The result is in a worker's spool, and that worker stores it, whoever has the assignment. It is kept
    /// meanwhile: handing it back again and again would look like lost workers.
    pub(super) async fn await_stored(&self, mut held: Held) -> Result<(), String> {
        let shared = self.shared;
        let job = &self.assignment.job;
        tracing::info!(job = %job.id, attempt = self.assignment.attempt, "waiting until its spooled result is stored");
        loop {
            let now_ms = clock::now_ms();
            let ended = if shared.cancels.contains(job.id) {
                Some(Stop::Cancelled)
            } else if job.constraints.deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
                Some(Stop::Expired)
            } else {
                None
            };
            let started_at_ms = held.record.started_at_ms;
            if let (Some(stop), Some(result)) = (ended, held.record.delivered.clone()) {
                let outcome = delivered::charged(failed(stop.failure()), &result);
                return self.settle(Some(held), &outcome, started_at_ms, true).await;
            }
            match crate::machine::begin_from(&held.record, 1, now_ms) {
                Begin::AwaitStored => {}
                Begin::Retell(outcome) => return self.settle(None, &outcome, started_at_ms, true).await,
                Begin::GiveUp(outcome) => {
                    return self.settle(Some(held), &outcome, started_at_ms, true).await;
                }
                _ => return Err("the claim changed in between".to_owned()),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shared.lifecycle.soft.cancelled() => return Err("stopping".to_owned()),
            }
            match shared.claims.read(self.assignment.id()).await {
                Ok(Some(current)) => held = current,
                Ok(None) => return Err("its claim is gone".to_owned()),
                Err(error) => tracing::debug!(%error, "looking for a stored result"),
            }
        }
    }
}
