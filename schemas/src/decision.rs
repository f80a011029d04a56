//! What the router concluded for a job, so that anybody can read why (promise P5).

mod carried;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, Class, MicroUsd};

pub use carried::CarriedDecision;

/// All that was weighed when an attempt was placed. Written to the job's `assigned` event, or where there is none, to
/// its assignment and from there to the attempt's facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// For which attempt.
    pub attempt: u32,
    /// What the job needs.
    pub class: Class,
    /// The winner; none when nothing was eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Backend>,
    /// Why the winner won, or why nobody did, in a sentence.
    pub reason: String,
    /// Every backend that was looked at, winner first, then by score.
    pub candidates: Vec<Candidate>,
    /// What the job would have cost at second best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_best_micro_usd: Option<MicroUsd>,
    /// The weights of the four terms.
    pub weights: Terms,
    /// Whose word allowed paid backends or forbade them, and the one command that changes a no.
    pub consent: Cow<'static, str>,
}

/// One backend, weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Which.
    pub backend: Backend,
    /// What filtered it out; empty when eligible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<Rejection>,
    /// The terms of its score, each in 0 to 1.
    pub terms: Terms,
    /// The weighted sum.
    pub score: f64,
    /// What the attempt is expected to cost.
    pub expected_micro_usd: MicroUsd,
    /// What has to be reserved for it.
    pub reserve_micro_usd: MicroUsd,
    /// Expected wait for a slot, milliseconds.
    pub wait_ms: u64,
    /// Expected completion from now: wait, start-up and learned duration, milliseconds.
    pub completion_ms: u64,
    /// Jobs waiting or running there, of all classes: they share its slots.
    pub backlog: u64,
    /// Slots of healthy workers there that could take the job.
    pub slots: u32,
    /// Its provider is a simulator.
    #[serde(default)]
    pub simulated: bool,
}

impl Candidate {
    /// Nothing filtered it out.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.rejections.is_empty()
    }
}

/// The four terms, as values or as weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// The configured rank.
    pub priority: f64,
    /// Cheapness against the job's ceiling.
    pub cost: f64,
    /// Expected completion against the job's patience.
    pub speed: f64,
    /// Emptiness of the queue.
    pub queue: f64,
}

/// Why a backend was filtered out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejection {
    /// The closed reason.
    pub reason: FilterReason,
    /// With the figures.
    pub detail: Cow<'static, str>,
}

/// The closed set of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterReason {
    /// No service of it in the catalog makes this class or takes this form of body.
    Unsupported,
    /// No worker of it has the model, node or memory.
    CapabilityMissing,
    /// The job's constraints leave it out.
    NotAllowedByJob,
    /// The tenant's policy leaves it out.
    NotAllowedByTenant,
    /// It costs money, and the tenant's word or the job's does not allow that.
    NoConsent,
    /// It costs more than the job may.
    OverCeiling,
    /// An attempt may have been paid and nobody can tell; the job does not allow another.
    PossiblyPaid,
    /// The ledger cannot reserve now.
    LedgerAway,
    /// The router cannot read the newest revision of a document, so it places nothing new that is paid.
    DocumentUnreadable,
    /// The ledger refused the reservation (budget).
    ReservationRefused,
    /// No worker is there.
    NoWorker,
    /// Its workers say they are unwell.
    Unhealthy,
    /// It failed too often lately.
    BreakerOpen,
    /// It cannot finish before the deadline.
    DeadlineUnreachable,
    /// Its queue is full.
    BacklogFull,
    /// The job failed there for good.
    Exhausted,
    /// A newer reason.
    #[serde(other)]
    Unknown,
}

impl FilterReason {
    /// Its token on the command line and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::CapabilityMissing => "capability_missing",
            Self::NotAllowedByJob => "not_allowed_by_job",
            Self::NotAllowedByTenant => "not_allowed_by_tenant",
            Self::NoConsent => "no_consent",
            Self::OverCeiling => "over_ceiling",
            Self::PossiblyPaid => "possibly_paid",
            Self::LedgerAway => "ledger_away",
            Self::DocumentUnreadable => "document_unreadable",
            Self::ReservationRefused => "reservation_refused",
            Self::NoWorker => "no_worker",
            Self::Unhealthy => "unhealthy",
            Self::BreakerOpen => "breaker_open",
            Self::DeadlineUnreachable => "deadline_unreachable",
            Self::BacklogFull => "backlog_full",
            Self::Exhausted => "exhausted",
            Self::Unknown => "unknown",
        }
    }

    /// It may be otherwise in a moment without anybody's doing: wait rather than give up.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Self::LedgerAway
                | Self::DocumentUnreadable
                | Self::NoWorker
                | Self::Unhealthy
                | Self::BreakerOpen
                | Self::BacklogFull
                | Self::ReservationRefused
        )
    }
}
