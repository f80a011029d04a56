//! What follows once the provider has delivered, pure: whatever goes wrong from then on never starts new paid
//! work. The result is fetched and stored until it is, or until it is no longer kept anywhere.

use std::time::Duration;

use schemas::{AttemptRecord, DeliveredResult, Failure, FailureCode, Outcome};

use super::begin::Begin;

/// A delivered result is given up when its assignment was delivered so often. More than what other work is allowed:
/// each stop of a worker that waits for room counts. Below what the consumers deliver at most.
pub const DELIVERIES_MAX: i64 = 16;

/// So often a worker looks for a result that another one stores ([`LOOK_EVERY`]) before it is given up: counted in looks,
/// so that time in which the machine slept is none.
const LOOKS_MIN: u32 = 60;

/// So often a result is fetched again after its time before it is given up: a machine that slept wakes up after that time,
/// and one fetch may fail by chance.
const FETCHES_MIN: u32 = 6;

/// How often a claim is looked at whose result another worker stores.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait before a result is stored or fetched again: longer each time, up to this.
const AGAIN_MAX_MS: u64 = 5_000;
/// The first of these waits.
const AGAIN_MIN_MS: u64 = 100;

/// How long to wait after a number of failed tries.
#[must_use]
pub fn again_after(tries: u32) -> Duration {
    let doubled = AGAIN_MIN_MS.saturating_mul(1 << tries.saturating_sub(1).min(10));
    Duration::from_millis(doubled.min(AGAIN_MAX_MS))
}

/// How to go on from a claim that says what was delivered.
pub(super) fn begin(record: &AttemptRecord, result: &DeliveredResult, deliveries: i64) -> Begin {
    if deliveries > DELIVERIES_MAX {
        let why = format!("{} workers were stopped or lost while they stored it", deliveries - 1);
        return Begin::GiveUp(Box::new(given_up(result, &why)));
    }
    match (&result.spooled_by, &record.provider_id) {
        // Once more even after its time: the provider may have kept it for longer than it says.
        (None, Some(id)) => Begin::Resume(id.clone()),
        (None, None) => {
            let why = "the worker that had it in memory was lost, and the provider does not keep it";
            Begin::GiveUp(Box::new(given_up(result, why)))
        }
        (Some(_), _) => Begin::AwaitStored,
    }
}

/// What comes of a result in a spool that is waited for no longer: its time is over, and its worker has had some time in
/// which this one was awake. A machine that slept has the result on its disk when it wakes up, whatever the clock says.
pub(super) fn waited_enough(result: &DeliveredResult, looks: u32, now_ms: i64) -> Option<Outcome> {
    let worker = result.spooled_by.as_ref()?;
    let is_over = now_ms >= result.kept_until_ms && looks >= LOOKS_MIN;
    let why = || format!("it lay in the spool of {worker}, which did not store it in time");
    is_over.then(|| given_up(result, &why()))
}

/// The outcome of an attempt whose result was delivered and cannot be had any more: charged once, never repeated.
#[must_use]
pub fn given_up(result: &DeliveredResult, why: &str) -> Outcome {
    let message = format!("the provider delivered the result, and it was not stored: {why}");
    Outcome {
        usage: result.usage.clone(),
        provider_id: result.provider_id.clone(),
        failure: Some(Failure::new(FailureCode::NotStored, message)),
        ..Outcome::default()
    }
}

/// What follows when an attempt ended after its delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum After {
    /// It ended so.
    Settle(Box<Outcome>),
    /// Fetch and store it again by the provider's id.
    Again,
}

/// Decides what follows. `is_resumable` says that the provider has the result under an id; `tries` says how often it was
/// fetched again.
#[must_use]
pub fn after(
    outcome: Outcome,
    result: &DeliveredResult,
    is_resumable: bool,
    tries: u32,
    now_ms: i64,
) -> After {
    use FailureCode as Code;
    let outcome = charged(outcome, result);
    let Some(failure) = &outcome.failure else { return After::Settle(Box::new(outcome)) };
    match failure.code {
        // The attempt is ended from outside, or fetching it again gives the same.
        Code::Cancelled
        | Code::Expired
        | Code::Interrupted
        | Code::InvalidJob
        | Code::ContentRefused
        | Code::UnusableResult
        | Code::NotStored
        | Code::TooNew
        | Code::Poison => After::Settle(Box::new(outcome)),
        Code::CapabilityMissing
        | Code::OutOfMemory
        | Code::RateLimited
        | Code::QuotaExhausted
        | Code::Transient
        | Code::BackendDown
        | Code::ProviderStopped
        | Code::Timeout
        | Code::OutcomeUnknown
        | Code::Unknown => {
            if is_resumable && (now_ms < result.kept_until_ms || tries < FETCHES_MIN) {
                return After::Again;
            }
            let mut lost = given_up(result, &failure.message).failure;
            if let (Some(lost), Some(words)) = (&mut lost, &failure.provider_words) {
                lost.provider_words = Some(words.clone());
            }
            After::Settle(Box::new(Outcome { failure: lost, artifacts: Vec::new(), ..outcome }))
        }
    }
}

