//! Steps over the claim of an attempt while it runs. What calls a provider takes them, be it real or simulated.

use std::convert::Infallible;
use std::time::Duration;

use futures::lock::Mutex;
use schemas::{AttemptId, AttemptRecord, AttemptState, DeliveredResult, Failure, FailureCode};

use super::machine;
use super::ports::SpoolPorts;
use crate::errors::ClaimError;
use crate::note::Note;
use crate::ports::{Claimed, Held, Ports};

/// How often a claim is written before the broker is taken for away.
const TRIES: u32 = 5;

/// How long to wait between the tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long to wait before a full bucket is tried again.
pub(super) const FULL_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How often the claim of work that runs is written again, so that it stays young in its bucket.
const KEEP_EVERY: Duration = Duration::from_hours(6);

/// Makes the provider's id of an attempt durable, right after the provider answered. Where the broker does not take it, the
/// work goes on: the id is written with whatever is written next, and lies on disk until then.
///
/// # Errors
/// The failure to end the attempt with: another process took the claim over, and the id could not be recorded.
pub async fn record_started<P: SpoolPorts>(
    ports: &P,
    held: &Mutex<Option<Held>>,
    attempt: AttemptId,
    provider_id: &str,
) -> Result<(), Failure> {
    let mut held = held.lock().await;
    let Some(claim) = held.as_mut() else { return Ok(()) };
    let record = AttemptRecord {
        state: AttemptState::Started,
        started_at_ms: Some(ports.now_ms()),
        provider_id: Some(provider_id.to_owned()),
        ..AttemptRecord::clone(&claim.record)
    };
    let Err(error) = write_patiently(ports, claim, record.clone()).await else { return Ok(()) };
    // The provider's own report was quicker, or only the broker's answer was lost: it is recorded.
    if let Ok(Some(current)) = ports.read_claim(attempt).await
        && current.record.provider_id.as_deref() == Some(provider_id)
    {
        *claim = current;
        return Ok(());
    }
    if !matches!(error, ClaimError::Lost(_)) {
        note_full(ports, &error);
        *claim.record = record;
        ports.keep_claim(&claim.record).await;
        tracing::warn!(job = %attempt.job, attempt = attempt.attempt, provider_id, %error, "the provider's id is not in the claim yet: the work goes on");
        return Ok(());
    }
    tracing::error!(job = %attempt.job, attempt = attempt.attempt, provider_id, %error, "the provider's id could not be recorded");
    let message = format!("started at the provider as {provider_id}, which could not be recorded");
    Err(Failure::new(FailureCode::OutcomeUnknown, message))
}

/// Whether an attempt may still be started: asked right before the call that costs money. Without a claim it may.
pub async fn is_still_ours<P: Ports>(ports: &P, held: &Mutex<Option<Held>>, attempt: AttemptId) -> bool {
    let mut held = held.lock().await;
    let Some(claim) = held.as_mut() else { return true };
    let now_ms = ports.now_ms();
    if machine::is_young(&claim.record, now_ms) {
        return true;
    }
    // Older than a moment: it is renewed, which fails if another process took the claim over.
    let record = AttemptRecord { claimed_at_ms: now_ms, ..AttemptRecord::clone(&claim.record) };
    let renewed = write_patiently(ports, claim, record).await;
    if let Err(error) = &renewed {
        tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "not started: the claim could not be renewed");
    }
    renewed.is_ok()
}

/// Records that the provider delivered, what it counted, and where the result is kept.
pub async fn record_delivered<P: Ports>(
    ports: &P,
    held: &Mutex<Option<Held>>,
    attempt: AttemptId,
    delivered: &DeliveredResult,
) {
    let mut held = held.lock().await;
    let Some(claim) = held.as_mut() else { return };
    let record = delivered_record(&claim.record, delivered);
    // Not written, it is still in the spool or at the provider: a later delivery finds out.
    if let Err(error) = write_patiently(ports, claim, record).await {
        note_full(ports, &error);
        tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "the claim does not say what was delivered");
    }
}

/// A claim that says what was delivered. Where no start is recorded, its work began when it was claimed.
pub(super) fn delivered_record(record: &AttemptRecord, delivered: &DeliveredResult) -> AttemptRecord {
    AttemptRecord {
        started_at_ms: record.started_at_ms.or(Some(record.claimed_at_ms)),
        delivered: Some(delivered.clone()),
        ..record.clone()
    }
}

