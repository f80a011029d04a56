//! Takes up what lies in the spool and nobody works on: results of attempts whose worker died or let go. They are
//! stored and written into their claims, whoever has their assignments meanwhile; those then tell the outcome.

use std::sync::Arc;
use std::time::Duration;

use schemas::topology::bucket;
use schemas::{AttemptId, AttemptRecord, AttemptState, Outcome};

use crate::host::Shared;
use crate::io::delivered_record;
use crate::spool::Spooled;
use runtime::artifacts;
use runtime::clock;
use runtime::exit::Fault;

/// How often the spool is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a start waits until the claims of what was left behind say so.
const MARK_LIMIT: Duration = Duration::from_secs(10);

/// What came of one try.
enum Done {
    /// Nothing is left to do: it is in the claim, or the claim is settled or gone.
    Yes,
    /// Later.
    NotYet(String),
}

/// Before the worker pulls: what a worker before it left behind is written into the claims, so that nobody takes
/// those attempts for unknown.
pub(crate) async fn mark(shared: &Arc<Shared>) {
    let marking = async {
        for attempt in shared.spool.attempts() {
            let Some(spooled) = take(shared, attempt).await else { continue };
            if let Err(error) = mark_one(shared, attempt, &spooled).await {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, error, "its claim does not say yet that it was delivered");
            }
            shared.spool.release(attempt);
        }
    };
    if tokio::time::timeout(MARK_LIMIT, marking).await.is_err() {
        tracing::warn!("the claims of what lies in the spool were not reached in time");
    }
}

/// Stores what lies there, again and again, until the process ends.
pub(crate) async fn run(shared: Arc<Shared>) -> Result<(), Fault> {
    loop {
        for attempt in shared.spool.attempts() {
            if shared.lifecycle.soft.is_cancelled() {
                return Ok(());
            }
            let Some(spooled) = take(&shared, attempt).await else { continue };
            match rescue(&shared, attempt, spooled).await {
                Done::Yes => shared.spool.remove(attempt),
                Done::NotYet(reason) => {
                    tracing::debug!(job = %attempt.job, attempt = attempt.attempt, reason, "a spooled result is not stored yet");
                    shared.spool.release(attempt);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.lifecycle.soft.cancelled() => return Ok(()),
        }
    }
}

async fn take(shared: &Arc<Shared>, attempt: AttemptId) -> Option<Spooled> {
    let of = Arc::clone(shared);
    let taken = tokio::task::spawn_blocking(move || of.spool.take(attempt)).await;
    match taken.map_err(std::io::Error::other).flatten() {
        Ok(spooled) => spooled,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            tracing::error!(job = %attempt.job, attempt = attempt.attempt, %error, "a spooled result is damaged and thrown away");
            shared.spool.discard(attempt);
            None
        }
        Err(error) => {
            tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "a spooled result cannot be read now");
            None
        }
    }
}

/// The attempt's claim as it should be while it waits, if it is not.
async fn mark_one(shared: &Shared, attempt: AttemptId, spooled: &Spooled) -> Result<(), String> {
    let held = shared.claims.read(attempt).await.map_err(|error| error.to_string())?;
    let Some(mut held) = held else { return Ok(()) };
    if held.record.state == AttemptState::Settled || held.record.delivered.is_some() {
        return Ok(());
    }
    let record = delivered_record(&held.record, &spooled.delivered);
    shared.claims.write(&mut held, record).await.map_err(|error| error.to_string())
}

async fn rescue(shared: &Shared, attempt: AttemptId, spooled: Spooled) -> Done {
    let read = match shared.claims.read(attempt).await {
        Ok(read) => read,
        Err(error) => return Done::NotYet(error.to_string()),
    };
    // Settled: somebody told an outcome. Gone: the claim is older than any assignment.
    let Some(mut held) = read.filter(|held| held.record.state != AttemptState::Settled) else {
        return Done::Yes;
    };
    if spooled.delivered.kept_until_ms <= clock::now_ms() {
        // Whoever has the assignment ends it so.
        return Done::Yes;
    }
    if held.record.delivered.is_none() {
        let record = delivered_record(&held.record, &spooled.delivered);
        if let Err(error) = shared.claims.write(&mut held, record).await {
            return Done::NotYet(error.to_string());
        }
    }
    let mut artifacts = Vec::with_capacity(spooled.files.len());
    for (index, made) in spooled.files.iter().enumerate() {
        let artifact = artifacts::describe(bucket::ARTIFACTS, attempt, index, &made.media_type, &made.bytes);
        if let Err(error) = shared.artifacts.put(&artifact.at, &made.bytes).await {
            return Done::NotYet(error.to_string());
        }
        artifacts.push(artifact);
    }
    let outcome = Outcome {
        artifacts,
        usage: spooled.delivered.usage,
        provider_id: spooled.delivered.provider_id,
        ..Outcome::default()
    };
    let record = AttemptRecord {
        state: AttemptState::Settled,
        provider_id: outcome.provider_id.clone(),
        outcome: Some(outcome),
        ..AttemptRecord::clone(&held.record)
    };
    match shared.claims.write(&mut held, record).await {
        Ok(()) => {
            tracing::info!(job = %attempt.job, attempt = attempt.attempt, "a spooled result is stored");
            Done::Yes
        }
        Err(error) => Done::NotYet(error.to_string()),
    }
}
