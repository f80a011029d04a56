//! The one way in: a job, its message id, the broker's acknowledgement. The command, the demo and the
//! tests publish through here, as any client does with its own library.

use anyhow::Context as _;
use async_nats::jetstream;
use runtime::artifacts::{Artifacts, sha256_hex};
use runtime::media_type;
use runtime::publish::{Message, Published, Publisher};
use schemas::artifact::input_key;
use schemas::topology::bucket;
use schemas::{ArtifactRef, Input, Job, Tenant, UnknownFields, subjects};
use std::time::Duration;

/// Publishes under way at once: enough to hide the broker's round trip, little beside its buffers.
pub const PUBLISHES_IN_FLIGHT: usize = 64;

/// A broker that has been away for all tries of [`publish`] is left alone for a moment.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The same where many are published by one caller.
pub const BULK_IN_FLIGHT: usize = 1_000;

/// A job as a message.
#[must_use]
pub fn message(job: &Job) -> Message {
    Message::new(subjects::jobs(job.lane, &job.tenant), job.id.to_string(), job)
}

/// Publishes a job and waits until the broker has stored it.
///
/// # Errors
/// The broker did not take it: it is away, or its stream is full. The job was then not accepted.
pub async fn job(publisher: &Publisher, job: &Job) -> anyhow::Result<Published> {
    publisher.publish(&message(job)).await.with_context(|| format!("job {} was not accepted", job.id))
}

/// Publishes a job until the broker has taken it, however long it is away; returns how many tries it took. The
/// message id is the same each time, so that a try whose acknowledgement was lost is no second job.
pub async fn until_accepted(publisher: &Publisher, one: &Job) -> u64 {
    let mut tries = 1;
    while let Err(error) = job(publisher, one).await {
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
pub async fn jobs(publisher: &Publisher, all: &[Job]) -> anyhow::Result<()> {
    let messages = all.iter().map(message);
    publisher.publish_all(messages, BULK_IN_FLIGHT).await.context("a job was not accepted")?;
    Ok(())
}

/// Puts a file into the artifact store, in the tenant's folder under its hash, and names it as a job's input.
///
/// # Errors
/// The file is too large, or the store refused it.
pub async fn input(
    jetstream: &jetstream::Context,
    tenant: &Tenant,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<Input> {
    let key = input_key(tenant, &sha256_hex(bytes));
    let at = ArtifactRef::new(bucket::ARTIFACTS, key);
    Artifacts::new(jetstream.clone()).put(&at, bytes).await.with_context(|| format!("input {name}"))?;
    let media_type = media_type::of_file(name, bytes).to_owned();
    Ok(Input { name: name.to_owned(), artifact: at, media_type, unknown: UnknownFields::default() })
}