/// Creates a claim, and knows its own record: an answer that was lost is asked for again, and what is found there then is
/// this very record. Its `nonce` is of one delivery, so that no other is taken for it.
///
/// # Errors
/// As [`Ports::create_claim`], after some seconds.
pub(crate) async fn create<P: Ports>(ports: &P, record: AttemptRecord) -> Result<Claimed, ClaimError> {
    let mut is_unanswered = false;
    for tries in 1.. {
        match ports.create_claim(record.clone()).await {
            Ok(Claimed::AlreadyClaimed(held)) if is_unanswered && is_own(&held.record, &record) => {
                return Ok(Claimed::Granted(held));
            }
            Err(ClaimError::Port { attempt, source }) if tries < TRIES => {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, error = %source, "the claim may not be created, trying again");
                is_unanswered = true;
            }
            created => return created,
        }
        ports.sleep(AGAIN_AFTER).await;
    }
    unreachable!("the last try returns")
}

/// Writes the next state of a claim, and knows its own record, as [`create`] does. What must not be lost because the
/// broker is away for a moment is tried again.
///
/// # Errors
/// As [`Ports::write_claim`], after some seconds.
pub(super) async fn write_patiently<P: Ports>(
    ports: &P,
    held: &mut Held,
    record: AttemptRecord,
) -> Result<(), ClaimError> {
    let mut is_unanswered = false;
    for tries in 1.. {
        match ports.write_claim(held, record.clone()).await {
            Err(ClaimError::Lost(attempt)) if is_unanswered => {
                return match ports.read_claim(attempt).await? {
                    Some(current) if is_own(&current.record, &record) => {
                        *held = current;
                        Ok(())
                    }
                    _ => Err(ClaimError::Lost(attempt)),
                };
            }
            Err(ClaimError::Port { attempt, source }) if tries < TRIES => {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, error = %source, "the claim may not be written, trying again");
                is_unanswered = true;
            }
            written => return written,
        }
        ports.sleep(AGAIN_AFTER).await;
    }
    unreachable!("the last try returns")
}

/// Writes the next state of a claim. While the bucket is full it is tried again, in place: handing the assignment back again
/// and again would look like lost workers.
///
/// # Errors
/// As [`Ports::write_claim`]; [`ClaimError::Full`] when the process stops meanwhile.
pub(super) async fn write_when_room<P: Ports>(
    ports: &P,
    held: &mut Held,
    record: AttemptRecord,
) -> Result<(), ClaimError> {
    loop {
        match write_patiently(ports, held, record.clone()).await {
            Err(error @ ClaimError::Full { .. }) => {
                note_full(ports, &error);
                tracing::warn!(job = %record.job, attempt = record.attempt, %error, "waiting to write the claim");
                ports.rest(FULL_AGAIN_AFTER).await;
                if ports.is_stopping() {
                    return Err(error);
                }
            }
            written => return written,
        }
    }
}

/// A claim with the provider's id that lay on disk.
pub(super) fn with_kept_id(record: &AttemptRecord, kept: &AttemptRecord) -> AttemptRecord {
    AttemptRecord {
        state: AttemptState::Started,
        started_at_ms: kept.started_at_ms,
        provider_id: kept.provider_id.clone(),
        ..record.clone()
    }
}

/// Takes note where a claim was not written because its bucket is full.
pub(super) fn note_full<P: Ports>(ports: &P, error: &ClaimError) {
    if matches!(error, ClaimError::Full { .. }) {
        ports.note(Note::ClaimsFull);
    }
}

/// Writes the claim of work that runs again and again: it must not go from its bucket before the work ends.
pub(super) async fn keep<P: Ports>(ports: &P, held: &Mutex<Option<Held>>) -> Infallible {
    loop {
        ports.sleep(KEEP_EVERY).await;
        let mut held = held.lock().await;
        let Some(claim) = held.as_mut() else { continue };
        let record = AttemptRecord::clone(&claim.record);
        let attempt = record.id();
        if let Err(error) = ports.write_claim(claim, record).await {
            tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "the claim was not written again");
        }
    }
}

/// A record without a nonce is of an older version, or of several processes that write the same: none of them is ours
/// alone.
fn is_own(there: &AttemptRecord, mine: &AttemptRecord) -> bool {
    mine.nonce.is_some() && there == mine
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn a_record_is_our_own_by_all_that_it_says() {
        let mine = AttemptRecord { nonce: Some("7.1".to_owned()), ..samples::attempt_record() };
        assert!(is_own(&mine, &mine));
        for other in [
            AttemptRecord { nonce: Some("7.2".to_owned()), ..mine.clone() },
            AttemptRecord { nonce: None, ..mine.clone() },
            AttemptRecord { provider_id: Some("another".to_owned()), ..mine.clone() },
            AttemptRecord { claimed_at_ms: mine.claimed_at_ms + 1, ..mine.clone() },
        ] {
            assert!(!is_own(&other, &mine), "{other:?}");
        }
        let without = AttemptRecord { nonce: None, ..mine };
        assert!(!is_own(&without, &without), "written by several, it is not known whose it is");
    }
}
