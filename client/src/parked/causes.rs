//! What is parked by its cause: the mistakes of those who publish jobs apart from what happened to the fleet.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Failure, FailureCode};
use serde::Serialize;

use super::{DISCARDED, Entry, original};

/// The numbers of a cause that are named.
const NUMBERED_MAX: usize = 5;

/// How much of a failure's words tells causes apart, characters.
const WORDS_MAX: usize = 120;

/// Who can do something about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Something happened to the fleet or at a provider.
    Incident,
    /// It has not failed: it waits for a newer router.
    Waiting,
    /// Whoever published the job: it is wrong, refused for its content, or came too late.
    Mistake,
}

impl Origin {
    /// Where a failure comes from.
    #[must_use]
    pub const fn of(code: FailureCode) -> Self {
        match code {
            FailureCode::InvalidJob
            | FailureCode::ContentRefused
            | FailureCode::Cancelled
            | FailureCode::Expired => Self::Mistake,
            FailureCode::TooNew => Self::Waiting,
            FailureCode::CapabilityMissing
            | FailureCode::OutOfMemory
            | FailureCode::RateLimited
            | FailureCode::QuotaExhausted
            | FailureCode::Transient
            | FailureCode::BackendDown
            | FailureCode::ProviderStopped
            | FailureCode::Timeout
            | FailureCode::Interrupted
            | FailureCode::OutcomeUnknown
            | FailureCode::UnusableResult
            | FailureCode::NotStored
            | FailureCode::Poison
            | FailureCode::Unknown => Self::Incident,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Waiting => "waiting",
            Self::Mistake => "mistake",
        }
    }
}

/// Entries that failed for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Who can do something about it.
    pub origin: Origin,
    /// The failure's code, as in the subject.
    pub code: String,
    /// The failure's words, numbers and ids left out.
    pub why: String,
    /// Where the last attempt was; none where there was none.
    pub backend: Option<String>,
    /// How many entries.
    pub count: usize,
    /// Whose.
    pub tenants: BTreeSet<String>,
    /// When the first was parked, Unix milliseconds.
    pub first_ms: i64,
    /// When the last was, Unix milliseconds.
    pub last_ms: i64,
    /// The numbers of the newest.
    pub sequences: Vec<u64>,
}

/// Entries by their cause: incidents first, then the largest first.
#[must_use]
pub fn causes(entries: &[Entry]) -> Vec<Cause> {
    let mut by_cause: BTreeMap<(String, String, Option<String>), Cause> = BTreeMap::new();
    for entry in entries {
        let parked = entry.parked.as_ref();
        let (code, why) = parked.map_or_else(
            || (FailureCode::Unknown, "written by a newer version".to_owned()),
            |parked| (parked.failure.code, without_numbers(&parked.failure)),
        );
        let backend = parked.and_then(|parked| Some(parked.attempts.last()?.backend.to_string()));
        let time_ms = parked.map_or(0, |parked| parked.time_ms);
        let key = (entry.code.clone(), why.clone(), backend.clone());
        let cause = by_cause.entry(key).or_insert_with(|| Cause {
            origin: Origin::of(code),
            code: entry.code.clone(),
            why,
            backend,
            count: 0,
            tenants: BTreeSet::new(),
            first_ms: time_ms,
            last_ms: time_ms,
            sequences: Vec::new(),
        });
        cause.count += 1;
        cause.tenants.insert(entry.tenant.clone());
        cause.first_ms = cause.first_ms.min(time_ms);
        cause.last_ms = cause.last_ms.max(time_ms);
        cause.sequences.push(entry.sequence);
        if cause.sequences.len() > NUMBERED_MAX {
            cause.sequences.remove(0);
        }
    }
    let mut causes: Vec<Cause> = by_cause.into_values().collect();
    causes.sort_by_key(|cause| (cause.origin, std::cmp::Reverse(cause.count)));
    causes
}

