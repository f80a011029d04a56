//! Money before work: the router asks the ledger on `argosy.fleet.reserve`, batches at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, JobId, MicroUsd, Tenant};

/// A batch of reservations; the reply has one grant for each, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReserveRequest {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// What is asked for.
    pub reservations: Vec<Reservation>,
}

/// Money for one attempt. Asking again for the same attempt replaces what is still pending for it, so
/// a router that died in between leaves nothing behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reservation {
    /// For which job.
    pub job: JobId,
    /// For which attempt.
    pub attempt: u32,
    /// Who pays.
    pub tenant: Tenant,
    /// Who will bill.
    pub backend: Backend,
    /// The most the attempt can cost.
    pub amount_micro_usd: MicroUsd,
    /// The job's ceiling over all attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micro_usd: Option<MicroUsd>,
    /// When, Unix milliseconds: which day's and month's budget it counts against (UTC).
    pub time_ms: i64,
}

/// The ledger's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReserveReply {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// One for each reservation, in order.
    pub grants: Vec<Grant>,
    /// The ledger could not decide (database away): try later. Grants are empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Yes or no, and why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// The money is set aside.
    pub granted: bool,
    /// Which limit stood in the way, with its figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}
