//! Messages of a newer schema than this router's. They are not to be judged by it: each is handed back for a while,
//! since a newer router may take it from the same consumer, and then put aside as `too_new`, to be sent on its way
//! again (`argosy parked redrive`) when the routers are upgraded. Its job does not end.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policy::admit;
use schemas::{Failure, SCHEMA_VERSION, codec};
use serde::Deserialize;

/// How long one rests that was handed back.
const REST_MS: i64 = 5_000;

/// How many of one consumer may rest. They count among what the consumer has in delivery, which is bounded
/// (`schemas::topology`): if all of that rested, nothing else would be delivered. Those above are put aside at once.
const RESTING_MAX: usize = 1_000;

/// How many bytes those may have. Each is delivered again every few seconds.
const RESTING_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// What a router takes, and for how long it hands back what it does not.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The newest schema of jobs that it takes.
    schema_version_max: u16,
    /// How long after its publish a newer one is handed back.
    wait_ms: i64,
}

impl Limits {
    /// Limits; the newest schema is at most this build's.
    #[must_use]
    pub fn new(schema_version_max: u16, wait_ms: u64) -> Self {
        let wait_ms = i64::try_from(wait_ms).unwrap_or(i64::MAX);
        Self { schema_version_max: schema_version_max.min(SCHEMA_VERSION), wait_ms }
    }

    /// Why a message of a schema is not taken; none where it is.
    #[must_use]
    pub fn check(&self, schema_version: u64) -> Option<Failure> {
        let is_newer = schema_version > u64::from(self.schema_version_max);
        is_newer.then(|| admit::too_new(schema_version, self.schema_version_max))
    }

    /// The same of a job that may not be readable otherwise.
    #[must_use]
    pub fn check_job(&self, content_type: Option<&str>, payload: &[u8]) -> Option<Failure> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            schema_version: u64,
        }
        let only: OnlyVersion = codec::decode(content_type, payload).ok()?;
        self.check(only.schema_version)
    }

    /// The same of a failed attempt, which is of a newer schema if any part of it is.
    #[must_use]
    pub fn check_letter(&self, content_type: Option<&str>, payload: &[u8]) -> Option<Failure> {
        #[derive(Deserialize)]
        struct Letter {
            schema_version: u64,
            assignment: Option<Work>,
        }
        #[derive(Deserialize)]
        struct Work {
            schema_version: u64,
            job: Option<OnlyVersion>,
        }
        #[derive(Deserialize)]
        struct OnlyVersion {
            schema_version: u64,
        }
        let Letter { schema_version, assignment } = codec::decode(content_type, payload).ok()?;
        let job = assignment.as_ref().and_then(|work| work.job.as_ref()).map(|job| job.schema_version);
        let own = assignment.map_or(schema_version, |work| work.schema_version.max(schema_version));
        // Failed attempts and assignments are written by this build's schema, whatever jobs it takes.
        let own = (own > u64::from(SCHEMA_VERSION)).then(|| admit::too_new(own, SCHEMA_VERSION));
        own.or_else(|| self.check(job?))
    }
}

/// Those of one consumer that rest.
#[derive(Debug, Default)]
pub struct Resting(Mutex<Rests>);

#[derive(Debug, Default)]
struct Rests {
    /// When each is delivered again, Unix milliseconds, and its bytes.
    each: VecDeque<(i64, usize)>,
    bytes: usize,
}

impl Resting {
    /// How long a message is to rest that is of a newer schema, by when it was published and how long it is; none when it
    /// is to be put aside.
    #[must_use]
    pub fn rest(&self, limits: &Limits, message: (i64, usize), now_ms: i64) -> Option<Duration> {
        let rest_ms = self.rest_ms(limits, message, now_ms)?;
        Some(Duration::from_millis(rest_ms.unsigned_abs()))
    }

