//! Facts for the ledger, for watchers, for status: `argosy.events.<tenant>.<job>.<kind>`.
//!
//! A job has at most one `ended` event: it is published with the expectation that its subject is
//! empty, so the broker itself refuses a second end, whoever tries and however late.

mod reading;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::cut;
use crate::{
    Artifact, AttemptFacts, Backend, Capability, Class, Decision, Failure, Job, JobId, JobState, Kind, Lane,
    Manifest, MicroUsd, Tenant, WorkerId,
};

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// `<job>.<attempt>.<kind>`: the message id, and the ledger's primary key.
    pub id: String,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Whose job.
    pub tenant: Tenant,
    /// Which job.
    pub job: JobId,
    /// Which attempt; 0 before the first.
    pub attempt: u32,
    /// What happened.
    pub fact: Fact,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// An attempt was placed. Written before the assignment is; a first attempt that is free and finds a free slot
    /// goes without ([`crate::Assignment::decision`]).
    Assigned {
        /// The job without its body.
        facts: JobFacts,
        /// Where.
        backend: Backend,
        /// In which class.
        class: Class,
        /// Which servers can run it, where these differ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capability: Option<Capability>,
        /// The service's model.
        model: String,
        /// What was reserved.
        reserved_micro_usd: MicroUsd,
        /// Why there.
        decision: Decision,
    },
    /// A worker has been at it for a moment; attempts quicker than that go without.
    Running {
        /// The job without its body.
        facts: JobFacts,
        /// Where.
        backend: Backend,
        /// By whom.
        worker: WorkerId,
        /// Since when, Unix milliseconds.
        started_at_ms: i64,
    },
    /// An attempt failed and another follows.
    Retrying {
        /// The job without its body.
        facts: JobFacts,
        /// The attempt that failed.
        ended_attempt: AttemptFacts,
        /// `retry`, `failover`, `snooze` or `reconcile`.
        disposition: String,
        /// When the next attempt is planned, Unix milliseconds.
        next_at_ms: i64,
    },
    /// The job reached its terminal state.
    Ended {
        /// The job without its body.
        facts: JobFacts,
        /// Which one.
        state: JobState,
        /// What was made; the first of them only, where there is a manifest.
        #[serde(default)]
        artifacts: Vec<Artifact>,
        /// All that was made, where that is more than a message can name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<Manifest>,
        /// Why it was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// All its attempts, in order.
        #[serde(default)]
        attempts: Vec<AttemptFacts>,
    },
    /// Money of an attempt that became known after the job had ended.
    Charged {
        /// The job without its body.
        facts: JobFacts,
        /// The attempt.
        ended_attempt: AttemptFacts,
    },
    /// A publish was not accepted as a job; it lies in `PARKED`.
    Refused {
        /// Why.
        failure: Failure,
    },
    /// A publish came with the idempotency key of an earlier job and the same content: it is that job.
    Duplicate {
        /// The job that it is.
        of: JobId,
    },
    /// A kind of a newer version.
    #[serde(other)]
    Unknown,
}

/// A job without its body: what reports need, and neither prompt nor workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobFacts {
    /// When the broker took it in, Unix milliseconds.
    pub submitted_at_ms: i64,
    /// How urgent.
    pub lane: Lane,
    /// Image or video.
    pub kind: Kind,
    /// What it needs; none when it was refused before that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// `prompt` or `workflow`; empty in the marker of an end ([`Event::marker`]).
    pub form: String,
    /// The most that may be spent on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micro_usd: Option<MicroUsd>,
    /// When it is of no more use, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
    /// The client's own words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Fields of the job that whoever wrote this does not know ([`Job::warnings`]); they had no effect there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl JobFacts {
    /// What of a job may travel in events.
    #[must_use]
    pub fn of(job: &Job, class: Option<Class>, submitted_at_ms: i64) -> Self {
        Self {
            submitted_at_ms,
            lane: job.lane,
            kind: job.body.kind,
            class,
            form: if job.body.workflow.is_some() { "workflow" } else { "prompt" }.to_owned(),
            max_cost_micro_usd: job.constraints.max_cost_micro_usd,
            deadline_ms: job.constraints.deadline_ms,
            labels: job.labels.clone(),
            warnings: job.warnings(),
        }
    }
}

/// A label of a job that is no good one is shortened to this.
const LABEL_MAX_BYTES: usize = 256;
/// So many of its labels are kept.
const LABELS_MAX: usize = 64;

