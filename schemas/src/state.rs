//! The life of a job, as data. ARCHITECTURE.md's diagram is generated from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Acknowledged by the broker, not yet placed.
    Submitted,
    /// Waiting at a backend.
    Assigned,
    /// A worker is at it.
    Running,
    /// An attempt failed and another follows.
    Retrying,
    /// Done; the artifacts can be fetched.
    Completed,
    /// Ended without a result; parked with its history.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its deadline passed.
    Expired,
    /// A state of a newer version.
    #[serde(other)]
    Unknown,
}

impl JobState {
    /// All states that exist, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Submitted,
        Self::Assigned,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// Its token in SQL, metrics and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

/// Every transition a job may make, with what causes it.
pub const TRANSITIONS: &[(JobState, JobState, &str)] = &[
    (JobState::Submitted, JobState::Assigned, "planned"),
    (JobState::Submitted, JobState::Failed, "refused"),
    (JobState::Submitted, JobState::Cancelled, "cancelled"),
    (JobState::Submitted, JobState::Expired, "deadline"),
    (JobState::Assigned, JobState::Running, "started"),
    (JobState::Assigned, JobState::Assigned, "taken back and planned again"),
    (JobState::Assigned, JobState::Retrying, "attempt failed"),
    (JobState::Assigned, JobState::Completed, "finished"),
    (JobState::Assigned, JobState::Failed, "gave up"),
    (JobState::Assigned, JobState::Cancelled, "cancelled"),
    (JobState::Assigned, JobState::Expired, "deadline"),
    (JobState::Running, JobState::Completed, "finished"),
    (JobState::Running, JobState::Retrying, "attempt failed"),
    (JobState::Running, JobState::Failed, "gave up"),
    (JobState::Running, JobState::Cancelled, "cancelled"),
    (JobState::Running, JobState::Expired, "deadline"),
    (JobState::Retrying, JobState::Assigned, "retry or failover"),
    (JobState::Retrying, JobState::Completed, "finished by another delivery"),
    (JobState::Retrying, JobState::Failed, "gave up"),
    (JobState::Retrying, JobState::Cancelled, "cancelled"),
    (JobState::Retrying, JobState::Expired, "deadline"),
];

/// The transitions as a Mermaid state diagram.
#[must_use]
pub fn mermaid() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> submitted: publish acknowledged\n");
    for (from, to, cause) in TRANSITIONS {
        text.push_str(&format!("    {} --> {}: {cause}\n", from.as_str(), to.as_str()));
    }
    for state in JobState::ALL.into_iter().filter(|state| state.is_terminal()) {
        text.push_str(&format!("    {} --> [*]\n", state.as_str()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_an_end_and_every_state_is_reached() {
        for state in JobState::ALL {
            let leaves = TRANSITIONS.iter().any(|(from, _, _)| *from == state);
            assert_eq!(leaves, !state.is_terminal(), "{state:?}");
            let reached = TRANSITIONS.iter().any(|(_, to, _)| *to == state);
            assert!(reached || state == JobState::Submitted, "{state:?} is never reached");
        }
    }
}
