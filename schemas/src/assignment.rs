//! What a worker gets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AttemptFacts, AttemptId, Backend, Capability, CarriedDecision, Class, Event, Fact, Job, JobFacts,
    MicroUsd, Queue,
};

/// One attempt of a job, placed. Published to `argosy.work.<backend>.<queue>.<job>`.
///
/// A first attempt that is free and finds a free slot is placed by this message alone, and carries its
/// [`decision`](Self::decision); all others are told by an `assigned` event, which is written first and has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// When it was assigned, Unix milliseconds.
    pub time_ms: i64,
    /// When the broker took the job in, Unix milliseconds.
    pub submitted_at_ms: i64,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// How many of the attempts so far counted against the job's limit (interruptions and waits do not).
    pub counted_attempts: u32,
    /// Where it runs.
    pub backend: Backend,
    /// In which class.
    pub class: Class,
    /// Which servers can run it, where these differ; it lies in the [`Self::queue`] of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// The service's model: the catalog's for our own GPUs, the provider's elsewhere.
    pub model: String,
    /// The longest the attempt may run, milliseconds.
    pub timeout_ms: u64,
    /// What the ledger reserved; 0 on free backends.
    pub reserved_micro_usd: MicroUsd,
    /// Why there; only where no `assigned` event tells it. It goes on with the attempt's facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<CarriedDecision>,
    /// What the router warns of, beside fields that are not known: fields of the job that have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The job itself.
    pub job: Job,
    /// The attempts before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptFacts>,
}

impl Assignment {
    /// Which attempt it is.
    #[must_use]
    pub const fn id(&self) -> AttemptId {
        AttemptId { job: self.job.id, attempt: self.attempt }
    }

    /// In which queue of its backend it lies.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue { class: self.class.clone(), capability: self.capability }
    }

    /// What of the job may travel in the attempt's events.
    #[must_use]
    pub fn facts(&self) -> JobFacts {
        let mut facts = JobFacts::of(&self.job, Some(self.class.clone()), self.submitted_at_ms);
        facts.warnings.extend(self.warnings.iter().cloned());
        facts
    }

    /// The `assigned` event that would tell of it; none where such an event was written.
    #[must_use]
    pub fn told(&self) -> Option<Event> {
        let decision = self.decision.as_ref()?.read().ok()?.clone();
        let fact = Fact::Assigned {
            facts: self.facts(),
            backend: self.backend.clone(),
            class: self.class.clone(),
            capability: self.capability,
            model: self.model.clone(),
            reserved_micro_usd: self.reserved_micro_usd,
            decision,
        };
        Some(Event::new(self.time_ms, self.job.tenant.clone(), self.job.id, self.attempt, fact))
    }

    /// Work that costs money has something reserved for it, and a claim to guard it.
    #[must_use]
    pub const fn is_paid(&self) -> bool {
        self.reserved_micro_usd.0 > 0
    }
}
