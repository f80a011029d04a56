//! Idempotency keys: the first job that comes with a key has it for a day, and for as long as it has not ended
//! ([`crate::router::guards`]).
//!
//! The broker decides which job is first: the key's record is *created*, which it grants once. A router that
//! dies right after finds the record at the redelivery, with the same job in it, and goes on.

use schemas::key::AskedDeadline;
use schemas::{Failure, Job, JobId, KeyRecord, SCHEMA_VERSION, Tenant, key};

use crate::digest::sha256_hex;
use crate::errors::PortError;
use crate::router::ports::{KeysLeft, RouterPorts};

/// What a job's key says about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Keyed {
    /// It is the first with its key, or has none.
    First,
    /// It is an earlier job, published again.
    SameAs(JobId),
    /// The key belongs to another job.
    Refused(Failure),
}

/// Takes the job's key for it, or finds out which job has it.
///
/// # Errors
/// The broker did not answer, or what is there cannot be read.
pub async fn take<P: RouterPorts>(ports: &P, job: &Job) -> Result<Keyed, PortError> {
    let Some(key) = &job.idempotency_key else { return Ok(Keyed::First) };
    let mine = KeyRecord {
        schema_version: SCHEMA_VERSION,
        tenant: job.tenant.clone(),
        job: job.id,
        content_sha256: sha256_hex(&key::content(job)),
        asked_sha256: Some(sha256_hex(&key::asked(job))),
        time_ms: ports.now_ms(),
        deadline: AskedDeadline::of(job),
    };
    // Hashed: clients may use any characters, the bucket may not.
    let name = format!("{}.{}", job.tenant, sha256_hex(key.as_bytes()));
    if let KeysLeft::None { limit } = ports.keys_left(&job.tenant).await {
        // A repeat of an earlier request costs nothing.
        let first = ports.read_key(&name).await?;
        return Ok(first.map_or_else(|| used_up(&job.tenant, limit), |first| compare(&first, &mine)));
    }
    let first = ports.create_key(&name, &mine).await?;
    Ok(first.map_or(Keyed::First, |first| compare(&first, &mine)))
}

fn used_up(tenant: &Tenant, limit: u64) -> Keyed {
    let words = format!(
        "tenant {tenant} has {limit} idempotency keys, as many as a tenant may have at a time: publish without a key, wait \
         until old ones are removed (router.keys_kept_ms), or raise router.keys_per_tenant"
    );
    Keyed::Refused(Failure::invalid("idempotency_key", words))
}