/// The words of a failure with each number, and each word that has one in it, replaced: two jobs of one cause differ in
/// those.
fn without_numbers(failure: &Failure) -> String {
    let word = |word: &str| {
        if word.chars().any(|letter| letter.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() }
    };
    let words: Vec<String> = failure.message.split_whitespace().map(word).collect();
    let words = words.join(" ");
    match words.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// Why an entry would only fail again if it were sent again as it is; none where it may work now.
#[must_use]
pub fn fails_again(entry: &Entry, now_ms: i64) -> Option<String> {
    if entry.code == DISCARDED {
        return Some("it is the record of a discard".to_owned());
    }
    let parked = entry.parked.as_ref()?;
    match parked.failure.code {
        FailureCode::InvalidJob | FailureCode::ContentRefused => {
            return Some(format!("{} is the same each time: mend the job and submit it", entry.code));
        }
        FailureCode::TooNew => return None,
        _ => {}
    }
    let job = match original(parked) {
        Ok((_, Ok(job))) => job,
        Ok((_, Err(error))) => return Some(format!("it is no job: {error}")),
        Err(error) => return Some(error.to_string()),
    };
    let deadline_ms = job.constraints.deadline_ms.filter(|deadline_ms| *deadline_ms <= now_ms);
    deadline_ms.map(|_| "its deadline has passed: submit it with another".to_owned())
}

#[cfg(test)]
mod tests {
    use schemas::{Job, Parked, codec, samples};

    use super::*;

    fn entry(sequence: u64, tenant: &str, code: FailureCode, words: &str, job: &Job) -> Entry {
        let parked = Parked::new(
            1_000 + i64::try_from(sequence).expect("small"),
            Failure::new(code, words),
            ("argosy.jobs.standard.default", None, &codec::encode(job)),
            Vec::new(),
        );
        Entry {
            sequence,
            tenant: tenant.to_owned(),
            code: code.as_str().to_owned(),
            job: job.id.to_string(),
            parked: Some(parked),
        }
    }

    #[test]
    fn entries_of_one_reason_are_one_cause_and_incidents_come_first() {
        use FailureCode::{InvalidJob, Poison, TooNew};
        let job = samples::job();
        let entries = [
            entry(1, "a", InvalidJob, "body.width: 70001 is too much", &job),
            entry(2, "b", InvalidJob, "body.width: 80000 is too much", &job),
            entry(3, "a", InvalidJob, "body.width: 9 is too much", &job),
            entry(4, "a", Poison, "3 workers were lost with this job", &job),
            entry(5, "a", TooNew, "schema 9", &job),
        ];
        let found = causes(&entries);
        let told: Vec<_> =
            found.iter().map(|cause| (cause.origin, cause.count, cause.why.as_str())).collect();
        assert_eq!(
            told,
            [
                (Origin::Incident, 1, "# workers were lost with this job"),
                (Origin::Waiting, 1, "schema #"),
                (Origin::Mistake, 3, "body.width: # is too much"),
            ]
        );
        let mistakes = &found[2];
        assert_eq!((mistakes.first_ms, mistakes.last_ms, mistakes.tenants.len()), (1_001, 1_003, 2));
        assert_eq!(mistakes.sequences, [1, 2, 3]);
        assert_eq!(found.iter().map(|cause| cause.count).sum::<usize>(), entries.len());
    }

    #[test]
    fn what_fails_again_table() {
        let job = Job { constraints: schemas::Constraints::default(), ..samples::job() };
        let late = Job {
            constraints: schemas::Constraints { deadline_ms: Some(10), ..Default::default() },
            ..job.clone()
        };
        let again = |code, job: &Job| fails_again(&entry(1, "a", code, "x", job), 10).is_some();
        for code in FailureCode::ALL {
            let certain = matches!(code, FailureCode::InvalidJob | FailureCode::ContentRefused);
            assert_eq!(again(code, &job), certain, "{code:?}");
        }
        assert!(again(FailureCode::BackendDown, &late), "its deadline passed");
        assert!(!again(FailureCode::TooNew, &late), "it has not ended: its router ends it");
        let unreadable = Entry {
            parked: Some(Parked::new(
                1,
                Failure::new(FailureCode::Unknown, "x"),
                ("s", None, b"{"),
                Vec::new(),
            )),
            ..entry(1, "a", FailureCode::Unknown, "x", &job)
        };
        assert!(fails_again(&unreadable, 10).is_some_and(|words| words.starts_with("it is no job")));
        let record = Entry { code: DISCARDED.to_owned(), ..entry(1, "a", FailureCode::Unknown, "x", &job) };
        assert!(fails_again(&record, 10).is_some());
    }
}