/// The delivery states what it cost; an end without usage does not make that unknown again.
#[must_use]
pub fn charged(mut outcome: Outcome, result: &DeliveredResult) -> Outcome {
    if outcome.usage.is_empty() {
        outcome.usage.clone_from(&result.usage);
    }
    if outcome.provider_id.is_none() {
        outcome.provider_id.clone_from(&result.provider_id);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use schemas::{AttemptState, Unit, Usage, samples};

    use super::*;

    fn result(spooled: bool) -> DeliveredResult {
        DeliveredResult {
            at_ms: 1_000,
            kept_until_ms: 2_000,
            spooled_by: spooled.then(|| samples::offer().worker),
            usage: vec![Usage { unit: Unit::ExecutionMs, quantity: 5 }],
            provider_id: None,
        }
    }

    fn failed(code: FailureCode) -> Outcome {
        Outcome { failure: Some(Failure::new(code, "x")), ..Outcome::default() }
    }

    #[test]
    fn a_delivered_result_is_fetched_again_or_given_up_and_never_made_again() {
        let ends = [
            FailureCode::Cancelled,
            FailureCode::Expired,
            FailureCode::Interrupted,
            FailureCode::InvalidJob,
            FailureCode::ContentRefused,
            FailureCode::UnusableResult,
            FailureCode::NotStored,
            FailureCode::TooNew,
            FailureCode::Poison,
        ];
        for code in FailureCode::ALL {
            let (early, late) = (1_500, 2_000);
            let code_of = |after| match after {
                After::Settle(outcome) => {
                    assert!(!outcome.usage.is_empty(), "{code:?} forgets what was counted");
                    outcome.failure.map(|failure| failure.code)
                }
                After::Again => None,
            };
            let of = |is_resumable, tries, now_ms| {
                code_of(after(failed(code), &result(false), is_resumable, tries, now_ms))
            };
            let in_time = of(true, 900, early);
            // It slept meanwhile: a few more fetches, then no more.
            let slept = of(true, FETCHES_MIN - 1, late);
            let too_late = of(true, FETCHES_MIN, late);
            let direct = of(false, 0, early);
            if ends.contains(&code) {
                assert_eq!([in_time, slept, too_late, direct], [Some(code); 4], "{code:?}");
            } else {
                let lost = Some(FailureCode::NotStored);
                assert_eq!([in_time, slept, too_late, direct], [None, None, lost, lost], "{code:?}");
            }
        }
        let ok = after(Outcome::default(), &result(false), true, 0, 9_000);
        assert!(matches!(&ok, After::Settle(outcome) if outcome.failure.is_none()), "{ok:?}");
    }

    #[test]
    fn a_claim_that_says_what_was_delivered_decides() {
        let started = samples::attempt_record();
        let kept = |id: Option<&str>, spooled| AttemptRecord {
            state: if id.is_some() { AttemptState::Started } else { AttemptState::Intent },
            provider_id: id.map(str::to_owned),
            delivered: Some(result(spooled)),
            ..started.clone()
        };
        let begin = |record: &AttemptRecord, deliveries, now_ms| {
            crate::worker::machine::begin_from(record, deliveries, now_ms)
        };
        let resumed = Begin::Resume("a".to_owned());
        assert_eq!(begin(&kept(Some("a"), false), 2, 1_500), resumed);
        assert_eq!(begin(&kept(Some("a"), false), 9, 9_000), resumed, "once more, and no poison");
        assert_eq!(begin(&kept(None, true), 9, 9_000), Begin::AwaitStored, "however old");
        for (record, deliveries, now_ms) in [
            (kept(None, true), DELIVERIES_MAX + 1, 1_500),
            (kept(None, false), 2, 1_500),
            (kept(Some("a"), false), DELIVERIES_MAX + 1, 1_500),
        ] {
            let Begin::GiveUp(outcome) = begin(&record, deliveries, now_ms) else {
                panic!("{record:?} is not given up")
            };
            assert_eq!(outcome.failure.map(|failure| failure.code), Some(FailureCode::NotStored));
            assert!(!outcome.usage.is_empty(), "charged by what was counted");
        }
    }

    #[test]
    fn a_spooled_result_is_given_up_once_its_time_is_over_and_its_worker_had_time() {
        let given_up = |looks, now_ms| waited_enough(&result(true), looks, now_ms);
        for (looks, now_ms) in [(0, 1_500), (LOOKS_MIN, 1_999), (0, 90_000), (LOOKS_MIN - 1, i64::MAX)] {
            assert_eq!(given_up(looks, now_ms), None, "{looks} looks, at {now_ms}");
        }
        let outcome = given_up(LOOKS_MIN, 2_000).expect("given up");
        assert_eq!(outcome.failure.map(|failure| failure.code), Some(FailureCode::NotStored));
        assert!(!outcome.usage.is_empty(), "charged by what was counted");
        assert_eq!(waited_enough(&result(false), LOOKS_MIN, 2_000), None, "it lies in no spool");
    }

    #[test]
    fn waits_grow_and_end() {
        assert_eq!(again_after(1), Duration::from_millis(100));
        assert_eq!(again_after(2), Duration::from_millis(200));
        assert_eq!(again_after(u32::MAX), Duration::from_millis(AGAIN_MAX_MS));
    }
}
