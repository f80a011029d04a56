//! A provider's breakers: each speaks for its model and its kind of failure, and for nothing else.

use policy::breakers::{Breakers, Success};
use policy::defaults;
use schemas::breaker::BreakerKind;
use schemas::{AttemptFacts, Backend, FailureCode, JobId};

use crate::world::{NOW_MS, failed, name};

fn fails(breakers: &mut Breakers, model: &str, code: FailureCode, at_ms: i64) -> Option<BreakerKind> {
    let facts = AttemptFacts { model: model.to_owned(), ..failed(1, "gemini", code, 0) };
    let record = breakers.on_failure(JobId::new(), &facts, &defaults::policy(), at_ms)?;
    assert_eq!((record.time_ms, record.backend), (at_ms, name("gemini")));
    Some(record.kind)
}

fn succeeds(breakers: &mut Breakers, model: &str, begun_ms: i64) -> Vec<BreakerKind> {
    let backend: Backend = name("gemini");
    let success = Success { backend: &backend, model, begun_ms };
    breakers.on_success(&success, begun_ms + 1_000).into_iter().map(|record| record.kind).collect()
}

#[test]
fn a_quota_of_one_model_keeps_no_other_out_and_no_success_from_before_ends_it() {
    let mut breakers = Breakers::default();
    assert_eq!(
        fails(&mut breakers, "picture", FailureCode::QuotaExhausted, NOW_MS),
        Some(BreakerKind::Quota)
    );
    let is_out = |breakers: &Breakers, model| breakers.open(Some(model), NOW_MS + 1).is_some();
    assert!(is_out(&breakers, "picture") && !is_out(&breakers, "film"));
    assert!(breakers.open(None, NOW_MS + 1).is_none(), "not the whole provider");
    // Of another model; of the same one, begun before.
    assert_eq!(succeeds(&mut breakers, "film", NOW_MS + 5), []);
    assert_eq!(succeeds(&mut breakers, "picture", NOW_MS - 5), []);
    assert!(is_out(&breakers, "picture"));
    assert_eq!(succeeds(&mut breakers, "picture", NOW_MS + 5), [BreakerKind::Quota]);
    assert_eq!(breakers, Breakers::default());
}

#[test]
fn a_refused_key_keeps_all_models_out() {
    let mut breakers = Breakers::default();
    assert_eq!(
        fails(&mut breakers, "picture", FailureCode::ProviderStopped, NOW_MS),
        Some(BreakerKind::Stopped)
    );
    assert!(["picture", "film"].iter().all(|model| breakers.open(Some(model), NOW_MS + 1).is_some()));
    assert!(breakers.open(None, NOW_MS + 1).is_some());
    assert_eq!(succeeds(&mut breakers, "film", NOW_MS + 5), [BreakerKind::Stopped]);
    assert!(!breakers.is_troubled());
}

#[test]
fn what_is_written_is_what_another_router_takes_over() {
    let (mut one, mut other) = (Breakers::default(), Breakers::default());
    let facts = AttemptFacts { model: "film".to_owned(), ..failed(1, "gemini", FailureCode::BackendDown, 0) };
    let record = one.on_failure(JobId::new(), &facts, &defaults::policy(), NOW_MS).expect("it opens");
    other.take(&record);
    let until_ms = NOW_MS + i64::try_from(defaults::policy().breaker_open_ms).expect("small");
    for breakers in [&one, &other] {
        let open = breakers.open(Some("film"), NOW_MS + 1).expect("out");
        assert_eq!(open.open_until_ms, Some(until_ms));
        assert!(open.reason.as_deref().is_some_and(|words| words.starts_with("backend_down: ")));
        assert!(!breakers.is_half_open("film", until_ms - 1) && breakers.is_half_open("film", until_ms));
        assert!(breakers.open(Some("film"), until_ms).is_none());
    }
    // Half open: one more failure opens it again, and that is written.
    assert_eq!(fails(&mut other, "film", FailureCode::Transient, until_ms), Some(BreakerKind::Failing));
    let closed = one
        .on_success(&Success { backend: &name("gemini"), model: "film", begun_ms: until_ms }, until_ms + 1);
    other.take(&closed[0]);
    assert_eq!(other, Breakers::default());
}

#[test]
fn what_stays_below_the_bound_is_not_written() {
    let mut breakers = Breakers::default();
    for _ in 1..defaults::policy().breaker_failures {
        assert_eq!(fails(&mut breakers, "picture", FailureCode::Timeout, NOW_MS), None);
    }
    assert_eq!(fails(&mut breakers, "film", FailureCode::Timeout, NOW_MS), None, "counts are by model");
    assert_eq!(fails(&mut breakers, "picture", FailureCode::Timeout, NOW_MS), Some(BreakerKind::Failing));
    assert_eq!(fails(&mut breakers, "picture", FailureCode::ContentRefused, NOW_MS), None);
}
