//! The one way in: a job, its message id, the broker's acknowledgement. The command, the demo and the
//! tests publish through here, as any client does with its own library.

use anyhow::Context as _;
use async_nats::jetstream;
use futures::{StreamExt as _, TryStreamExt as _};
use runtime::artifacts::{Artifacts, media_type_of, sha256_hex};
use runtime::publish::{Message, Published, publish};
use schemas::topology::bucket;
use schemas::{ArtifactRef, Input, Job, subjects};
use std::time::Duration;

/// Publishes under way at once: enough to hide the broker's round trip, little beside its buffers.
pub const PUBLISHES_IN_FLIGHT: usize = 64;

/// A broker that has been away for all tries of [`publish`] is left alone for a moment.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Publishes a job and waits until the broker has stored it.
///
/// # Errors
/// The broker did not take it: it is away, or its stream is full. The job was then not accepted.
pub async fn job(jetstream: &jetstream::Context, job: &Job) -> anyhow::Result<Published> {
    let subject = subjects::jobs(job.lane, &job.tenant);
    let message = Message::new(subject, job.id.to_string(), job);
    publish(jetstream, &message).await.with_context(|| format!("job {} was not accepted", job.id))
}

/// Publishes a job until the broker has taken it, however long it is away; returns how many tries it took. The
/// message id is the same each time, so that a try whose acknowledgement was lost is no second job.
pub async fn until_accepted(jetstream: &jetstream::Context, one: &Job) -> u64 {
    let mut tries = 1;
    while let Err(error) = job(jetstream, one).await {
        tracing::debug!(error = format!("{error:#}"), "publishing again");
        tries += 1;
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
    tries
}

/// Publishes many, several at a time.
///
/// # Errors
/// The first that was not accepted; others may have been.
pub async fn jobs(jetstream: &jetstream::Context, all: &[Job]) -> anyhow::Result<()> {
    let publishes = futures::stream::iter(all).map(|one| job(jetstream, one));
    publishes.buffered(PUBLISHES_IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await
}

/// Puts a file into the artifact store under its hash, and names it as a job's input.
///
/// # Errors
/// The file is too large, or the store refused it.
pub async fn input(jetstream: &jetstream::Context, name: &str, bytes: &[u8]) -> anyhow::Result<Input> {
    let at = ArtifactRef { bucket: bucket::ARTIFACTS.to_owned(), key: format!("in/{}", sha256_hex(bytes)) };
    Artifacts::new(jetstream.clone()).put(&at, bytes).await.with_context(|| format!("input {name}"))?;
    Ok(Input { name: name.to_owned(), artifact: at, media_type: media_type_of(name).to_owned() })
}
