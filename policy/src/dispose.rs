//! What follows a failed attempt. The only place that knows: workers name the failure, the router does
//! what is said here.

use schemas::{AttemptFacts, Backend, DeadLetter, Failure, FailureCode, JobState, PolicyConfig};

use crate::backoff::{Backoff, seed_of};

/// What follows. Times are Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Again, on the same backend if it still can.
    Retry {
        /// Not before.
        at_ms: i64,
        /// The failed attempt counts against the job's limit.
        counted: bool,
    },
    /// Again, elsewhere.
    Failover {
        /// Not before.
        at_ms: i64,
        /// The failed attempt counts against the job's limit.
        counted: bool,
    },
    /// Again, once the provider takes requests; counts no attempt.
    Snooze {
        /// Not before.
        at_ms: i64,
    },
    /// Ask the provider again what became of the work. Workers do that themselves within a bound, so
    /// nothing asks for it at present; the word is part of the wire.
    Reconcile {
        /// Not before.
        at_ms: i64,
    },
    /// Never again.
    End {
        /// How the job ended.
        state: JobState,
    },
}

impl Disposition {
    /// Its token in events, metrics and on the command line.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Failover { .. } => "failover",
            Self::Snooze { .. } => "snooze",
            Self::Reconcile { .. } => "reconcile",
            Self::End { .. } => "fail",
        }
    }

    /// When the job is to be planned again; none when it ended.
    #[must_use]
    pub const fn at_ms(&self) -> Option<i64> {
        match self {
            Self::Retry { at_ms, .. }
            | Self::Failover { at_ms, .. }
            | Self::Snooze { at_ms }
            | Self::Reconcile { at_ms } => Some(*at_ms),
            Self::End { .. } => None,
        }
    }

    /// The failed attempt counts against the job's limit.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        matches!(self, Self::Retry { counted: true, .. } | Self::Failover { counted: true, .. })
    }
}

/// What follows a failed attempt.
#[must_use]
pub fn dispose(letter: &DeadLetter, policy: &PolicyConfig) -> Disposition {
    bounded(in_time(by_code(letter, policy), letter), letter, policy)
}

/// A wait that would outlast the deadline is not waited for: the job goes elsewhere now.
fn in_time(wanted: Disposition, letter: &DeadLetter) -> Disposition {
    if wanted.at_ms().is_some_and(|at_ms| is_late(letter, at_ms)) {
        return Disposition::Failover { at_ms: letter.time_ms, counted: wanted.is_counted() };
    }
    wanted
}

/// So many servers of ours went away while they ran a job, and it gets no other.
const SERVERS_MAX: usize = 2;

/// Why a job is not handed on: each server that ran it went away. None while it may be chance.
#[must_use]
pub fn takes_servers_down(letter: &DeadLetter) -> Option<Failure> {
    let attempts = letter.assignment.history.iter().chain(std::iter::once(&letter.ended_attempt));
    let failures = attempts.filter_map(|facts| facts.failure.as_ref());
    let mut gone =
        failures.filter(|failure| failure.code == FailureCode::BackendDown && failure.while_running);
    let (count, last) = (gone.clone().count(), gone.next_back()?);
    (count >= SERVERS_MAX).then(|| {
        let words = format!(
            "{count} times a server went away while it ran this job, so it is not handed to another; look at its \
             workflow before you redrive it. The last time: {}",
            last.message
        );
        Failure { provider_words: last.provider_words.clone(), ..Failure::new(FailureCode::Poison, words) }
    })
}

