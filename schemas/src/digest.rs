//! What waits in one router's hands, as the other routers hear of it: over core NATS, some times a second, never stored.
//!
//! It may change what routing costs, never what is safe. A digest that is lost, late, repeated or invented leaves a worse
//! schedule behind, and nothing else.

use serde::{Deserialize, Serialize};

use crate::{Backend, Capability, Tenant};

/// A digest has at most this many bytes; of what would be longer the end is left out.
pub const DIGEST_MAX_BYTES: usize = 64 * 1_024;

/// What waits in one router's hands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// Which router: unique among all that run.
    pub router: String,
    /// The tenants of these jobs.
    pub tenants: Vec<Tenant>,
    /// The kinds of these jobs.
    pub kinds: Vec<DigestKind>,
    /// The jobs, in the order of their turns.
    pub jobs: Vec<DigestJob>,
}

/// Where jobs may run, and what waiting is worth to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DigestKind {
    /// What a patience of waiting is worth, micro-dollars.
    pub reference_micro_usd: f64,
    /// Backend, what it is expected to cost there (micro-dollars), and how long it is expected to run there: the middle, and
    /// what one of ten exceeds (milliseconds).
    pub ways: Vec<(Backend, f64, f64, f64)>,
    /// For each way which servers of the backend can run it. Empty where all are alike, and from older routers: then all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Option<Capability>>,
}

/// One job that waits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DigestJob(
    /// Since when, Unix milliseconds.
    pub i64,
    /// Its patience, milliseconds.
    pub u64,
    /// Its deadline, Unix milliseconds.
    pub Option<i64>,
    /// Its profile as a multiple of the price of waiting.
    pub f64,
    /// Which of [`Digest::tenants`].
    pub u32,
    /// Which of [`Digest::kinds`].
    pub u32,
);
