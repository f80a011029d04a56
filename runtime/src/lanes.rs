//! What lies in the lanes: accepted jobs that no router has placed yet. They are looked at where they lie, without
//! taking them.

use std::time::Duration;

use async_nats::jetstream::{self, stream::DirectGetErrorKind};
use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures::StreamExt as _;
use protocol::errors::Source;
use schemas::api::LaneStatus;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::{self, stream};
use schemas::{Job, JobId, Lane, Tenant, subjects};
use serde::Serialize;

use crate::clock;

/// Jobs that are looked at in one look: what lies behind more is counted and not named.
pub const LOOKED_AT_MAX: usize = 20_000;

/// Messages, and bytes, that the broker sends at once.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long the broker may take for the next message.
const NEXT_WITHIN: Duration = Duration::from_secs(2);

/// The lanes could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The broker refused, or cannot be asked.
    #[error("looking at the lanes: {0}")]
    Broker(#[source] Source),
    /// The broker did not send the next message in time.
    #[error("looking at the lanes: the broker did not answer in time")]
    Late,
    /// The connection closed meanwhile.
    #[error("looking at the lanes: the connection closed")]
    Closed,
}

fn failed(error: impl Into<Source>) -> LookError {
    LookError::Broker(error.into())
}

/// A job that lies in its lane.
#[derive(Debug, Clone)]
pub struct Lying {
    /// In which lane.
    pub lane: Lane,
    /// Whose it is.
    pub tenant: Tenant,
    /// How many jobs of the lane were accepted before it and lie there still.
    pub ahead: u64,
    /// When the broker took it in, Unix milliseconds.
    pub accepted_at_ms: i64,
    /// All that lie before it were counted; else there are more than `ahead`.
    pub is_counted: bool,
    message: Message,
}

impl Lying {
    /// Its id, if it can be read.
    #[must_use]
    pub fn id(&self) -> Option<JobId> {
        let headers = self.message.headers.as_ref();
        let named = headers.and_then(|headers| headers.get(async_nats::header::NATS_MESSAGE_ID));
        let named = named.and_then(|id| id.as_str().parse().ok());
        named.or_else(|| self.job().map(|job| job.id))
    }

    /// The job, if it can be read.
    #[must_use]
    pub fn job(&self) -> Option<Job> {
        let headers = self.message.headers.as_ref();
        let content_type = headers.and_then(|headers| Some(headers.get(CONTENT_TYPE)?.as_str()));
        codec::decode(content_type, &self.message.payload).ok()
    }
}

/// Depth and oldest age of each lane.
///
/// # Errors
/// The broker does not answer.
pub async fn status(jetstream: &jetstream::Context) -> Result<Vec<LaneStatus>, LookError> {
    let jobs = jetstream.get_stream_no_info(stream::JOBS).await.map_err(failed)?;
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        let consumer = jobs.consumer_info(topology::intake_consumer_name(lane)).await.map_err(failed)?;
        let waiting = consumer.num_pending + consumer.num_ack_pending as u64;
        let oldest = match waiting {
            0 => None,
            _ => match jobs.direct_get_next_for_subject(subjects::jobs_filter(lane), Some(1)).await {
                Ok(message) => Some(clock::ms_of_ns(message.time.unix_timestamp_nanos())),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => None,
                Err(error) => return Err(failed(error)),
            },
        };
        let age_ms = |at_ms: i64| u64::try_from(clock::now_ms() - at_ms).unwrap_or_default();
        lanes.push(LaneStatus { lane, jobs: waiting, oldest_age_ms: oldest.map(age_ms) });
    }
    Ok(lanes)
}

/// What came of looking for a job in the lanes.
#[derive(Debug)]
pub enum Search {
    /// It lies there.
    Found(Box<Lying>),
    /// It does not: all was looked at.
    Absent,
    /// It is not among those that were looked at, and there are more.
    NotFound {
        /// Jobs of each lane among those that were looked at.
        counted: [u64; Lane::ALL.len()],
    },
}

/// By how much the clock by which an id was made may be ahead of the broker's, milliseconds: first none, then the bound up to
/// which clocks may differ.
const AHEAD_MS: [i64; 2] = [0, policy::clocks::SKEW_MAX_MS.cast_signed()];

