//! For how long a job's input files are kept, and what follows for a job that waits.
//!
//! Files go from the artifact store by their age. A job that waits for longer ends with that reason, before a worker finds
//! nothing; and it says so while there is time to do something about it.

use schemas::Failure;

use crate::waiting::{length, utc};

/// A job whose input goes within this time is not placed any more, milliseconds: a worker has to load it.
pub const LOAD_MS: i64 = 60_000;

/// From this part of its life on it is said when an input goes: the last eighth.
const SAID_PART: i64 = 8;

/// And at the least this time before it goes, milliseconds: there must be time to read it and to act.
const SAID_MS: i64 = 2 * LOAD_MS;

/// An input file that goes by its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInput {
    /// Its name in the job.
    pub name: String,
    /// When it was stored, Unix milliseconds.
    pub stored_at_ms: i64,
    /// When it goes, Unix milliseconds.
    pub kept_until_ms: i64,
}

impl KeptInput {
    /// Whether it goes before a worker could load it.
    #[must_use]
    pub const fn is_going(&self, now_ms: i64) -> bool {
        now_ms.saturating_add(LOAD_MS) >= self.kept_until_ms
    }

    /// When it goes, in words, where that is soon.
    #[must_use]
    pub fn warning(&self, now_ms: i64) -> Option<String> {
        let life_ms = self.kept_until_ms.saturating_sub(self.stored_at_ms);
        let is_soon = self.kept_until_ms.saturating_sub(now_ms) <= (life_ms / SAID_PART).max(SAID_MS);
        is_soon.then(|| format!("input `{}` is kept until {}", self.name, utc(self.kept_until_ms, now_ms)))
    }

    /// Why the job ends.
    #[must_use]
    pub fn failure(&self, now_ms: i64) -> Failure {
        let words = format!(
            "input `{}` was uploaded at {} and is kept until {}, and the job still waited: {CURE}",
            self.name,
            utc(self.stored_at_ms, now_ms),
            utc(self.kept_until_ms, now_ms)
        );
        Failure::invalid("body.inputs", words)
    }
}

/// What to do about an input that is gone.
const CURE: &str = "upload it again and publish the job again, or keep files for longer with `argosy topology apply \
                    --artifacts-days`";

/// The failure of an attempt whose input is not there. `kept_ms` is the age at which files go, none for never.
#[must_use]
pub fn missing(name: &str, at: &str, submitted_at_ms: i64, kept_ms: Option<i64>, now_ms: i64) -> Failure {
    let words = match kept_ms {
        Some(kept_ms) if submitted_at_ms.saturating_add(kept_ms) <= now_ms => format!(
            "input `{name}` ({at}) was kept until {} at the latest: files are kept for {}, and the job was submitted at {}; \
             {CURE}",
            utc(submitted_at_ms + kept_ms, now_ms),
            length(kept_ms),
            utc(submitted_at_ms, now_ms)
        ),
        Some(kept_ms) => format!(
            "input `{name}`: {at} is not in the artifact store; it was not stored before the job was published, or before {} \
             and is gone: files are kept for {}",
            utc(now_ms.saturating_sub(kept_ms), now_ms),
            length(kept_ms)
        ),
        None => format!(
            "input `{name}`: {at} is not in the artifact store; store the file before publishing the job"
        ),
    };
    Failure::invalid("body.inputs", words)
}

#[cfg(test)]
mod tests {
    use super::*;

    use schemas::calendar::DAY_MS;

    fn input(days: i64) -> KeptInput {
        KeptInput { name: "photo".to_owned(), stored_at_ms: DAY_MS, kept_until_ms: DAY_MS + days * DAY_MS }
    }

    #[test]
    fn an_input_is_said_to_go_before_it_does_and_the_job_ends_before_a_worker_finds_nothing() {
        for days in [1, 7, 30] {
            let there = input(days);
            let at = |part: i64| DAY_MS + days * DAY_MS * part / 16;
            assert_eq!(there.warning(at(13)), None, "{days}");
            let said = there.warning(at(15)).expect("it is said");
            assert!(said.starts_with("input `photo` is kept until ") && !there.is_going(at(15)), "{said}");
            assert!(there.is_going(there.kept_until_ms - LOAD_MS) && there.is_going(i64::MAX));
            assert!(!there.is_going(there.kept_until_ms - LOAD_MS - 1));
        }
        let failure = input(7).failure(7 * DAY_MS);
        assert_eq!(failure.field.as_deref(), Some("body.inputs"));
        let words = "uploaded at 1970-01-02 00:00:00 UTC and is kept until 1970-01-09 00:00:00 UTC";
        assert!(
            failure.message.contains(words) && failure.message.contains("--artifacts-days"),
            "{failure:?}"
        );
    }

    #[test]
    fn what_is_missing_was_kept_until_a_time_or_never_there() {
        let of = |submitted_at_ms, kept_ms| {
            missing("photo", "ARTIFACTS/in/a", submitted_at_ms, kept_ms, 9 * DAY_MS)
        };
        let gone = of(DAY_MS, Some(7 * DAY_MS));
        assert!(gone.message.contains("was kept until 1970-01-09 00:00:00 UTC at the latest"), "{gone:?}");
        let young = of(8 * DAY_MS, Some(7 * DAY_MS));
        assert!(young.message.contains("or before 1970-01-03 00:00:00 UTC and is gone"), "{young:?}");
        let never = of(0, None);
        assert!(never.message.contains("store the file before publishing the job"), "{never:?}");
        for failure in [gone, young, never] {
            assert!(failure.message.contains("ARTIFACTS/in/a"), "{failure:?}");
            assert_eq!(failure.code, schemas::FailureCode::InvalidJob, "it is not tried again");
        }
    }
}
