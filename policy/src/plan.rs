//! Where an attempt runs, and why: `plan` weighs every configured backend and concludes.
//!
//! In three steps: filter (all reasons of a backend are collected, so that one explanation tells
//! everything there is to mend), score what is left, explain. The router carries the plan out and
//! compares nothing itself.

mod capability;
mod conclude;
mod consent;
mod exhausted;
mod money;
mod queue;
mod rejections;
mod score;
mod weigh;
mod why;

use schemas::{
    AttemptFacts, Backend, Catalog, Class, Decision, Failure, Job, MicroUsd, PolicyConfig, PriceList,
    TenantPolicy,
};

pub(crate) use self::capability::learned_ms;
pub(crate) use self::conclude::WAITING;
use self::consent::Consent;
use self::score::Scale;
use crate::admit::Admitted;
use crate::fleet::Fleet;

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What is to be placed.
    pub job: &'a Job,
    /// What admission found out about it.
    pub admitted: &'a Admitted,
    /// The number of the attempt to be placed, from 1.
    pub attempt: u32,
    /// How many attempts so far counted against the job's limit.
    pub counted_attempts: u32,
    /// The attempts so far, oldest first.
    pub history: &'a [AttemptFacts],
    /// Who is there.
    pub fleet: &'a Fleet,
    /// What can be made.
    pub catalog: &'a Catalog,
    /// What it costs.
    pub prices: &'a PriceList,
    /// How to decide.
    pub policy: &'a PolicyConfig,
    /// What the job's tenant allows.
    pub tenant: TenantPolicy<'a>,
    /// The ledger grants reservations at present.
    pub ledger_available: bool,
    /// Backends for which the ledger just refused this attempt's money, with its words.
    pub refused: &'a [(Backend, String)],
    /// Now, Unix milliseconds.
    pub now_ms: i64,
}

/// What is to be done with a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Run it.
    Assign(Box<Assign>),
    /// Look at it again later.
    Defer {
        /// What was weighed.
        decision: Box<Decision>,
        /// When, Unix milliseconds.
        until_ms: i64,
        /// What it waits for.
        why: String,
    },
    /// Give up: waiting would not help.
    Refuse {
        /// What was weighed.
        decision: Box<Decision>,
        /// How the job ends.
        failure: Failure,
    },
}

impl Plan {
    /// What was weighed.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        match self {
            Self::Assign(assign) => &assign.decision,
            Self::Defer { decision, .. } | Self::Refuse { decision, .. } => decision,
        }
    }
}

/// A placed attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Assign {
    /// Why there.
    pub decision: Decision,
    /// Where.
    pub backend: Backend,
    /// In which class.
    pub class: Class,
    /// The service's model.
    pub model: String,
    /// The longest the attempt may run, milliseconds.
    pub timeout_ms: u64,
    /// What to reserve first; 0 on free backends.
    pub reserve_micro_usd: MicroUsd,
}

impl Assign {
    /// A slot is free for it: nobody is expected to end before.
    #[must_use]
    pub fn starts_at_once(&self) -> bool {
        self.decision.candidates.first().is_some_and(|winner| winner.wait_ms == 0)
    }
}

impl PlanInput<'_> {
    /// What is left until the deadline, milliseconds; none without a deadline, 0 when it passed.
    fn time_left_ms(&self) -> Option<u64> {
        let deadline_ms = self.job.constraints.deadline_ms?;
        Some(u64::try_from(deadline_ms.saturating_sub(self.now_ms)).unwrap_or_default())
    }
}

/// Decides where an attempt runs.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let consent = Consent::of(input);
    let scale = Scale::of(input);
    let weigh = |config| weigh::weigh(input, &scale, config, consent);
    let mut candidates: Vec<_> = input.policy.backends.iter().map(weigh).collect();
    weigh::readmit(input, &mut candidates);
    // Eligible first, best first; the name makes the order total, whatever the order of configuration.
    candidates.sort_by(score::rank);
    candidates.dedup_by(|a, b| a.backend == b.backend);
    conclude::conclude(input, candidates, scale.weights, consent)
}
