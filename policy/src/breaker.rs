//! Takes out of use what fails: a provider out of the plans, a server of our own out of its worker's hands.
//!
//! A value, not a wrapper around calls: whoever holds it feeds it what failed attempts and successes say. Routers hold
//! those of providers ([`crate::breakers`]); a worker holds the one of its server and tells it in its offer
//! ([`schemas::ServerBreaker`]), so that one broken server closes no other. Only failures that speak of the backend
//! count; a refused prompt says nothing about the GPU, and one job that fails again and again is one failure.

use std::collections::BTreeSet;

use schemas::breaker::{BreakerKind, BreakerRecord};
use schemas::{Failure, FailureCode, JobId, PolicyConfig, ServerBreaker};

/// How long a quota is taken to last when the provider does not say, milliseconds: an hour.
pub const QUOTA_OPEN_MS: u64 = 60 * 60 * 1000;
/// The longest a provider's word can keep a breaker open, milliseconds: a day, as daily quotas do.
pub const QUOTA_OPEN_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a stopped provider (key, billing) stays out, milliseconds: it takes a person to mend it.
pub const STOPPED_OPEN_MS: u64 = 10 * 60 * 1000;
/// So many jobs are told apart; failures of others count each.
const JOBS_KNOWN_MAX: usize = 1_024;

/// Which breaker a failure speaks to; none for what says nothing of the provider.
pub(crate) const fn kind_of(code: FailureCode) -> Option<BreakerKind> {
    match code {
        FailureCode::Transient | FailureCode::Timeout | FailureCode::BackendDown => {
            Some(BreakerKind::Failing)
        }
        FailureCode::QuotaExhausted => Some(BreakerKind::Quota),
        FailureCode::ProviderStopped => Some(BreakerKind::Stopped),
        FailureCode::InvalidJob
        | FailureCode::ContentRefused
        | FailureCode::CapabilityMissing
        | FailureCode::OutOfMemory
        | FailureCode::RateLimited
        | FailureCode::Interrupted
        | FailureCode::OutcomeUnknown
        | FailureCode::UnusableResult
        | FailureCode::NotStored
        | FailureCode::Poison
        | FailureCode::Cancelled
        | FailureCode::Expired
        | FailureCode::TooNew
        | FailureCode::Unknown => None,
    }
}

/// What is remembered of a backend's failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures of the backend since it last succeeded.
    pub consecutive_failures: u32,
    /// Until when it is out, Unix milliseconds. In the past: half open, one more failure opens it again.
    pub open_until_ms: Option<i64>,
    /// What opened it.
    pub reason: Option<String>,
    /// When it opened last, Unix milliseconds.
    pub opened_at_ms: Option<i64>,
    /// The jobs whose failures were counted.
    failed: BTreeSet<JobId>,
}

impl Breaker {
    /// Takes note of a failed attempt of a job.
    pub fn on_failure(&mut self, job: JobId, failure: &Failure, policy: &PolicyConfig, now_ms: i64) {
        let is_known = self.failed.contains(&job);
        let counted = self.consecutive_failures.saturating_add(u32::from(!is_known));
        let Some(kind) = kind_of(failure.code) else { return };
        let open_ms = match kind {
            BreakerKind::Failing if failure.code == FailureCode::BackendDown => Some(policy.breaker_open_ms),
            // The same job once more: it may be the job's fault.
            BreakerKind::Failing if is_known => None,
            BreakerKind::Failing => (self.is_half_open(now_ms) || counted >= policy.breaker_failures)
                .then_some(policy.breaker_open_ms),
            BreakerKind::Quota => {
                Some(failure.retry_after_ms.unwrap_or(QUOTA_OPEN_MS).min(QUOTA_OPEN_MAX_MS))
            }
            BreakerKind::Stopped => Some(STOPPED_OPEN_MS.max(policy.breaker_open_ms)),
            BreakerKind::Unknown => return,
        };
        self.consecutive_failures = counted;
        if self.failed.len() < JOBS_KNOWN_MAX {
            self.failed.insert(job);
        }
        let Some(open_ms) = open_ms else { return };
        let until_ms = now_ms.saturating_add_unsigned(open_ms);
        // A short reason never cuts a long one short.
        if self.open_until_ms.is_none_or(|present_ms| present_ms < until_ms) {
            self.open_until_ms = Some(until_ms);
            self.opened_at_ms = Some(now_ms);
            self.reason = Some(format!("{}: {}", failure.code.as_str(), failure.message));
        }
    }

    /// Takes note of an attempt that succeeded: closed, and the count begins anew.
    pub fn on_success(&mut self) {
        *self = Self::default();
    }

    /// It is out at present.
    #[must_use]
    pub fn is_open(&self, now_ms: i64) -> bool {
        self.open_until_ms.is_some_and(|until_ms| now_ms < until_ms)
    }

    /// It was open, and its time is over.
    #[must_use]
    pub fn is_half_open(&self, now_ms: i64) -> bool {
        self.open_until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }

    /// Takes over what another holder of the same breaker wrote.
    pub fn take(&mut self, record: &BreakerRecord) {
        self.consecutive_failures = record.consecutive_failures;
        self.open_until_ms = record.open_until_ms;
        self.opened_at_ms = Some(record.time_ms);
        self.reason.clone_from(&record.reason);
    }

    /// As a worker tells its server's.
    #[must_use]
    pub fn told(&self) -> ServerBreaker {
        ServerBreaker {
            consecutive_failures: self.consecutive_failures,
            open_until_ms: self.open_until_ms,
            reason: self.reason.clone(),
        }
    }
}
