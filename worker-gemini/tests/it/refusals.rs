//! Errors of HTTP, in all their shapes.

use schemas::FailureCode::{
    self, BackendDown, CapabilityMissing, InvalidJob, NotStored, OutcomeUnknown, ProviderStopped,
    QuotaExhausted, RateLimited, Transient,
};
use serde_json::{Value, json};
use worker_gemini::gemini::errors::{self, CallError, refused, start_failure, until_pacific_midnight_ms};

/// 2026-11-23T10:00:00Z: two in the morning on the Pacific coast.
const NOW_MS: i64 = 1_795_428_000_000;
const HOUR_MS: u64 = 3_600_000;

fn rpc(code: u16, status: &str, message: &str, details: &Value) -> String {
    json!({"error": {"code": code, "status": status, "message": message, "details": details}}).to_string()
}

fn quota(id: &str, value: &str, delay: Option<&str>) -> String {
    let mut details = vec![
        json!({"@type": "type.googleapis.com/google.rpc.Help", "links": []}),
        json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/x", "quotaId": id, "quotaValue": value}]}),
    ];
    details.extend(
        delay.map(|delay| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})),
    );
    rpc(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", &json!(details))
}

#[test]
fn by_status_and_shape() {
    let plain = |status: u16, token: &str, message: &str| (status, rpc(status, token, message, &Value::Null));
    let key = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    let wrapped = format!("[{}]", rpc(500, "INTERNAL", "An internal error has occurred.", &Value::Null));
    let cases: Vec<((u16, String), FailureCode)> = vec![
        (plain(400, "INVALID_ARGUMENT", "image too large"), InvalidJob),
        ((400, rpc(400, "INVALID_ARGUMENT", "API key not valid. Please pass…", &key)), ProviderStopped),
        (plain(400, "INVALID_ARGUMENT", "API key not valid."), ProviderStopped),
        (plain(400, "FAILED_PRECONDITION", "User location is not supported"), ProviderStopped),
        (plain(400, "INVALID_ARGUMENT", "This model only supports Interactions API."), CapabilityMissing),
        ((400, json!({"error": {"code": "invalid_request", "message": "odd"}}).to_string()), InvalidJob),
        (plain(401, "UNAUTHENTICATED", "x"), ProviderStopped),
        (plain(403, "PERMISSION_DENIED", "x"), ProviderStopped),
        ((302, String::new()), ProviderStopped),
        (plain(404, "NOT_FOUND", "This model models/x is no longer available."), CapabilityMissing),
        (plain(408, "", "x"), OutcomeUnknown),
        (plain(409, "ABORTED", "x"), Transient),
        (plain(499, "CANCELLED", "x"), OutcomeUnknown),
        (plain(500, "INTERNAL", "x"), Transient),
        ((500, wrapped), Transient),
        ((500, "<html>Server Error</html>".to_owned()), Transient),
        ((502, "<html>Bad Gateway</html>".to_owned()), OutcomeUnknown),
        (plain(503, "UNAVAILABLE", "The model is overloaded."), Transient),
        (plain(504, "DEADLINE_EXCEEDED", "x"), OutcomeUnknown),
        ((429, String::new()), RateLimited),
        (
            (429, json!({"error": {"code": "rate_limit_exceeded", "message": "slow"}}).to_string()),
            RateLimited,
        ),
        ((429, quota("GenerateRequestsPerMinutePerProjectPerModel", "10", Some("37s"))), RateLimited),
        ((429, quota("GenerateRequestsPerDayPerProjectPerModel", "250", None)), QuotaExhausted),
        ((429, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "0", None)), ProviderStopped),
        ((429, quota("GenerateRequestsPerMinutePerProjectPerModel", "0", Some("1s"))), ProviderStopped),
        (plain(429, "RESOURCE_EXHAUSTED", "limit: 0, model: x"), ProviderStopped),
        (
            plain(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."),
            ProviderStopped,
        ),
    ];
    for ((status, body), code) in cases {
        let failure = refused(status, &body, None, "some-model", NOW_MS);
        assert_eq!(failure.code, code, "{status} {body}");
        assert!(!failure.message.is_empty());
    }
    let gone = refused(404, "{}", None, "some-model", NOW_MS);
    assert_eq!(gone.missing, ["some-model"]);
}

#[test]
fn waits_are_read() {
    let wait = |status, body: &str, header| refused(status, body, header, "m", NOW_MS).retry_after_ms;
    let minute = |delay| quota("GenerateRequestsPerMinutePerProjectPerModel", "10", delay);
    assert_eq!(wait(429, &minute(Some("37s")), None), Some(37_000));
    assert_eq!(wait(429, &minute(Some("3.957525076s")), None), Some(3_958));
    assert_eq!(wait(429, &minute(Some("0.5s")), None), Some(500));
    assert_eq!(wait(429, &minute(Some("soon")), None), Some(60_000));
    assert_eq!(wait(429, &minute(None), None), Some(60_000));
    assert_eq!(wait(429, &minute(None), Some(5_000)), Some(5_000));
    let worded = rpc(429, "RESOURCE_EXHAUSTED", "… Please retry in 36.9s.", &Value::Null);
    assert_eq!(wait(429, &worded, None), Some(36_900));
    let overloaded = rpc(503, "UNAVAILABLE", "x", &json!([{"retryDelay": "9s"}]));
    assert_eq!(wait(503, &overloaded, None), Some(9_000));
    assert_eq!(wait(503, "", None), None);
    let day = quota("GenerateRequestsPerDayPerProjectPerModel", "250", None);
    assert_eq!(wait(429, &day, None), Some(22 * HOUR_MS));
}

#[test]
fn midnight_on_the_pacific_coast() {
    assert_eq!(until_pacific_midnight_ms(NOW_MS), 22 * HOUR_MS);
    let midnight = NOW_MS + 22 * 3_600_000;
    assert_eq!(until_pacific_midnight_ms(midnight - 1), 1);
    assert_eq!(until_pacific_midnight_ms(midnight), 24 * HOUR_MS);
}

#[test]
fn calls_without_an_answer() {
    let failure = |error: &CallError| start_failure(error, "m", NOW_MS).code;
    assert_eq!(failure(&CallError::NotSent("refused".to_owned())), BackendDown);
    assert_eq!(failure(&CallError::Lost("reset".to_owned())), OutcomeUnknown);
    assert_eq!(failure(&CallError::Unreadable("half".to_owned())), OutcomeUnknown);
    assert_eq!(
        failure(&CallError::TooLarge(1)),
        NotStored,
        "delivered, and larger than anything that is kept"
    );
}

#[test]
fn odd_bodies_are_no_panic() {
    for body in
        ["", "[]", "null", "[1]", "{\"error\": \"text\"}", "{\"error\": {\"details\": 3}}", "\u{fffd}"]
    {
        let said = errors::said(body);
        assert!(said.retry_after_ms.is_none(), "{body}");
    }
    assert_eq!(errors::said("{\"error\": \"text\"}").message, "text");
}
