//! What lies in stream `JOBS`: accepted, and not yet in any router's books.

use anyhow::Context as _;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::jetstream::{self};
use futures::{StreamExt as _, TryStreamExt as _, stream as streams};
use schemas::topology::stream;
use schemas::{JobId, codec, subjects};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Messages that are read one by one; those beyond it are counted.
const READ_MAX: u64 = 50_000;

/// Subjects that are read at the same time.
const AT_ONCE: usize = 16;

/// What lies there.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The jobs whose ids could be read.
    pub(super) jobs: BTreeSet<JobId>,
    /// Messages that are no jobs, or too many to be read.
    pub(super) others: u64,
    /// Messages by subject where no lane reads.
    pub(super) unreachable: BTreeMap<String, u64>,
}

/// Reads the ids of all jobs that lie in their lanes.
pub(super) async fn read(jetstream: &jetstream::Context) -> anyhow::Result<Lanes> {
    const WHAT: &str = "stream JOBS";
    let jobs = jetstream.get_stream(stream::JOBS).await.context(WHAT)?;
    let counted = jobs.info_with_subjects(subjects::JOBS_FILTER).await.context(WHAT)?;
    let counted: Vec<(String, usize)> = counted.try_collect().await.context(WHAT)?;
    let mut lanes = Lanes::default();
    let (mut left, mut to_read) = (READ_MAX, Vec::new());
    for (subject, count) in counted {
        let count = count as u64;
        if !subjects::is_read_by_intake(&subject) {
            lanes.unreachable.insert(subject.clone(), count);
        }
        let most = count.min(left);
        (left, lanes.others) = (left - most, lanes.others + count - most);
        to_read.push((subject, most));
    }
    let reads = streams::iter(to_read).map(|(subject, most)| ids_of(&jobs, subject, most));
    let read: Vec<(BTreeSet<JobId>, u64)> = reads.buffer_unordered(AT_ONCE).try_collect().await?;
    for (ids, others) in read {
        lanes.jobs.extend(ids);
        lanes.others += others;
    }
    Ok(lanes)
}

/// The ids of the first messages of a subject, and how many of them are no jobs.
async fn ids_of(jobs: &Stream, subject: String, most: u64) -> anyhow::Result<(BTreeSet<JobId>, u64)> {
    let (mut next, mut ids, mut others) = (1, BTreeSet::new(), 0);
    for _ in 0..most {
        let message = match jobs.direct_get_next_for_subject(&subject, Some(next)).await {
            Ok(message) => message,
            // Placed in the meantime.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(error).context("stream JOBS"),
        };
        next = message.sequence + 1;
        let named = message.headers.get(NATS_MESSAGE_ID).and_then(|id| id.as_str().parse().ok());
        match id_in(&message.payload).or(named) {
            Some(id) => drop(ids.insert(id)),
            None => others += 1,
        }
    }
    Ok((ids, others))
}

fn id_in(payload: &[u8]) -> Option<JobId> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: JobId,
    }
    codec::decode::<OnlyId>(None, payload).ok().map(|only| only.id)
}
