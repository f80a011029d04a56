//! Prices are data: what a unit costs, from when until when, and who says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, MicroUsd};

/// What a provider counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds a GPU worked for us.
    ExecutionMs,
    /// Tokens of the request.
    InputToken,
    /// Tokens of text that came back, thoughts included.
    TextToken,
    /// Tokens of pictures that came back.
    ImageToken,
    /// Tokens of video that came back.
    VideoToken,
    /// Millijoules of measured energy.
    EnergyMj,
    /// A unit of a newer version; has no price.
    #[serde(other)]
    Unknown,
}

/// So much of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// What is counted.
    pub unit: Unit,
    /// How much.
    pub quantity: u64,
}

/// What a million units cost at a backend. Charges round up to whole micro-dollars once per attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Who bills.
    pub backend: Backend,
    /// The provider's model or GPU class; `*` for all.
    pub model: String,
    /// What is counted.
    pub unit: Unit,
    /// Micro-dollars for 1,000,000 units.
    pub micro_usd_per_million: MicroUsd,
    /// First moment at which it holds, Unix milliseconds.
    pub valid_from_ms: i64,
    /// First moment at which it no longer holds; open when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_ms: Option<i64>,
    /// Where the figure comes from.
    pub source: String,
}

/// All prices: the key `prices` of the `CONFIG` bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// In no particular order; overlapping validity is refused when loaded.
    pub prices: Vec<Price>,
}
