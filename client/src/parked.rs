//! What is parked for an operator in stream `PARKED`: list it, read it, publish it again, or discard it.

mod causes;
mod discard;

use crate::submit;
use anyhow::{Context as _, bail};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, consumer};
use futures::{StreamExt as _, TryStreamExt as _};
use runtime::artifacts::sha256_hex;
use runtime::broker::Broker;
use runtime::clock::now_ms;
use runtime::publish::Message;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::stream;
use schemas::{FailureCode, Job, JobId, Parked, subjects};
use serde::Serialize;
use std::collections::BTreeSet;

pub use causes::{Cause, Origin, causes, fails_again};
pub use discard::{Discard, discard};

/// The code in the subject of a record of what was discarded: it is no failure, and is left out where it is not named.
pub const DISCARDED: &str = "discarded";

/// The label that a redriven job carries: the id it had before.
pub const REDRIVEN_FROM: &str = "redriven_from";

/// Messages read in one go.
const BATCH: usize = 200;

/// A parked message with its place.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its sequence in the stream: how the commands name it.
    pub sequence: u64,
    /// Whose, as far as could be read.
    pub tenant: String,
    /// Why, as in the subject.
    pub code: String,
    /// Which job, as far as could be read.
    pub job: String,
    /// All of it; none when it cannot be read by this version.
    pub parked: Option<Parked>,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// With this failure code.
    pub code: Option<String>,
}

impl Filter {
    fn subject(&self) -> String {
        let token = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
        format!("{}.parked.{}.{}.*", subjects::PREFIX, token(&self.tenant), token(&self.code))
    }

    /// Records of discards are shown to who asks for them.
    fn is_meant(&self, entry: &Entry) -> bool {
        entry.code != DISCARDED || self.code.as_deref() == Some(DISCARDED)
    }
}

async fn open(jetstream: &jetstream::Context) -> anyhow::Result<Stream> {
    jetstream.get_stream(stream::PARKED).await.context("stream PARKED: run `argosy topology apply`")
}

/// The parked messages, oldest first, at most `limit` (the newest of them).
///
/// # Errors
/// The stream is not there, or the broker does not answer.
pub async fn list(
    jetstream: &jetstream::Context,
    filter: &Filter,
    limit: usize,
) -> anyhow::Result<Vec<Entry>> {
    let parked = open(jetstream).await?;
    let config = consumer::pull::Config {
        filter_subject: filter.subject(),
        ack_policy: consumer::AckPolicy::None,
        inactive_threshold: std::time::Duration::from_secs(30),
        ..consumer::pull::Config::default()
    };
    let consumer = parked.create_consumer(config).await.context("reading stream PARKED")?;
    let mut entries = std::collections::VecDeque::new();
    loop {
        let mut batch = consumer.fetch().max_messages(BATCH).messages().await?;
        let mut read = 0;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!(error)).context("reading stream PARKED")?;
            let sequence = message.info().map_err(|error| anyhow::anyhow!(error))?.stream_sequence;
            let header = message.headers.as_ref().and_then(|all| Some(all.get(CONTENT_TYPE)?.as_str()));
            read += 1;
            let entry = entry(sequence, &message.subject, header, &message.payload);
            if filter.is_meant(&entry) {
                entries.push_back(entry);
            }
            if entries.len() > limit {
                entries.pop_front();
            }
        }
        if read == 0 {
            return Ok(entries.into());
        }
    }
}

/// One parked message by its sequence.
///
/// # Errors
/// There is none, or the broker does not answer.
pub async fn get(jetstream: &jetstream::Context, sequence: u64) -> anyhow::Result<Entry> {
    let parked = open(jetstream).await?;
    let message = parked.get_raw_message(sequence).await;
    let message =
        message.with_context(|| format!("no parked message {sequence}: see `argosy parked list`"))?;
    let header = message.headers.get(CONTENT_TYPE).map(|value| value.as_str());
    Ok(entry(sequence, &message.subject, header, &message.payload))
}