/// What the failure alone suggests.
fn by_code(letter: &DeadLetter, policy: &PolicyConfig) -> Disposition {
    let now_ms = letter.time_ms;
    let assignment = &letter.assignment;
    let code = letter.ended_attempt.failure.as_ref().map_or(FailureCode::Unknown, |failure| failure.code);
    let seed = seed_of(assignment.id());
    let backoff = Backoff::of(policy);
    let failover = Disposition::Failover { at_ms: now_ms, counted: true };
    let failed = Disposition::End { state: JobState::Failed };
    match code {
        // What the provider delivered is paid: the same again would be paid again.
        FailureCode::InvalidJob
        | FailureCode::UnusableResult
        | FailureCode::NotStored
        | FailureCode::Poison
        | FailureCode::TooNew
        | FailureCode::Unknown => failed,
        FailureCode::Cancelled => Disposition::End { state: JobState::Cancelled },
        FailureCode::Expired => Disposition::End { state: JobState::Expired },
        FailureCode::ContentRefused => {
            if assignment.job.constraints.failover_on_refusal {
                failover
            } else {
                failed
            }
        }
        FailureCode::OutOfMemory if times_with_this(letter, FailureCode::OutOfMemory) < OUT_OF_MEMORY_MAX => {
            Disposition::Retry { at_ms: after(now_ms, backoff.delay_ms(1, seed)), counted: true }
        }
        FailureCode::Transient => {
            let failures = in_a_row(letter);
            if failures < policy.max_attempts_per_backend {
                Disposition::Retry { at_ms: after(now_ms, backoff.delay_ms(failures, seed)), counted: true }
            } else {
                failover
            }
        }
        FailureCode::RateLimited => {
            Disposition::Snooze { at_ms: after(now_ms, rate_limit_wait_ms(letter, &backoff, seed)) }
        }
        FailureCode::Interrupted => Disposition::Retry { at_ms: now_ms, counted: false },
        FailureCode::BackendDown if takes_servers_down(letter).is_some() => failed,
        // The worker has asked the provider for as long as it may: what is unknown now stays so. It is
        // booked as possibly paid, and the plan checks whether the ceiling covers another attempt.
        FailureCode::OutcomeUnknown
        | FailureCode::OutOfMemory
        | FailureCode::CapabilityMissing
        | FailureCode::QuotaExhausted
        | FailureCode::BackendDown
        | FailureCode::ProviderStopped
        | FailureCode::Timeout => failover,
    }
}

/// Ends what would otherwise go on past its deadline or its number of attempts.
fn bounded(wanted: Disposition, letter: &DeadLetter, policy: &PolicyConfig) -> Disposition {
    if matches!(wanted, Disposition::End { .. }) {
        return wanted;
    }
    if is_late(letter, letter.time_ms) {
        return Disposition::End { state: JobState::Expired };
    }
    let assignment = &letter.assignment;
    let counted = assignment.counted_attempts.saturating_add(u32::from(wanted.is_counted()));
    let used_up = counted >= max_attempts(assignment.job.constraints.max_attempts, policy);
    let all = assignment.history.iter().chain(std::iter::once(&letter.ended_attempt));
    let is_over = is_used_up(assignment.attempt, spent(all), policy);
    if is_over || (wanted.is_counted() && used_up) {
        return Disposition::End { state: JobState::Failed };
    }
    wanted
}

/// Answers of a provider that limits a job, over its whole life: each is an attempt's number and an event, and costs no
/// attempt. They last a day at the least, whatever wait the provider asks for ([`PATIENT_MS`]).
pub const RATE_LIMITED_MAX: u32 = 300;

/// After so many attempts a provider that limits a job is asked again at this interval at the least, milliseconds.
const PATIENT_AFTER: u32 = 60;
const PATIENT_MS: u64 = 6 * 60_000;

// Without this the answers would be used up in minutes where a provider asks to wait for a second.
const _: () = assert!((RATE_LIMITED_MAX - PATIENT_AFTER) as u64 * PATIENT_MS >= 24 * 3_600_000);

/// Such answers that a job's history goes on with: enough for the longest wait. Each was published as it came.
pub const RATE_LIMITED_KEPT: usize = 12;

/// The attempts that say something of the job or the backend: those that a provider's limit ended are none.
pub(crate) fn spent<'a>(attempts: impl Iterator<Item = &'a AttemptFacts>) -> u32 {
    let spent = attempts.filter(|facts| code_of(facts) != Some(FailureCode::RateLimited)).count();
    u32::try_from(spent).unwrap_or(u32::MAX)
}

