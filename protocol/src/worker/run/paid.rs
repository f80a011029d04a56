//! Paid work: a claim first; then it begins, or goes on from what another delivery left behind.

use std::time::Duration;

use schemas::{AttemptRecord, AttemptState, Failure, FailureCode, Outcome, Phase, SCHEMA_VERSION};

use super::room::Waited;
use super::{Run, failed, hand_back, with_recorded_id};
use crate::claim_store::Absence;
use crate::errors::ClaimError;
use crate::ports::{Claimed, Held};
use crate::race::{Raced, race};
use crate::worker::claim;
use crate::worker::errors::Unsettled;
use crate::worker::machine::{self, Begin, Delivery};
use crate::worker::ports::{Found, SharedClaim, WorkerPorts};
use crate::worker::stop::Stop;

/// How often a claim is looked at whose id the provider may report.
const LOOK_FOR_REPORT_EVERY: Duration = Duration::from_secs(1);

impl<P: WorkerPorts> Run<'_, P> {
    /// Begins paid work once its result could be stored, or goes on with what another delivery left behind.
    pub(super) async fn begin_paid(&self) -> Result<(), Unsettled> {
        let (_reserved, stopping) = match self.await_room().await {
            Waited::Room(reserved) => (Some(reserved), None),
            Waited::NotNeeded => (None, None),
            Waited::Stopping(reason) => (None, Some(Failure::new(FailureCode::Interrupted, reason))),
        };
        let delivery = self.delivery();
        match self.create_claim().await? {
            (Claimed::AlreadyClaimed(held), _) => self.take_over(held, delivery.delivered).await,
            (Claimed::Granted(held), Absence::Unknowable(failure)) => self.find(held, failure, false).await,
            (Claimed::Granted(held), Absence::NotStarted) => {
                self.begin_claimed(held, delivery, stopping).await
            }
        }
    }

    /// Begins under a claim that proves that nothing of the attempt was begun before.
    async fn begin_claimed(
        &self,
        held: Held,
        delivery: Delivery,
        stopping: Option<Failure>,
    ) -> Result<(), Unsettled> {
        match machine::unbegun(delivery).or(stopping) {
            None => self.run(Some(held), None).await,
            // The first delivery that came so far: the provider was not called.
            Some(failure) => self.settle(Some(held), &failed(failure), None, false).await,
        }
    }

    /// Takes the claim, and says what it means if there was none. While its bucket is full the assignment waits in place
    /// and nothing is started.
    async fn create_claim(&self) -> Result<(Claimed, Absence), Unsettled> {
        loop {
            let assigned_at_ms = self.ports.stored_at_ms(self.message);
            let absence = self.ports.absence_of_claim(assigned_at_ms, self.assignment.is_paid()).await?;
            match self.try_to_create_claim().await {
                Err(error @ ClaimError::Full { .. }) => {
                    let words = error.to_string();
                    claim::note_full(self.ports, &error);
                    tracing::warn!(job = %self.assignment.job.id, attempt = self.assignment.attempt, error = words, "not started: waiting for room for its claim");
                    self.ports.progress(self.assignment, Phase::Queued, Some(&words));
                    self.ports.rest(claim::FULL_AGAIN_AFTER).await;
                    if self.ports.is_stopping() {
                        return Err(error.into());
                    }
                }
                created => return Ok((created?, absence)),
            }
        }
    }

    async fn try_to_create_claim(&self) -> Result<Claimed, ClaimError> {
        let record = AttemptRecord {
            schema_version: SCHEMA_VERSION,
            job: self.assignment.job.id,
            attempt: self.assignment.attempt,
            backend: self.assignment.backend.clone(),
            worker: self.ports.worker().clone(),
            state: AttemptState::Intent,
            claimed_at_ms: self.ports.now_ms(),
            started_at_ms: None,
            reserved_micro_usd: self.assignment.reserved_micro_usd,
            provider_id: None,
            outcome: None,
            delivered: None,
            nonce: Some(self.nonce()),
        };
        claim::create(self.ports, record).await
    }

    /// What tells this delivery's records from those of others, also in the same process.
    fn nonce(&self) -> String {
        format!("{}.{}", self.ports.deliveries(self.message), self.ports.now_ms())
    }

    /// Goes on from a claim that another delivery left behind.
    async fn take_over(&self, mut held: Held, delivered: i64) -> Result<(), Unsettled> {
        if held.record.backend != self.assignment.backend {
            return self.superseded(&held).await;
        }
        self.add_kept_id(&mut held);
        let begin = machine::begin_from(&held.record, delivered, self.ports.now_ms());
        tracing::info!(job = %self.assignment.job.id, attempt = self.assignment.attempt, decision = ?begin, "taking over");
        let mine = AttemptRecord {
            worker: self.ports.worker().clone(),
            nonce: Some(self.nonce()),
            ..AttemptRecord::clone(&held.record)
        };
        match begin {
            Begin::Wait { after_ms } => {
                let after = Duration::from_millis(after_ms.unsigned_abs());
                hand_back(self.ports, self.message, Some(after)).await;
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
                self.write_unless_full(&mut held, mine).await?;
                self.run(Some(held), Some(id)).await
            }
            Begin::StopThere(id) => {
                self.write_unless_full(&mut held, mine).await?;
                self.run_or_stop(Some(held), Some(id), Some(Stop::Poison)).await
            }
            Begin::Find => {
                claim::write_when_room(self.ports, &mut held, mine).await?;
                let message =
                    "the worker was lost while it called the provider, which cannot tell what came of it";
                self.find(held, Failure::new(FailureCode::OutcomeUnknown, message), true).await
            }
        }
    }

    /// The provider's id of an attempt whose claim could not be written lies on this machine's disk.
    fn add_kept_id(&self, held: &mut Held) {
        let record = &held.record;
        if record.provider_id.is_some() || record.state == AttemptState::Settled {
            return;
        }
        let kept = self.ports.kept_claims().into_iter().find(|kept| kept.id() == record.id());
        if let Some(kept) = kept {
            *held.record = claim::with_kept_id(record, &kept);
        }
    }

    /// Writes a claim under which nothing is started: work at the provider is followed though the bucket is full.
    async fn write_unless_full(&self, held: &mut Held, record: AttemptRecord) -> Result<(), ClaimError> {
        match claim::write_patiently(self.ports, held, record).await {
            Err(error @ ClaimError::Full { .. }) => {
                claim::note_full(self.ports, &error);
                tracing::warn!(job = %self.assignment.job.id, attempt = self.assignment.attempt, %error, "followed all the same");
                Ok(())
            }
            written => written,
        }
    }

    /// The attempt runs at another backend: this assignment was placed by a router that had slept, and is
    /// one too many.
    async fn superseded(&self, held: &Held) -> Result<(), Unsettled> {
        let (attempt, elsewhere) = (self.assignment.id(), &held.record.backend);
        tracing::warn!(job = %attempt.job, attempt = attempt.attempt, backend = %elsewhere, "the attempt was placed elsewhere: dropped here");
        Ok(self.ports.acknowledge_confirmed(self.message).await?)
    }

    /// Asks the provider what became of a start that was not confirmed. `unknown` is the failure where it cannot tell,
    /// `may_be_reported` says that its report may still come.
    async fn find(&self, mut held: Held, unknown: Failure, may_be_reported: bool) -> Result<(), Unsettled> {
        let attempt = self.attempt(&SharedClaim::default(), None, None)?;
        match self.ports.find(&attempt).await {
            Found::Started(id) => {
                let record = AttemptRecord {
                    state: AttemptState::Started,
                    provider_id: Some(id.clone()),
                    started_at_ms: Some(held.record.claimed_at_ms),
                    ..AttemptRecord::clone(&held.record)
                };
                self.write_unless_full(&mut held, record).await?;
                self.run(Some(held), Some(id)).await
            }
            Found::NotStarted => {
                let claimed_at_ms = self.ports.now_ms();
                let record = AttemptRecord { claimed_at_ms, ..AttemptRecord::clone(&held.record) };
                claim::write_when_room(self.ports, &mut held, record).await?;
                self.run(Some(held), None).await
            }
            Found::Unknown if may_be_reported => {
                self.settle_or_await_report(Some(held), &failed(unknown), None).await
            }
            Found::Unknown => self.settle(Some(held), &failed(unknown), None, true).await,
        }
    }

    pub(super) async fn await_report(
        &self,
        held: Held,
        outcome: &Outcome,
        started_at_ms: Option<i64>,
    ) -> Result<(), Unsettled> {
        match self.reported(held).await? {
            (held, Some(id)) => self.run(Some(held), Some(id)).await,
            (held, None) => self.settle(Some(held), outcome, started_at_ms, true).await,
        }
    }

    /// Waits until the claim has the provider's id, or as long as a report may come. The assignment stays
    /// ours meanwhile: handing it back again and again would look like lost workers.
    async fn reported(&self, mut held: Held) -> Result<(Held, Option<String>), Unsettled> {
        let ports = self.ports;
        let job = &self.assignment.job;
        tracing::info!(job = %job.id, attempt = self.assignment.attempt, "waiting for the provider's report");
        while machine::may_be_reported(&held.record, self.assignment.timeout_ms, ports.now_ms()) {
            if self.is_expired() || ports.is_cancelled(&job.tenant, job.id) {
                break;
            }
            match race(ports.sleep(LOOK_FOR_REPORT_EVERY), ports.stopping()).await {
                Raced::Left(()) => {}
                Raced::Right(()) => return Err(Unsettled::Stopping),
            }
            match ports.read_claim(self.assignment.id()).await {
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
}