fn entry(sequence: u64, subject: &str, header: Option<&str>, payload: &[u8]) -> Entry {
    let (tenant, code, job) = match subjects::parse(subject) {
        Some(subjects::Subject::Parked(tenant, code, job)) => (tenant, code, job),
        _ => Default::default(),
    };
    Entry { sequence, tenant, code, job, parked: codec::decode(header, payload).ok() }
}

/// The bytes that were published, and the job in them if they are one.
///
/// # Errors
/// The parked message itself is damaged.
pub fn original(parked: &Parked) -> anyhow::Result<(Vec<u8>, Result<Job, codec::DecodeError>)> {
    let bytes = parked.original()?;
    let job = codec::decode(parked.content_type.as_deref(), &bytes);
    Ok((bytes, job))
}

/// How a parked message went on its way again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redriven {
    /// As a new job.
    Anew(JobId),
    /// As it was.
    Unchanged,
}

/// Publishes what was parked as a new job: the same body with an id of its own and the label
/// [`REDRIVEN_FROM`], because an id ends once. What was parked as `too_new` has not ended, and may be of a schema
/// that this version cannot read: it is published unchanged. The parked message is deleted after the broker has
/// stored the other.
///
/// # Errors
/// The original is no job, or it was not accepted; it then stays parked.
pub async fn redrive(broker: &Broker, entry: &Entry) -> anyhow::Result<Redriven> {
    let Some(parked) = &entry.parked else { bail!("message {} cannot be read", entry.sequence) };
    if entry.code == DISCARDED {
        bail!("message {} is the record of a discard", entry.sequence);
    }
    let (bytes, job) = original(parked)?;
    // An id that is too old is taken in no more: what this version can read becomes a job anew.
    let is_unchanged =
        parked.failure.code == FailureCode::TooNew && (is_recent(parked, now_ms()) || job.is_err());
    if is_unchanged {
        // Not under its first message id, by which the broker would take it for a repeat and drop it.
        let id = format!("parked.{}.redriven", entry.sequence);
        let message = Message::original(parked.subject.clone(), id, bytes, parked.content_type.as_deref());
        broker.publisher.publish(&message).await.context("it was not accepted")?;
        delete(broker, entry).await?;
        return Ok(Redriven::Unchanged);
    }
    let job = job.with_context(|| format!("message {} is no job, mend and submit it", entry.sequence))?;
    let job = renewed(job, redriven_id(entry.sequence, parked, now_ms()), now_ms());
    submit::job(&broker.publisher, &job).await?;
    delete(broker, entry).await?;
    Ok(Redriven::Anew(job.id))
}

async fn delete(broker: &Broker, entry: &Entry) -> anyhow::Result<()> {
    let parked = open(&broker.jetstream).await?;
    parked.delete_message(entry.sequence).await.context("deleting the parked message")?;
    Ok(())
}

/// How many messages are parked; records of discards are not counted.
///
/// # Errors
/// The stream is not there, or the broker does not answer.
pub async fn count(jetstream: &jetstream::Context) -> anyhow::Result<u64> {
    let parked = open(jetstream).await?;
    let all = parked.cached_info().state.messages;
    if all == 0 {
        return Ok(0);
    }
    let filter = Filter { tenant: None, code: Some(DISCARDED.to_owned()) };
    let mut records = parked.info_with_subjects(filter.subject()).await?;
    let mut discarded = 0;
    while let Some((_, messages)) = records.try_next().await.context("stream PARKED")? {
        discarded += messages as u64;
    }
    Ok(all.saturating_sub(discarded))
}

