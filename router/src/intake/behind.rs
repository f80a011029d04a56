//! What lies behind those that wait. A lane's consumer delivers in the order of arrival, and a router holds only
//! so many; so when as many wait as may, it looks which other tenants have jobs in the lane, and reads the first
//! of those past the consumer. A flood of one tenant then delays no other's few, however long it is.
//!
//! They are placed as any job is. The consumer may deliver one as well, here or elsewhere: who was first is the
//! broker's to say (`place::carry`), and the other finds its tracks. One that was placed is deleted.

use std::collections::HashMap;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures::TryStreamExt as _;
use runtime::telemetry;
use schemas::codec::CONTENT_TYPE;
use schemas::subjects::{self, Subject};
use schemas::topology::stream;
use schemas::{Lane, Tenant};

use super::arrived::{Arrived, Reading};
use crate::shared::Router;

/// Jobs of one tenant that are read past the consumer.
const EACH_MAX: usize = 16;

/// Jobs of a lane that are in hand and were read past the consumer, at most.
const READ_MAX: usize = 128;

/// Tenants of a lane that are read from in one look.
const TENANTS_MAX: usize = 1_000;

/// Reads the first jobs of tenants that have few or none in hand.
pub(super) async fn look(router: &Router, lane: Lane, reading: &Reading) -> Vec<Arrived> {
    match read(router, lane, reading).await {
        Ok(arrived) => arrived,
        Err(error) => {
            tracing::debug!(lane = lane.as_str(), error, "looking at what lies behind");
            Vec::new()
        }
    }
}

async fn read(router: &Router, lane: Lane, reading: &Reading) -> Result<Vec<Arrived>, String> {
    let jetstream = &router.broker.jetstream;
    let jobs = jetstream.get_stream_no_info(stream::JOBS).await.map_err(|error| telemetry::chain(&error))?;
    let waiting = jobs.info_with_subjects(subjects::jobs_filter(lane)).await;
    let waiting: Vec<(String, usize)> = waiting
        .map_err(|error| telemetry::chain(&error))?
        .try_collect()
        .await
        .map_err(|error| telemetry::chain(&error))?;
    let in_hand = router.room.tenants(lane);
    let mut arrived = Vec::new();
    for (subject, want) in wanted(&waiting, &in_hand) {
        let room = READ_MAX.saturating_sub(reading.count());
        if room == 0 {
            break;
        }
        first_of(&jobs, &subject, want.min(room), |message| {
            // The consumer delivers it, and hands it back until a newer router has it.
            let header = message.headers.get(CONTENT_TYPE).map(|value| value.as_str());
            if router.schemas.check_job(header, &message.payload).is_some() {
                return false;
            }
            let read = Arrived::read(message, reading, jetstream);
            let taken = read.is_some();
            arrived.extend(read);
            taken
        })
        .await?;
    }
    Ok(arrived)
}

/// Whose jobs to read, and how many: of tenants that have fewer in hand than may be read, those with the fewest
/// in the lane first.
fn wanted(waiting: &[(String, usize)], in_hand: &HashMap<Tenant, usize>) -> Vec<(String, usize)> {
    let mut wanted: Vec<(usize, &String, usize)> = waiting
        .iter()
        .filter_map(|(subject, count)| {
            let Some(Subject::Jobs(_, tenant)) = subjects::parse(subject) else { return None };
            let held = in_hand.get(&tenant).copied().unwrap_or_default();
            let more = EACH_MAX.saturating_sub(held).min(count.saturating_sub(held));
            (more > 0).then_some((*count, subject, more))
        })
        .collect();
    wanted.sort_unstable();
    wanted.truncate(TENANTS_MAX);
    wanted.into_iter().map(|(_, subject, more)| (subject.clone(), more)).collect()
}

/// The first messages of a subject, until so many were taken.
async fn first_of(
    jobs: &Stream<()>,
    subject: &str,
    count: usize,
    mut take: impl FnMut(StreamMessage) -> bool,
) -> Result<(), String> {
    let (mut next, mut taken) = (1, 0);
    // Some of the first may be in hand: passed over.
    for _ in 0..count + EACH_MAX {
        match jobs.direct_get_next_for_subject(subject, Some(next)).await {
            Ok(message) => {
                next = message.sequence + 1;
                taken += usize::from(take(message));
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(telemetry::chain(&error)),
        }
        if taken == count {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(tenant: &str) -> String {
        subjects::jobs(Lane::Standard, &tenant.parse().expect("a tenant"))
    }

    #[test]
    fn those_with_few_come_first_and_a_flood_that_is_in_hand_not_at_all() {
        let waiting = [(subject("flood"), 100_000), (subject("few"), 10), (subject("one"), 1)];
        let in_hand = HashMap::from([("flood".parse().expect("a tenant"), 64)]);
        assert_eq!(wanted(&waiting, &in_hand), [(subject("one"), 1), (subject("few"), 10)]);
        let in_hand =
            HashMap::from([("few".parse().expect("a tenant"), 6), ("one".parse().expect("a tenant"), 1)]);
        assert_eq!(wanted(&waiting, &in_hand), [(subject("few"), 4), (subject("flood"), EACH_MAX)]);
    }
}