/// Whether attempts are used up, counted or not, after `attempt` of them.
pub(crate) const fn is_used_up(attempt: u32, spent: u32, policy: &PolicyConfig) -> bool {
    let ever = if policy.max_attempts_ever == 0 { 1 } else { policy.max_attempts_ever };
    spent >= ever || attempt >= ever.saturating_add(RATE_LIMITED_MAX)
}

/// The history that the next attempt goes on with: without the oldest of the answers that a provider's limit gave, so
/// that an assignment stays small however long a job waits.
#[must_use]
pub fn carried(mut attempts: Vec<AttemptFacts>) -> Vec<AttemptFacts> {
    let is_limited = |facts: &AttemptFacts| code_of(facts) == Some(FailureCode::RateLimited);
    let mut surplus =
        attempts.iter().filter(|facts| is_limited(facts)).count().saturating_sub(RATE_LIMITED_KEPT);
    attempts.retain(|facts| {
        let goes = surplus > 0 && is_limited(facts);
        surplus -= usize::from(goes);
        !goes
    });
    attempts
}

/// Out of memory so often on one backend excludes it: once the worker frees memory and tries again.
pub(crate) const OUT_OF_MEMORY_MAX: u32 = 2;

/// How many counted attempts a job has.
pub(crate) fn max_attempts(of_job: Option<u32>, policy: &PolicyConfig) -> u32 {
    of_job.unwrap_or(u32::MAX).min(policy.max_attempts).max(1)
}

/// The transient failures in a row that end a backend's attempts, interruptions and waits not regarded.
pub(crate) fn transient_in_a_row<'a>(
    attempts: impl DoubleEndedIterator<Item = &'a AttemptFacts>,
    backend: &Backend,
) -> u32 {
    let codes = attempts.rev().filter(|facts| facts.backend == *backend).map(code_of);
    let speaking =
        codes.filter(|code| !matches!(code, Some(FailureCode::Interrupted | FailureCode::RateLimited)));
    let count = speaking.take_while(|code| *code == Some(FailureCode::Transient)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Why an attempt failed.
pub(crate) fn code_of(facts: &AttemptFacts) -> Option<FailureCode> {
    facts.failure.as_ref().map(|failure| failure.code)
}

fn in_a_row(letter: &DeadLetter) -> u32 {
    let all = letter.assignment.history.iter().chain(std::iter::once(&letter.ended_attempt));
    transient_in_a_row(all, &letter.assignment.backend)
}

/// How many of these attempts ended at a backend with a code.
pub(crate) fn times<'a>(
    attempts: impl Iterator<Item = &'a AttemptFacts>,
    backend: &Backend,
    code: FailureCode,
) -> u32 {
    let met = attempts.filter(|facts| facts.backend == *backend && code_of(facts) == Some(code));
    u32::try_from(met.count()).unwrap_or(u32::MAX)
}

/// The same of a failed attempt's job, its last attempt included, which ended so.
fn times_with_this(letter: &DeadLetter, code: FailureCode) -> u32 {
    times(letter.assignment.history.iter(), &letter.assignment.backend, code).saturating_add(1)
}

/// How long a provider that limits a job is left alone: as long as it asked for, else longer each time.
fn rate_limit_wait_ms(letter: &DeadLetter, backoff: &Backoff, seed: u64) -> u64 {
    let hint_ms = letter.ended_attempt.failure.as_ref().and_then(|failure| failure.retry_after_ms);
    let wait_ms = match hint_ms {
        Some(hint_ms) => backoff.hinted_ms(hint_ms, seed),
        None => backoff.delay_ms(times_with_this(letter, FailureCode::RateLimited), seed),
    };
    match letter.assignment.attempt {
        attempt if attempt > PATIENT_AFTER => wait_ms.max(backoff.hinted_ms(PATIENT_MS, seed)),
        _ => wait_ms,
    }
}

fn is_late(letter: &DeadLetter, at_ms: i64) -> bool {
    letter.assignment.job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= at_ms)
}

const fn after(now_ms: i64, wait_ms: u64) -> i64 {
    now_ms.saturating_add_unsigned(wait_ms)
}
