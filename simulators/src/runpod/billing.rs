//! The billing call of the management API: `GET /v2/billing/serverless`.
//!
//! The shape is that of the provider's OpenAPI document, version 2 (`https://api.runpod.io/v2`, "Get serverless billing
//! history"): records by endpoint and bucket, amounts in dollars. Version 1 (`rest.runpod.io/v1/billing/endpoints`) was
//! retired on 2026-11-15 and is not served.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Endpoint;
use crate::clock;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Where no start is given, milliseconds.
const DEFAULT_SPAN_MS: u64 = 30 * DAY_MS;

/// An error as the management API writes it.
fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({"title": title, "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// The time of `2026-05-01T00:00:00Z`, Unix milliseconds; other offsets are not read.
fn time_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(['.', ':']).map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Days from civil, on the proleptic Gregorian calendar.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000)
}

/// `serverlessId`, `bucketSize` (`hour` or `day`), `startTime` and `endTime`, or `lastN`.
pub(super) async fn serverless(
    State(endpoint): State<Arc<Endpoint>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The management API takes no bare key.
    if key.strip_prefix("Bearer ") != Some(endpoint.config.api_key.as_str()) {
        endpoint.admin.count_auth_failure();
        return problem(StatusCode::UNAUTHORIZED, "Unauthorized", "missing bearer token");
    }
    if endpoint.admin.take("billing_503").is_some() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "try again later");
    }
    let bucket_ms = match query.get("bucketSize").map(String::as_str) {
        None | Some("day") => DAY_MS,
        Some("hour") => HOUR_MS,
        Some(_) => return problem(StatusCode::BAD_REQUEST, "Bad Request", "bucketSize: day or hour"),
    };
    let now_ms = clock::now_ms();
    let last = query.get("lastN").and_then(|count| count.parse::<u64>().ok()).filter(|count| *count > 0);
    if query.contains_key("lastN") && (last.is_none() || query.contains_key("startTime")) {
        return problem(
            StatusCode::BAD_REQUEST,
            "Bad Request",
            "lastN: a count, without startTime and endTime",
        );
    }
    let given = |name: &str| query.get(name).map(|text| time_ms(text));
    let (from_ms, until_ms) = match (last, given("startTime"), given("endTime")) {
        (_, Some(None), _) | (_, _, Some(None)) => {
            return problem(StatusCode::BAD_REQUEST, "Bad Request", "startTime, endTime: RFC 3339, in UTC");
        }
        (Some(count), _, _) => ((now_ms / bucket_ms + 1).saturating_sub(count) * bucket_ms, u64::MAX),
        (None, from_ms, until_ms) => (
            // Snapped to the bucket's bounds.
            from_ms.flatten().unwrap_or(now_ms.saturating_sub(DEFAULT_SPAN_MS)) / bucket_ms * bucket_ms,
            until_ms.flatten().map_or(u64::MAX, |ms| ms.div_ceil(bucket_ms) * bucket_ms),
        ),
    };
    let wanted = query.get("serverlessId").is_none_or(|id| *id == endpoint.config.endpoint_id);
    let buckets = endpoint.sessions.seconds(bucket_ms, now_ms, endpoint.scale).into_iter();
    let buckets = buckets.filter(|(at_ms, _)| wanted && (from_ms..until_ms).contains(at_ms));
    let records: Vec<Value> =
        buckets.map(|(at_ms, seconds)| endpoint.record(at_ms, bucket_ms, seconds)).collect();
    let total: f64 = records.iter().filter_map(|record| record["totalAmount"].as_f64()).sum();
    let metadata = json!({"query": query, "recordCount": records.len(), "totals": {"totalAmount": total}});
    Json(json!({"records": records, "metadata": metadata})).into_response()
}

impl Endpoint {
    fn record(&self, at_ms: u64, bucket_ms: u64, seconds: u64) -> Value {
        let amount = (seconds * self.config.rate_micro_usd_per_s) as f64 / 1e6;
        json!({"startTime": clock::rfc3339(at_ms), "endTime": clock::rfc3339(at_ms + bucket_ms),
            "serverlessId": self.config.endpoint_id, "totalAmount": amount, "gpuAmount": amount,
            "cpuAmount": 0.0, "diskAmount": 0.0, "feeAmount": 0.0})
    }
}

#[cfg(test)]
mod tests {
    use super::time_ms;

    #[test]
    fn times_are_read_as_they_are_written() {
        for ms in [0, 951_782_400_000, 1_795_428_000_000, 1_709_251_199_000] {
            assert_eq!(time_ms(&crate::clock::rfc3339(ms)), Some(ms));
        }
        for text in ["", "2026-05-01", "2026-05-01T00:00:00+02:00", "2026-13-01T00:00:00Z", "x-y-zT0:0:0Z"] {
            assert_eq!(time_ms(text), None, "{text}");
        }
    }
}
