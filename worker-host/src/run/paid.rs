//! Paid work: a claim first; then it begins, or goes on from what another delivery left behind.

use std::sync::Arc;
use std::time::Duration;

use schemas::{AttemptRecord, AttemptState, Failure, FailureCode, Outcome, SCHEMA_VERSION};
use tokio::sync::Mutex;

use super::room::Waited;
use super::{Run, failed, hand_back, with_recorded_id};
use crate::Found;
use crate::claim::{Asked, ClaimError, Held};
use crate::machine::{self, Begin};
use runtime::clock;

/// How often a claim is looked at whose id the provider may report.
const LOOK_FOR_REPORT_EVERY: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Begins paid work once its result could be stored, or goes on with what another delivery left behind.
    pub(super) async fn begin_paid(&self) -> Result<(), String> {
        let (_reserved, stopping) = match self.await_room().await {
            Waited::Room(reserved) => (Some(reserved), None),
            Waited::NotNeeded => (None, None),
            Waited::Stopping(reason) => (None, Some(Failure::new(FailureCode::Interrupted, reason))),
        };
        let delivery = self.delivery();
        match self.ask().await? {
            Asked::Taken(held) => self.take_over(held, delivery.delivered).await,
            Asked::Granted(held) => match machine::unbegun(delivery).or(stopping) {
                None => self.run(Some(held), None).await,
                // Nobody was here before: nobody called the provider.
                Some(failure) => self.settle(Some(held), &failed(failure), None, false).await,
            },
        }
    }

    async fn ask(&self) -> Result<Asked, String> {
        let record = AttemptRecord {
            schema_version: SCHEMA_VERSION,
            job: self.assignment.job.id,
            attempt: self.assignment.attempt,
            backend: self.assignment.backend.clone(),
            worker: self.shared.worker.clone(),
            state: AttemptState::Intent,
            claimed_at_ms: clock::now_ms(),
            started_at_ms: None,
            reserved_micro_usd: self.assignment.reserved_micro_usd,
            provider_id: None,
            outcome: None,
            delivered: None,
        };
        self.shared.claims.ask(record).await.map_err(|error| error.to_string())
    }

    /// Goes on from a claim that another delivery left behind.
    async fn take_over(&self, mut held: Held, delivered: i64) -> Result<(), String> {
        if held.record.backend != self.assignment.backend {
            return self.superseded(&held).await;
        }
        let begin = machine::begin_from(&held.record, delivered, clock::now_ms());
        tracing::info!(job = %self.assignment.job.id, attempt = self.assignment.attempt, decision = ?begin, "taking over");
        let mine = AttemptRecord { worker: self.shared.worker.clone(), ..AttemptRecord::clone(&held.record) };
        match begin {
            Begin::Wait { after_ms } => {
                hand_back(self.message, Some(Duration::from_millis(after_ms.unsigned_abs()))).await;
                Ok(())
            }
            Begin::Retell(outcome) => {
                let started = held.record.started_at_ms;
                self.settle(None, &outcome, started, true).await
            }
            Begin::AwaitStored => self.await_stored(held).await,
            Begin::GiveUp(outcome) => {
                let started = held.record.started_at_ms;
                let outcome = with_recorded_id(*outcome, Some(&held));
                self.settle(Some(held), &outcome, started, true).await
            }
            Begin::Poison(failure) => {
                let started = held.record.started_at_ms;
                let outcome = with_recorded_id(failed(failure), Some(&held));
                self.settle(Some(held), &outcome, started, true).await
            }
            Begin::Resume(id) => {
                self.write(&mut held, mine).await?;
                self.run(Some(held), Some(id)).await
            }
            Begin::Find => {
                self.write(&mut held, mine).await?;
                self.find(held).await
            }
        }
    }

    /// The attempt runs at another backend: this assignment was placed by a router that had slept, and is
    /// one too many.
    async fn superseded(&self, held: &Held) -> Result<(), String> {
        let (attempt, elsewhere) = (self.assignment.id(), &held.record.backend);
        tracing::warn!(job = %attempt.job, attempt = attempt.attempt, backend = %elsewhere, "the attempt was placed elsewhere: dropped here");
        self.message.double_ack().await.map_err(|error| format!("acknowledging: {error}"))
    }

    async fn find(&self, mut held: Held) -> Result<(), String> {
        let (attempt, _stopper) = self.attempt(Arc::new(Mutex::new(None)), None)?;
        match self.backend.find(&attempt).await {
            Found::Started(id) => {
                let record = AttemptRecord {
                    state: AttemptState::Started,
                    provider_id: Some(id.clone()),
                    started_at_ms: Some(held.record.claimed_at_ms),
                    ..AttemptRecord::clone(&held.record)
                };
                self.write(&mut held, record).await?;
                self.run(Some(held), Some(id)).await
            }
            Found::NotStarted => {
                let record =
                    AttemptRecord { claimed_at_ms: clock::now_ms(), ..AttemptRecord::clone(&held.record) };
                self.write(&mut held, record).await?;
                self.run(Some(held), None).await
            }
            Found::Unknown => {
                let message =
                    "the worker was lost while it called the provider, which cannot tell what came of it";
                let outcome = failed(Failure::new(FailureCode::OutcomeUnknown, message));
                self.settle_or_adopt(Some(held), &outcome, None).await
            }
        }
    }

    pub(super) async fn adopt(
        &self,
        held: Held,
        outcome: &Outcome,
        started_at_ms: Option<i64>,
    ) -> Result<(), String> {
        match self.reported(held).await? {
            (held, Some(id)) => self.run(Some(held), Some(id)).await,
            (held, None) => self.settle(Some(held), outcome, started_at_ms, true).await,
        }
    }

    /// Waits until the claim has the provider's id, or as long as a report may come. The assignment stays
    /// ours meanwhile: handing it back again and again would look like lost workers.
    async fn reported(&self, mut held: Held) -> Result<(Held, Option<String>), String> {
        let shared = self.shared;
        let job = &self.assignment.job;
        tracing::info!(job = %job.id, attempt = self.assignment.attempt, "waiting for the provider's report");
        while machine::may_be_reported(&held.record, self.assignment.timeout_ms, clock::now_ms()) {
            let expired = job.constraints.deadline_ms.is_some_and(|deadline| deadline <= clock::now_ms());
            if expired || shared.cancels.contains(job.id) {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_FOR_REPORT_EVERY) => {}
                () = shared.lifecycle.soft.cancelled() => return Err("stopping".to_owned()),
            }
            match shared.claims.read(self.assignment.id()).await {
                Ok(Some(current)) => held = current,
                Ok(None) => break,
                Err(error) => tracing::debug!(%error, "looking for a report"),
            }
            if let Some(id) = held.record.provider_id.clone() {
                return Ok((held, Some(id)));
            }
        }
        Ok((held, None))
    }

    async fn write(&self, held: &mut Held, record: AttemptRecord) -> Result<(), String> {
        self.shared.claims.write(held, record).await.map_err(|error: ClaimError| error.to_string())
    }
}