/// The jobs that were put aside as `too_new`: accepted, and waiting for a newer router.
///
/// # Errors
/// The stream is not there, or the broker does not answer.
pub async fn too_new(jetstream: &jetstream::Context) -> anyhow::Result<BTreeSet<JobId>> {
    let filter = Filter { tenant: None, code: Some(FailureCode::TooNew.as_str().to_owned()) };
    let parked = open(jetstream).await?;
    let mut waiting = parked.info_with_subjects(filter.subject()).await?;
    let mut jobs = BTreeSet::new();
    while let Some((subject, _)) = waiting.try_next().await.context("stream PARKED")? {
        if let Some(subjects::Subject::Parked(_, _, job)) = subjects::parse(&subject) {
            jobs.extend(job.parse::<JobId>());
        }
    }
    Ok(jobs)
}

/// How old an entry may be whose time its job's id takes, milliseconds: ids that are older are refused at admission.
const RECENT_MS: i64 = policy::admit::ID_BEHIND_MAX_MS - 2 * SPAN_MS;

/// The time in the id of an older entry is the beginning of a span of this length, milliseconds.
const SPAN_MS: i64 = 86_400_000;

fn is_recent(parked: &Parked, now_ms: i64) -> bool {
    now_ms.saturating_sub(parked.time_ms) <= RECENT_MS
}

/// The id under which an entry becomes a job anew: the same each time, so that two redrives of one entry are one job. That
/// of an entry of many days ago is the same within a day.
#[must_use]
pub fn redriven_id(sequence: u64, parked: &Parked, now_ms: i64) -> JobId {
    let of = format!("{sequence}.{}.{}.{}", parked.time_ms, parked.subject, parked.payload_base64);
    let hash = sha256_hex(of.as_bytes());
    let mut entropy = [0; 10];
    for (byte, two) in entropy.iter_mut().zip(hash.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(two).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    let made_ms = if is_recent(parked, now_ms) { parked.time_ms } else { now_ms / SPAN_MS * SPAN_MS };
    JobId::from_parts(made_ms, entropy)
}

/// The job anew. It has no idempotency key: that names the request that failed, and a job that comes with it again is
/// taken for that one, or refused for its new label.
#[must_use]
pub fn renewed(job: Job, id: JobId, now_ms: i64) -> Job {
    let mut labels = job.labels;
    labels.insert(REDRIVEN_FROM.to_owned(), job.id.to_string());
    Job { id, time_ms: now_ms, labels, idempotency_key: None, ..job }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn an_entry_is_one_job_however_often_it_is_redriven() {
        let parked = samples::parked();
        let id = |sequence, parked: &Parked| redriven_id(sequence, parked, parked.time_ms + 1_000);
        assert_eq!(id(7, &parked), redriven_id(7, &parked, parked.time_ms + RECENT_MS));
        assert_eq!(id(7, &parked).time_ms(), Some(parked.time_ms), "it sorts by its time");
        // The same job, parked again after it was redriven; another one.
        assert_ne!(id(8, &parked), id(7, &parked));
        let other = Parked { payload_base64: "bnVsbA==".to_owned(), ..parked.clone() };
        assert_ne!(id(7, &other), id(7, &parked));
    }

    #[test]
    fn an_entry_of_weeks_ago_becomes_a_job_that_is_taken_in() {
        let parked = samples::parked();
        let noon_ms = (parked.time_ms + 29 * SPAN_MS) / SPAN_MS * SPAN_MS + SPAN_MS / 2;
        let made_ms = redriven_id(7, &parked, noon_ms).time_ms().expect("a time");
        assert!((0..=policy::admit::ID_BEHIND_MAX_MS).contains(&(noon_ms - made_ms)));
        assert_eq!(redriven_id(7, &parked, noon_ms), redriven_id(7, &parked, noon_ms + 60_000));
    }

    #[test]
    fn a_job_anew_has_no_key_and_says_where_it_came_from() {
        let job = Job { idempotency_key: Some("order-1".to_owned()), ..samples::job() };
        let anew = renewed(job.clone(), JobId::from_parts(1, [1; 10]), 5);
        assert_eq!(anew.idempotency_key, None);
        assert_eq!(anew.labels[REDRIVEN_FROM], job.id.to_string());
        assert_eq!((anew.body, anew.time_ms), (job.body, 5));
    }
}
