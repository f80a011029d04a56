//! Idempotency keys and requests to cancel are kept for as long as their jobs can exist: their buckets have no age, and each
//! router removes, a bounded number at a time, what is older than a setting and whose job is over.

use std::collections::{BTreeMap, HashSet};

use schemas::topology::{bucket, stream};
use schemas::{Event, Fact, JobId, KeyRecord, Lane, codec, subjects};

use crate::errors::PortError;
use crate::router::ports::{BucketEntry, Delivery as _, RouterPorts};

/// The buckets that are looked through.
pub const BUCKETS: [&str; 2] = [bucket::CANCELS, bucket::KEYS];

/// Entries of a bucket that are looked at in one pass.
const LOOKED_AT_MAX: usize = 500;

/// Jobs in the lanes that are read in one pass; where more lie there, a job without tracks may be among them.
const WAITING_MAX: usize = 5_000;

/// Where the next pass through each bucket goes on.
#[derive(Debug, Default)]
pub struct Guards(BTreeMap<&'static str, u64>);

/// What one pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Entries that were looked at because they are old enough.
    pub looked_at: u64,
    /// Entries that were removed.
    pub removed: u64,
}

/// The jobs that lie in the lanes, read once a pass and only if that is needed.
#[derive(Default)]
enum Waiting {
    #[default]
    NotRead,
    All(HashSet<JobId>),
    /// More than are read.
    TooMany,
}

impl Guards {
    /// Looks through a bucket from where the last pass ended, and removes what guards nothing any more. `kept_ms` is how
    /// long every entry is kept.
    ///
    /// # Errors
    /// The broker failed in between; the next pass goes on.
    pub async fn pass<P: RouterPorts>(
        &mut self,
        ports: &P,
        bucket: &'static str,
        kept_ms: i64,
    ) -> Result<Pass, PortError> {
        let (mut pass, mut waiting) = (Pass::default(), Waiting::default());
        for _ in 0..LOOKED_AT_MAX {
            let from = self.0.get(bucket).copied().unwrap_or(1);
            let entry = ports.next_entry(bucket, from).await?;
            // Those behind a young one are younger: the next pass begins anew.
            let Some(entry) = entry.filter(|entry| is_old(entry, kept_ms, ports.now_ms())) else {
                self.0.remove(bucket);
                break;
            };
            self.0.insert(bucket, entry.revision + 1);
            pass.looked_at += 1;
            if guards_nothing(ports, bucket, &entry, &mut waiting).await? {
                ports.remove_entry(bucket, &entry).await?;
                pass.removed += 1;
            }
        }
        Ok(pass)
    }
}

const fn is_old(entry: &BucketEntry, kept_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(entry.stored_at_ms) >= kept_ms
}

/// Whether an entry guards nothing any more: its job is over, or it is no entry but the mark of one that was removed.
async fn guards_nothing<P: RouterPorts>(
    ports: &P,
    bucket: &'static str,
    entry: &BucketEntry,
    waiting: &mut Waiting,
) -> Result<bool, PortError> {
    if entry.is_removed {
        return Ok(true);
    }
    match job_of(bucket, entry) {
        Some(job) => is_over(ports, job, waiting).await,
        // What cannot be read is of a newer version.
        None => Ok(false),
    }
}

/// The job that an entry guards.
fn job_of(bucket: &'static str, entry: &BucketEntry) -> Option<JobId> {
    if bucket == bucket::KEYS {
        return codec::decode::<KeyRecord>(None, &entry.value).ok().map(|record| record.job);
    }
    // The job is the last part of a key of several.
    entry.key.rsplit('.').next()?.parse().ok()
}

/// Whether a job has ended, or nothing of it is anywhere.
async fn is_over<P: RouterPorts>(ports: &P, job: JobId, waiting: &mut Waiting) -> Result<bool, PortError> {
    match tracks(ports, job).await? {
        Tracks::Ended => return Ok(true),
        Tracks::Open => return Ok(false),
        Tracks::None => {}
    }
    if ports.next_message(stream::PARKED, &subjects::parked_too_new(job), 1).await?.is_some() {
        return Ok(false);
    }
    if matches!(waiting, Waiting::NotRead) {
        *waiting = read_lanes(ports).await?;
    }
    match waiting {
        Waiting::All(jobs) if !jobs.contains(&job) => {}
        _ => return Ok(false),
    }
    // What left its lane before the lanes were read is somewhere else now.
    Ok(!matches!(tracks(ports, job).await?, Tracks::Open))
}

/// What streams hold of a job beside its lane.
enum Tracks {
    Ended,
    Open,
    None,
}

async fn tracks<P: RouterPorts>(ports: &P, job: JobId) -> Result<Tracks, PortError> {
    if ports.queued(job).await?.is_some() || ports.failed(job).await?.is_some() {
        return Ok(Tracks::Open);
    }
    let events = ports.events(job).await?;
    let ends = |event: &Event| matches!(event.fact, Fact::Ended { .. } | Fact::Duplicate { .. });
    Ok(match events.is_empty() {
        true => Tracks::None,
        false if events.iter().any(ends) => Tracks::Ended,
        false => Tracks::Open,
    })
}

async fn read_lanes<P: RouterPorts>(ports: &P) -> Result<Waiting, PortError> {
    let mut jobs = HashSet::new();
    for lane in Lane::ALL {
        let subjects = ports.waiting_in(lane).await?;
        if subjects.iter().map(|(_, count)| count).sum::<usize>() > WAITING_MAX {
            return Ok(Waiting::TooMany);
        }
        for (subject, _) in subjects {
            let mut next = 1;
            while let Some(message) = ports.read_job(&subject, next).await? {
                next = message.sequence() + 1;
                // One that cannot be read may be any job.
                let Ok(job) = message.job() else { return Ok(Waiting::TooMany) };
                jobs.insert(job.id);
                if jobs.len() > WAITING_MAX {
                    return Ok(Waiting::TooMany);
                }
            }
        }
    }
    Ok(Waiting::All(jobs))
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    fn entry(key: &str, value: Vec<u8>) -> BucketEntry {
        BucketEntry { key: key.to_owned(), value, revision: 7, stored_at_ms: 1_000, is_removed: false }
    }

    #[test]
    fn an_entry_names_its_job_in_every_form_of_its_key() {
        let job = samples::job().id;
        let of = |key: &str| job_of(bucket::CANCELS, &entry(key, b"cancel".to_vec()));
        assert_eq!(of(&job.to_string()), Some(job));
        assert_eq!(of(&format!("studio-a.{job}")), Some(job), "with its tenant");
        assert_eq!((of("studio-a"), of("")), (None, None), "it stays");
        let record = samples::key_record();
        let key = entry("studio-a.00ff", codec::encode(&record));
        assert_eq!(job_of(bucket::KEYS, &key), Some(record.job));
        assert_eq!(job_of(bucket::KEYS, &entry("studio-a.00ff", b"{}".to_vec())), None, "of a newer version");
    }

    #[test]
    fn an_entry_is_kept_for_as_long_as_the_setting_says() {
        let entry = entry("key", Vec::new());
        for (kept_ms, now_ms, old) in
            [(500, 1_499, false), (500, 1_500, true), (0, 900, false), (0, 1_000, true)]
        {
            assert_eq!(is_old(&entry, kept_ms, now_ms), old, "{kept_ms} {now_ms}");
        }
    }
}