impl JobFacts {
    /// The facts of a job that was refused, whose labels may be of any length and number.
    #[must_use]
    pub fn of_refused(job: &Job, submitted_at_ms: i64) -> Self {
        let shortened = |text: &String| cut(text, LABEL_MAX_BYTES).into_owned();
        let labels = job.labels.iter().take(LABELS_MAX);
        let labels = labels.map(|(name, value)| (shortened(name), shortened(value))).collect();
        Self { labels, ..Self::of(job, None, submitted_at_ms) }
    }
}

impl Fact {
    /// The job without its body, where the fact has it.
    #[must_use]
    pub const fn facts(&self) -> Option<&JobFacts> {
        match self {
            Self::Assigned { facts, .. }
            | Self::Running { facts, .. }
            | Self::Retrying { facts, .. }
            | Self::Ended { facts, .. }
            | Self::Charged { facts, .. } => Some(facts),
            Self::Refused { .. } | Self::Duplicate { .. } | Self::Unknown => None,
        }
    }

    /// Its token in the subject, SQL and on the command line.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Assigned { .. } => "assigned",
            Self::Running { .. } => "running",
            Self::Retrying { .. } => "retrying",
            Self::Ended { .. } => "ended",
            Self::Charged { .. } => "charged",
            Self::Refused { .. } => "refused",
            Self::Duplicate { .. } => "duplicate",
            Self::Unknown => "unknown",
        }
    }

    /// The token of a kind that this version knows; `unknown` for all others.
    #[must_use]
    pub fn kind_named(token: &str) -> &'static str {
        KINDS.into_iter().find(|kind| *kind == token).unwrap_or("unknown")
    }
}

/// Every kind but `unknown`.
const KINDS: [&str; 7] = ["assigned", "ended", "running", "retrying", "charged", "refused", "duplicate"];

impl Event {
    /// An event with its derived id.
    #[must_use]
    pub fn new(time_ms: i64, tenant: Tenant, job: JobId, attempt: u32, fact: Fact) -> Self {
        let id = format!("{job}.{attempt}.{}", fact.kind());
        Self { schema_version: crate::SCHEMA_VERSION, id, time_ms, tenant, job, attempt, fact }
    }

    /// What stands in the place of a booked `ended` event, on its subject and under its id: state and last attempt, nothing
    /// else. None of an event that is no end.
    ///
    /// It is an `ended` event, so every version reads it as the end that it is, the broker refuses another end for as long
    /// as it is there, and a ledger has its id already.
    #[must_use]
    pub fn marker(&self) -> Option<Self> {
        let Fact::Ended { facts, state, .. } = &self.fact else { return None };
        let facts = JobFacts {
            submitted_at_ms: facts.submitted_at_ms,
            lane: facts.lane,
            kind: facts.kind,
            class: None,
            form: String::new(),
            max_cost_micro_usd: None,
            deadline_ms: None,
            labels: BTreeMap::new(),
            warnings: Vec::new(),
        };
        let fact = Fact::Ended {
            facts,
            state: *state,
            artifacts: Vec::new(),
            manifest: None,
            failure: None,
            attempts: Vec::new(),
        };
        Some(Self { tenant: self.tenant.clone(), id: self.id.clone(), fact, ..*self })
    }

    /// It is a marker: the rest of the end is in the ledger.
    #[must_use]
    pub fn is_marker(&self) -> bool {
        matches!(&self.fact, Fact::Ended { facts, .. } if facts.form.is_empty())
    }

    /// The state the job is in after it, where the event tells.
    #[must_use]
    pub const fn state(&self) -> Option<JobState> {
        match &self.fact {
            Fact::Assigned { .. } => Some(JobState::Assigned),
            Fact::Running { .. } => Some(JobState::Running),
            Fact::Retrying { .. } => Some(JobState::Retrying),
            Fact::Ended { state, .. } => Some(*state),
            Fact::Charged { .. } | Fact::Refused { .. } | Fact::Duplicate { .. } | Fact::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, samples};

    #[test]
    fn a_marker_is_the_end_under_its_id_and_short() {
        let events = samples::events();
        let ended = events.iter().find(|event| matches!(event.fact, Fact::Ended { .. })).expect("a sample");
        let marker = ended.marker().expect("an end");
        assert!(marker.is_marker() && !ended.is_marker());
        assert_eq!((&marker.id, marker.state(), marker.attempt), (&ended.id, ended.state(), ended.attempt));
        assert_eq!(marker.marker().as_ref(), Some(&marker), "of a marker it is the marker");
        let bytes = codec::encode(&marker);
        assert!(bytes.len() < 300, "{} bytes", bytes.len());
        assert_eq!(codec::decode::<Event>(None, &bytes).expect("our own"), marker);
        for other in events.iter().filter(|event| !matches!(event.fact, Fact::Ended { .. })) {
            assert!(other.marker().is_none() && !other.is_marker(), "{}", other.id);
        }
    }
}
