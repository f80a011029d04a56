//! Jobs that are open in the ledger and of which no stream holds anything: an operator removed their work.

use anyhow::Context as _;
use async_nats::jetstream::stream::DirectGetErrorKind;
use async_nats::jetstream::{self};
use futures::TryStreamExt as _;
use policy::invariants::AuditInput;
use runtime::clock;
use schemas::topology::stream;
use schemas::{JobId, subjects};
use std::collections::BTreeSet;

/// A job is looked at when its last event is older than this: what is on its way from one stream to the next, or to
/// the ledger, is there by then. Milliseconds.
const QUIET_MS: i64 = 60_000;

/// Jobs that are looked at one by one, at most.
const LOOKED_AT_MAX: usize = 10_000;

/// Finds them among the jobs that the ledger has as open.
pub(super) async fn find(
    jetstream: &jetstream::Context,
    input: &AuditInput,
    waiting: &BTreeSet<JobId>,
) -> anyhow::Result<BTreeSet<JobId>> {
    let open = input.jobs.iter().filter(|job| job.ends == 0).map(|job| job.job);
    let mut found: BTreeSet<JobId> = open.filter(|job| !waiting.contains(job)).collect();
    if found.is_empty() {
        return Ok(found);
    }
    // In the order in which work goes on, and the first once more: what goes back is found there.
    for (name, filter) in [
        (stream::WORK, subjects::WORK_FILTER),
        (stream::DEAD, subjects::DEAD_FILTER),
        (stream::WORK, subjects::WORK_FILTER),
    ] {
        let held = jobs_in(jetstream, name, filter).await?;
        found.retain(|job| !held.contains(job));
    }
    let events = jetstream.get_stream(stream::EVENTS).await.context("stream EVENTS")?;
    let mut abandoned = BTreeSet::new();
    for job in found.into_iter().take(LOOKED_AT_MAX) {
        let last = match events.direct_get_last_for_subject(subjects::events_of_job(job)).await {
            Ok(last) => last,
            // Older than the stream keeps events.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                abandoned.insert(job);
                continue;
            }
            Err(error) => return Err(error).context("stream EVENTS"),
        };
        let age_ms = clock::now_ms() - clock::ms_of_ns(last.time.unix_timestamp_nanos());
        let ended = matches!(
            subjects::parse(&last.subject),
            Some(subjects::Subject::Event(_, _, kind)) if ["ended", "charged"].contains(&kind.as_str())
        );
        if !ended && age_ms > QUIET_MS {
            abandoned.insert(job);
        }
    }
    Ok(abandoned)
}

async fn jobs_in(
    jetstream: &jetstream::Context,
    name: &str,
    filter: &str,
) -> anyhow::Result<BTreeSet<JobId>> {
    let what = || format!("stream {name}");
    let held = jetstream.get_stream(name).await.with_context(what)?;
    let subjects: Vec<(String, usize)> =
        held.info_with_subjects(filter).await.with_context(what)?.try_collect().await.with_context(what)?;
    let job = |subject: &str| match subjects::parse(subject) {
        Some(subjects::Subject::Work(_, _, job) | subjects::Subject::Dead(_, job)) => Some(job),
        _ => None,
    };
    Ok(subjects.iter().filter_map(|(subject, _)| job(subject)).collect())
}
