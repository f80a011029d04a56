//! The answer of the billing call: what an endpoint was billed, by UTC day.
//!
//! `GET https://api.runpod.io/v2/billing/serverless?serverlessId=&bucketSize=day&lastN=` answers
//! `{"records": [{"startTime", "endTime", "serverlessId", "totalAmount", "gpuAmount", …}], "metadata": {…}}`: a record for
//! each endpoint and bucket, amounts in dollars, the bucket that is running included. Source: the provider's OpenAPI
//! document of version 2.0.0, "Get serverless billing history"
//! (<https://docs.runpod.io/api-reference-v2/billing/get-serverless-billing-history>), read in November 2026. Version 1,
//! `https://rest.runpod.io/v1/billing/endpoints`, is retired since 2026-11-15. No answer of a real account was seen yet,
//! so fields are read leniently; there is nothing finer than an hour, and nothing by request or worker.

use std::collections::BTreeMap;

use schemas::MicroUsd;
use schemas::calendar::day_of;
use serde::Deserialize;
use serde_json::Value;

/// All records of an answer.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BillingReply {
    /// By endpoint and bucket.
    pub records: Vec<BillingRecord>,
}

/// What an endpoint was billed for a bucket of time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingRecord {
    /// The first moment of the bucket, RFC 3339 in UTC.
    pub start_time: String,
    /// The endpoint.
    #[serde(default)]
    pub serverless_id: String,
    /// All that was billed, dollars: a number, or a number as text.
    pub total_amount: Value,
}

/// Why a bill cannot be used. Nothing of it is: a part would look like a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BillError {
    /// Not the beginning of a UTC day or hour.
    #[error("records[{index}].startTime is `{found}`: expected a time like 2026-05-01T00:00:00Z")]
    Time {
        /// Which record, from 0.
        index: usize,
        /// What is there.
        found: String,
    },
    /// Not an amount of money.
    #[error("records[{index}].totalAmount is {found}: expected dollars, 0 or more")]
    Amount {
        /// Which record, from 0.
        index: usize,
        /// What is there.
        found: String,
    },
}

impl BillingReply {
    /// What the endpoint was billed by UTC day, days since 1970-01-01. Records of other endpoints are left out.
    ///
    /// # Errors
    /// [`BillError`] for the first record that cannot be read.
    pub fn by_day(&self, endpoint: &str) -> Result<BTreeMap<i32, MicroUsd>, BillError> {
        let mut days: BTreeMap<i32, MicroUsd> = BTreeMap::new();
        let own =
            |record: &BillingRecord| record.serverless_id.is_empty() || record.serverless_id == endpoint;
        for (index, record) in self.records.iter().enumerate().filter(|(_, record)| own(record)) {
            let time = || BillError::Time { index, found: record.start_time.clone() };
            let day = utc_day(&record.start_time).ok_or_else(time)?;
            let wrong = || BillError::Amount { index, found: record.total_amount.to_string() };
            let amount = micro_usd(&record.total_amount).ok_or_else(wrong)?;
            let sum = days.entry(day).or_default();
            sum.0 = sum.0.saturating_add(amount);
        }
        Ok(days)
    }
}

/// Dollars into micro-dollars, to the nearest.
#[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn micro_usd(amount: &Value) -> Option<i64> {
    let dollars = amount.as_f64().or_else(|| amount.as_str().and_then(|text| text.trim().parse().ok()))?;
    (0.0..1e12).contains(&dollars).then(|| (dollars * 1e6).round() as i64)
}

/// The day of `2026-05-01T…Z`, days since 1970-01-01.
fn utc_day(time: &str) -> Option<i32> {
    let (date, clock) = time.split_once('T')?;
    if !(clock.ends_with('Z') || clock.ends_with("+00:00")) {
        return None;
    }
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    i32::try_from(day_of(year, month, day)).ok()
}
