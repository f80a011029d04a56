//! Takes up what lies in the spool and nothing works on: results of attempts whose worker died or was stopped. They
//! are stored and written into their claims, whichever worker has their assignments; that worker then publishes the
//! outcome.

use std::time::Duration;

use schemas::{AttemptId, AttemptRecord, AttemptState, Outcome};

use super::claim::{self, delivered_record};
use super::errors::Unsettled;
use super::ports::{SpoolPorts, StoredFiles};
use crate::errors::ClaimError;
use crate::ports::Claimed;
use crate::race::{Raced, race};

/// How often the spool is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a start waits until the claims of what was left behind say so.
const MARK_LIMIT: Duration = Duration::from_secs(10);

/// Before the worker pulls: what a worker before it left behind is written into the claims, so that those attempts
/// are not taken for unknown.
pub async fn mark<P: SpoolPorts>(ports: &P) {
    let marking = async {
        record_kept(ports).await;
        for attempt in ports.spooled_attempts() {
            let Some(spooled) = ports.take_spooled(attempt).await else { continue };
            if let Err(error) = mark_one(ports, attempt, &spooled).await {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "its claim does not say yet that it was delivered");
            }
            ports.release_spooled(attempt);
        }
    };
    if race(marking, ports.sleep(MARK_LIMIT)).await == Raced::Right(()) {
        tracing::warn!("the claims of what lies in the spool were not reached in time");
    }
}

/// Stores what lies there, again and again, until the process stops.
pub async fn run<P: SpoolPorts>(ports: &P) {
    while !ports.is_stopping() {
        look(ports).await;
        ports.rest(LOOK_EVERY).await;
    }
}

/// Writes the ids that lie on disk into their claims.
async fn record_kept<P: SpoolPorts>(ports: &P) {
    for kept in ports.kept_claims() {
        let attempt = kept.id();
        match record_one(ports, &kept).await {
            Ok(()) => ports.forget_claim(attempt),
            Err(error) => {
                tracing::debug!(job = %attempt.job, attempt = attempt.attempt, %error, "its claim has no id yet");
            }
        }
    }
}

/// The claim has the id, or needs it no more. One that is gone is made anew: its assignment may still be there.
async fn record_one<P: SpoolPorts>(ports: &P, kept: &AttemptRecord) -> Result<(), ClaimError> {
    // Not read first: another delivery may make one in between, without the id.
    let Claimed::AlreadyClaimed(mut held) = ports.create_claim(kept.clone()).await? else { return Ok(()) };
    if held.record.state == AttemptState::Settled || held.record.provider_id.is_some() {
        return Ok(());
    }
    let record = claim::with_kept_id(&held.record, kept);
    ports.write_claim(&mut held, record).await
}

/// Tries once to store what lies there, and to write the ids that do.
pub async fn look<P: SpoolPorts>(ports: &P) {
    record_kept(ports).await;
    for attempt in ports.spooled_attempts() {
        if ports.is_stopping() {
            return;
        }
        let Some(spooled) = ports.take_spooled(attempt).await else { continue };
        match rescue(ports, attempt, &spooled).await {
            Ok(()) => ports.remove_spooled(attempt),
            Err(error) => {
                tracing::debug!(job = %attempt.job, attempt = attempt.attempt, %error, "a spooled result is not stored yet");
                ports.release_spooled(attempt);
            }
        }
    }
}

/// The attempt's claim as it should be while it waits, if it is not.
async fn mark_one<P: SpoolPorts>(
    ports: &P,
    attempt: AttemptId,
    spooled: &P::Spooled,
) -> Result<(), ClaimError> {
    let Some(mut held) = ports.read_claim(attempt).await? else { return Ok(()) };
    if held.record.state == AttemptState::Settled || held.record.delivered.is_some() {
        return Ok(());
    }
    let record = delivered_record(&held.record, spooled.as_ref());
    ports.write_claim(&mut held, record).await
}

/// Returns when nothing is left to do: it is in the claim, or the claim is settled or gone.
async fn rescue<P: SpoolPorts>(ports: &P, attempt: AttemptId, spooled: &P::Spooled) -> Result<(), Unsettled> {
    let read = ports.read_claim(attempt).await?;
    // Settled: the outcome is recorded. Gone: the claim is older than any assignment.
    let Some(mut held) = read.filter(|held| held.record.state != AttemptState::Settled) else {
        return Ok(());
    };
    // Also after its time: until whichever worker has the assignment has given it up, it is needed.
    let delivered = spooled.as_ref();
    if held.record.delivered.is_none() {
        let record = delivered_record(&held.record, delivered);
        ports.write_claim(&mut held, record).await?;
    }
    let StoredFiles { artifacts, manifest } = ports.store_spooled(attempt, spooled).await?;
    let outcome = Outcome {
        artifacts,
        manifest,
        usage: delivered.usage.clone(),
        provider_id: delivered.provider_id.clone(),
        ..Outcome::default()
    };
    let record = AttemptRecord {
        state: AttemptState::Settled,
        provider_id: outcome.provider_id.clone(),
        outcome: Some(outcome),
        ..AttemptRecord::clone(&held.record)
    };
    ports.write_claim(&mut held, record).await?;
    tracing::info!(job = %attempt.job, attempt = attempt.attempt, "a spooled result is stored");
    Ok(())
}