/// A job against the first one with its key.
fn compare(first: &KeyRecord, mine: &KeyRecord) -> Keyed {
    // A record of an older router has only its own rule's hash.
    let is_same = match (&first.asked_sha256, &mine.asked_sha256) {
        (Some(first), Some(mine)) => first == mine,
        _ => first.content_sha256 == mine.content_sha256,
    };
    // Of a record without its deadline only that there is one is known, by the hash.
    let deadlines = first.deadline.zip(mine.deadline);
    if !is_same || deadlines.is_some_and(|(first, mine)| !first.is_same(mine)) {
        let words = format!(
            "idempotency_key came with another content in job {}, within the last day or while that job is open: use a \
             new key for a new request, or publish the same content",
            first.job
        );
        return Keyed::Refused(Failure::invalid("idempotency_key", words));
    }
    if first.job == mine.job { Keyed::First } else { Keyed::SameAs(first.job) }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn the_first_keeps_the_key() {
        let first = samples::key_record();
        assert_eq!(compare(&first, &first), Keyed::First, "a redelivery");
        let again = KeyRecord { job: JobId::from_parts(1, [1; 10]), ..first.clone() };
        assert_eq!(compare(&first, &again), Keyed::SameAs(first.job));
        let other = KeyRecord { content_sha256: "00".to_owned(), ..again };
        assert!(matches!(compare(&first, &other), Keyed::Refused(failure) if failure.field.is_some()));
    }

    #[test]
    fn a_hash_of_an_older_rule_is_compared_by_that_rule() {
        let older = samples::key_record();
        let newer = |content: &str, asked: &str| KeyRecord {
            job: JobId::from_parts(1, [1; 10]),
            content_sha256: content.to_owned(),
            asked_sha256: Some(asked.to_owned()),
            ..older.clone()
        };
        let same = newer(&older.content_sha256, "a");
        assert_eq!(compare(&older, &same), Keyed::SameAs(older.job));
        assert!(matches!(compare(&older, &newer("00", "a")), Keyed::Refused(_)));
        // By the newer rule the older hash says nothing.
        let first = newer("11", "a");
        let again = KeyRecord { job: older.job, ..newer("22", "a") };
        assert_eq!(compare(&first, &again), Keyed::SameAs(first.job));
        assert!(matches!(
            compare(&first, &KeyRecord { job: older.job, ..newer("11", "b") }),
            Keyed::Refused(_)
        ));
    }

    #[test]
    fn the_moment_of_a_deadline_is_no_part_of_what_was_asked_for() {
        let with = |deadline_ms: Option<i64>, time_ms: i64| {
            let mut job = Job { time_ms, ..samples::job() };
            job.constraints.deadline_ms = deadline_ms;
            key::asked(&job)
        };
        // A minute from now, twice; and one moment for two requests that were built at different times.
        assert_eq!(with(Some(60_000), 0), with(Some(65_003), 5_000));
        assert_eq!(with(Some(60_000), 0), with(Some(60_000), 30_000));
        assert_ne!(with(Some(60_000), 0), with(None, 0));
    }

    #[test]
    fn a_deadline_that_leaves_another_time_is_another_request() {
        let keyed = |deadline_ms: Option<i64>, time_ms: i64, id: u8| {
            let mut job = Job { time_ms, id: JobId::from_parts(1, [id; 10]), ..samples::job() };
            job.constraints.deadline_ms = deadline_ms;
            let asked_sha256 = Some(sha256_hex(&key::asked(&job)));
            KeyRecord {
                job: job.id,
                asked_sha256,
                deadline: AskedDeadline::of(&job),
                ..samples::key_record()
            }
        };
        const DAY_MS: i64 = 86_400_000;
        let first = keyed(Some(1_000_000 + 60_000), 1_000_000, 1);
        for (deadline_ms, time_ms, is_same) in [
            // A minute from now, asked for again later, with a clock that is read a little before or after.
            (1_700_000 + 60_000, 1_700_000, true),
            (1_700_000 + 64_999, 1_700_000, true),
            (1_700_000 + 55_001, 1_700_000, true),
            // The same moment, asked for again.
            (1_060_000, 1_050_000, true),
            (1_060_000, 2_000_000, true),
            (1_700_000 + 70_000, 1_700_000, false),
            (1_000_000 + DAY_MS, 1_000_000, false),
            (i64::MAX, i64::MIN, false),
        ] {
            let keyed = compare(&first, &keyed(Some(deadline_ms), time_ms, 2));
            assert_eq!(matches!(keyed, Keyed::SameAs(_)), is_same, "{deadline_ms} {time_ms}: {keyed:?}");
        }
        assert!(matches!(compare(&first, &keyed(None, 1_000_000, 2)), Keyed::Refused(_)));
        // A record of an earlier version does not say how long.
        let older = KeyRecord { deadline: None, ..first };
        let day = keyed(Some(1_000_000 + DAY_MS), 1_000_000, 2);
        assert!(matches!(compare(&older, &day), Keyed::SameAs(_)));
    }

    #[test]
    fn id_and_time_are_no_content() {
        let job = samples::job();
        let again = Job { id: JobId::from_parts(1, [1; 10]), time_ms: 1, ..job.clone() };
        assert_eq!(key::content(&job), key::content(&again));
        let other = Job { labels: Default::default(), ..job.clone() };
        assert_ne!(key::content(&job), key::content(&other));
    }
}
