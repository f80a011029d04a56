//! What an endpoint costs beside its jobs: one document for each endpoint and UTC day, bucket `BILLS`.
//!
//! It is a document and not an event, because it belongs to no job: events travel under a job's id, and a ledger of an
//! earlier release would park what has none. Every worker of the endpoint writes the same key and builds on what is
//! there (`policy::overhead::merge`), so an answer that is written twice, or late, changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calendar::DAY_MS;
use crate::{Backend, MicroUsd, SCHEMA_VERSION, WorkerId};

/// An endpoint on a UTC day: what the provider's billing call says, and what start and idle are estimated at until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointBill {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// Whose provider bills.
    pub backend: Backend,
    /// The provider's id of the endpoint.
    pub endpoint: String,
    /// The UTC day, counted from 1970-01-01.
    pub day: i32,
    /// The provider is a simulator.
    #[serde(default)]
    pub simulated: bool,
    /// The processes that run attempts there: whose attempts the bill covers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub workers: BTreeSet<WorkerId>,
    /// All that the provider billed for the endpoint on that day, jobs included; none until the billing call answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billed_micro_usd: Option<MicroUsd>,
    /// When the billing call was made, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at_ms: Option<i64>,
    /// Estimate: start and idle of the provider's workers that ran jobs of ours on that day.
    #[serde(default)]
    pub seen_micro_usd: MicroUsd,
    /// Estimate: one more start and idle of all workers to which the endpoint may scale.
    #[serde(default)]
    pub standby_micro_usd: MicroUsd,
    /// The last update of each worker whose part is in `seen_micro_usd`, by its number: one that is written again, because
    /// the broker's answer was lost, is not added again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counted: BTreeMap<WorkerId, i64>,
}

impl EndpointBill {
    /// A day of which nothing is known yet.
    #[must_use]
    pub const fn new(backend: Backend, endpoint: String, day: i32, simulated: bool) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            backend,
            endpoint,
            day,
            simulated,
            workers: BTreeSet::new(),
            billed_micro_usd: None,
            asked_at_ms: None,
            seen_micro_usd: MicroUsd::ZERO,
            standby_micro_usd: MicroUsd::ZERO,
            counted: BTreeMap::new(),
        }
    }

    /// Its key in the bucket.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}.{}", self.backend, self.endpoint, self.day)
    }
}

/// The UTC day of a moment, counted from 1970-01-01.
#[must_use]
pub fn utc_day(at_ms: i64) -> i32 {
    i32::try_from(at_ms.div_euclid(DAY_MS)).unwrap_or(if at_ms < 0 { i32::MIN } else { i32::MAX })
}

/// The first moment of a UTC day, Unix milliseconds.
#[must_use]
pub fn first_moment_ms(day: i32) -> i64 {
    i64::from(day) * DAY_MS
}