    fn rest_ms(&self, limits: &Limits, (published_at_ms, bytes): (i64, usize), now_ms: i64) -> Option<i64> {
        let left_ms = published_at_ms.saturating_add(limits.wait_ms).saturating_sub(now_ms);
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, bytes)) = resting.each.pop_front_if(|(again_ms, _)| *again_ms <= now_ms) {
            resting.bytes -= bytes;
        }
        let is_full = resting.each.len() >= RESTING_MAX || resting.bytes + bytes > RESTING_BYTES_MAX;
        if left_ms <= 0 || is_full {
            return None;
        }
        // All rest equally long, so that they leave in the order in which they came; the last rest of each may be
        // shorter, and is counted as a whole one.
        resting.each.push_back((now_ms + REST_MS, bytes));
        resting.bytes += bytes;
        Some(left_ms.min(REST_MS))
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Assignment, DeadLetter, Encoding, FailureCode, Job, samples};
    use serde_json::{Value, json};

    use super::*;

    const LIMITS: Limits = Limits { schema_version_max: SCHEMA_VERSION, wait_ms: 600_000 };

    fn newer() -> u64 {
        u64::from(SCHEMA_VERSION) + 1
    }

    #[test]
    fn the_version_is_found_in_what_cannot_be_read_otherwise() {
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let header = Some(encoding.content_type());
            let check =
                |value: &Value| LIMITS.check_job(header, &encoding.encode(value)).map(|failure| failure.code);
            let too_new = Some(FailureCode::TooNew);
            assert_eq!(
                check(&json!({"schema_version": newer(), "body": ["of", "another", "shape"]})),
                too_new
            );
            assert_eq!(check(&json!({"id": 7, "schema_version": u64::MAX})), too_new);
            for taken in [json!(0), json!(SCHEMA_VERSION), json!("2"), json!(-1), json!(2.5), Value::Null] {
                assert_eq!(check(&json!({ "schema_version": taken })), None, "{taken}");
            }
            assert_eq!(check(&json!({})), None);
        }
        assert_eq!(LIMITS.check_job(None, br#"{"schema_version":9,"schema_version":1}"#), None);
        assert_eq!(LIMITS.check_job(Some("text/plain"), br#"{"schema_version":9}"#), None);
    }

    #[test]
    fn a_letter_is_newer_if_any_part_of_it_is() {
        let letter = samples::dead_letter();
        let header = Some(Encoding::MessagePack.content_type());
        let check = |letter: &DeadLetter| LIMITS.check_letter(header, &codec::encode(letter)).is_some();
        let schema_version = SCHEMA_VERSION + 1;
        assert!(!check(&letter));
        assert!(check(&DeadLetter { schema_version, ..letter.clone() }));
        let assignment = Assignment { schema_version, ..letter.assignment.clone() };
        assert!(check(&DeadLetter { assignment, ..letter.clone() }));
        let job = Job { schema_version, ..samples::job() };
        let assignment = Assignment { job, ..letter.assignment.clone() };
        assert!(check(&DeadLetter { assignment, ..letter.clone() }));
        // A router that takes no jobs of its own schema yet still follows up what has nothing to do with jobs.
        let older = Limits::new(0, 1);
        assert!(
            older
                .check_letter(header, &codec::encode(&letter))
                .is_some_and(|failure| failure.message.contains("up to 0"))
        );
    }

    #[test]
    fn it_is_handed_back_until_its_time_is_over_and_rests_no_longer() {
        let resting = Resting::default();
        let rest_ms = |now_ms| resting.rest_ms(&LIMITS, (1_000, 40), now_ms);
        assert_eq!(rest_ms(1_000), Some(REST_MS));
        assert_eq!(rest_ms(1_000 + 599_000), Some(1_000), "the last rest ends with its time");
        assert_eq!(rest_ms(1_000 + 600_000), None);
        assert_eq!(rest_ms(i64::MAX), None);
        let forever = Limits::new(SCHEMA_VERSION, u64::MAX);
        assert_eq!(resting.rest_ms(&forever, (1_000, 40), 1_000 + 600_000), Some(REST_MS));
    }

    #[test]
    fn no_more_rest_than_the_lane_bears() {
        let resting = Resting::default();
        for _ in 0..RESTING_MAX {
            assert_eq!(resting.rest_ms(&LIMITS, (0, 1_000), 10), Some(REST_MS));
        }
        assert_eq!(resting.rest_ms(&LIMITS, (0, 1_000), 10), None, "put aside at once");
        assert_eq!(
            resting.rest_ms(&LIMITS, (0, 1_000), 10 + REST_MS),
            Some(REST_MS),
            "those before are delivered again"
        );
    }

    #[test]
    fn no_more_bytes_rest_than_may_be_delivered_again_and_again() {
        let resting = Resting::default();
        let rest_ms = |bytes, now_ms| resting.rest_ms(&LIMITS, (0, bytes), now_ms).is_some();
        assert!(rest_ms(RESTING_BYTES_MAX - 700_000, 10));
        assert!(!rest_ms(900_000, 11), "it is put aside at once");
        assert!(rest_ms(700_000, 12) && !rest_ms(1, 13), "a shorter one still rests");
        assert!(rest_ms(900_000, 10 + REST_MS), "the long one is delivered again");
    }

    #[test]
    fn a_limit_above_this_build_is_this_build() {
        assert!(Limits::new(u16::MAX, 1).check(newer()).is_some());
        assert!(Limits::new(u16::MAX, 1).check(u64::from(SCHEMA_VERSION)).is_none());
    }
}