/// Looks for a job in the lanes: among the oldest `looked_at_max`, and where more lie there, among as many that came from the
/// time on that its id bears. What was published long after its id was made may not be found.
///
/// # Errors
/// The broker does not answer.
pub async fn find_job(
    client: &Client,
    made_ms: Option<i64>,
    looked_at_max: usize,
    mut is_it: impl FnMut(&Lying) -> bool,
) -> Result<Search, LookError> {
    let first = find(client, Start::Sequence(1), looked_at_max, &mut is_it).await?;
    let (Search::NotFound { counted }, Some(made_ms)) = (&first, made_ms) else { return Ok(first) };
    for ahead_ms in AHEAD_MS {
        let from = Start::Time(made_ms.saturating_sub(ahead_ms));
        if let Search::Found(mut lying) = find(client, from, looked_at_max, &mut is_it).await? {
            let counted = Lane::ALL.iter().zip(counted).find(|(lane, _)| **lane == lying.lane);
            (lying.ahead, lying.is_counted) = (counted.map_or(0, |(_, ahead)| *ahead), false);
            return Ok(Search::Found(lying));
        }
    }
    Ok(first)
}

/// Where a look begins.
#[derive(Debug, Clone, Copy)]
enum Start {
    Sequence(u64),
    /// When the broker took it in, Unix milliseconds.
    Time(i64),
}

/// Looks at what lies in the lanes, the oldest first, until `is_found` says so of one, which is returned with how many
/// lie before it from the start on.
async fn find(
    client: &Client,
    start: Start,
    looked_at_max: usize,
    mut is_found: impl FnMut(&Lying) -> bool,
) -> Result<Search, LookError> {
    let mut ahead = [0; Lane::ALL.len()];
    let (mut from, mut looked_at) = (start, 0);
    while looked_at < looked_at_max {
        let mut batch = request(client, from).await?;
        let before = looked_at;
        loop {
            let next = tokio::time::timeout(NEXT_WITHIN, batch.next()).await;
            let next = next.map_err(|_| LookError::Late)?;
            let message = next.ok_or(LookError::Closed)?;
            // The end of a batch, or nothing there at all.
            let Some((sequence, subject, accepted_at_ms)) = place(&message) else { break };
            (from, looked_at) = (Start::Sequence(sequence + 1), looked_at + 1);
            let Some(subjects::Subject::Jobs(lane, tenant)) = subjects::parse(&subject) else { continue };
            let Some(number) = Lane::ALL.iter().position(|known| *known == lane) else { continue };
            let lying =
                Lying { lane, tenant, ahead: ahead[number], accepted_at_ms, is_counted: true, message };
            if is_found(&lying) {
                return Ok(Search::Found(Box::new(lying)));
            }
            ahead[number] += 1;
        }
        if looked_at == before {
            return Ok(Search::Absent);
        }
    }
    Ok(Search::NotFound { counted: ahead })
}

/// What `read` makes of all that lies in the lanes, the oldest first, at most of [`LOOKED_AT_MAX`].
///
/// # Errors
/// As [`find`].
pub async fn read_all<T>(client: &Client, mut read: impl FnMut(&Lying) -> T) -> Result<Vec<T>, LookError> {
    let mut all = Vec::new();
    find(client, Start::Sequence(1), LOOKED_AT_MAX, |lying| {
        all.push(read(lying));
        false
    })
    .await?;
    Ok(all)
}

#[derive(Serialize)]
struct BatchRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    next_by_subj: &'static str,
    batch: usize,
    max_bytes: usize,
}

async fn request(client: &Client, from: Start) -> Result<async_nats::Subscriber, LookError> {
    let (seq, start_time) = match from {
        Start::Sequence(sequence) => (Some(sequence), None),
        Start::Time(at_ms) => (None, Some(clock::utc(at_ms))),
    };
    let next_by_subj = "argosy.jobs.>";
    let request = BatchRequest { seq, start_time, next_by_subj, batch: BATCH, max_bytes: BATCH_BYTES };
    let request: Bytes = serde_json::to_vec(&request).map_err(failed)?.into();
    let inbox = client.new_inbox();
    let batch = client.subscribe(inbox.clone()).await.map_err(failed)?;
    let subject = format!("$JS.API.DIRECT.GET.{}", stream::JOBS);
    client.publish_with_reply(subject, inbox, request).await.map_err(failed)?;
    Ok(batch)
}

/// Sequence, subject and time of a message of a batch; none of what is not one.
fn place(message: &Message) -> Option<(u64, String, i64)> {
    let headers: &HeaderMap = message.headers.as_ref()?;
    let text = |name: &'static str| headers.get(name).map(|value| value.as_str().to_owned());
    if message.status.is_some() {
        return None;
    }
    let sequence = text("Nats-Sequence")?.parse().ok()?;
    Some((sequence, text("Nats-Subject")?, clock::utc_ms(&text("Nats-Time-Stamp")?)?))
}
