//! What a plan says.

use schemas::{Backend, Capability, Class, Decision, Failure, MicroUsd, Queue};

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
    /// Which of its workers: those of this capability, or those without one.
    pub capability: Option<Capability>,
    /// The service's model.
    pub model: String,
    /// The longest the attempt may run, milliseconds.
    pub timeout_ms: u64,
    /// What to reserve first; 0 on free backends.
    pub reserve_micro_usd: MicroUsd,
}

impl Assign {
    /// In which queue of its backend it waits.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue { class: self.class.clone(), capability: self.capability }
    }

    /// A slot is free for it: it does not wait for another attempt to end.
    #[must_use]
    pub fn starts_at_once(&self) -> bool {
        self.decision.candidates.first().is_some_and(|winner| winner.wait_ms == 0)
    }
}
