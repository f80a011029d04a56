//! A failed attempt on its way back to the router.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Assignment, AttemptFacts};

/// A failed attempt. Published to `argosy.dead.<backend>.<job>`; drives retry and failover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// When, Unix milliseconds by its sender's clock. Waits count from when the broker took it in.
    pub time_ms: i64,
    /// What was assigned, with the job and the attempts before.
    pub assignment: Assignment,
    /// How this attempt ended; its failure is set.
    pub ended_attempt: AttemptFacts,
}
