//! The worker's decisions, pure: what to do with a delivery, and what follows from an outcome.
//!
//! The host carries these out and decides nothing itself; the simulation runs them without a broker.

use schemas::{Assignment, topology};
use schemas::{
    AttemptFacts, AttemptRecord, AttemptState, Charge, DeadLetter, Failure, FailureCode, MicroUsd, Outcome,
    SCHEMA_VERSION, WorkerId,
};

pub use super::begin::Begin;
use super::delivered;

/// A claim without a provider's id is left alone for this time after it was made: its maker may be slow
/// rather than dead, and about to record the id. Twice the time after which the broker redelivers.
pub const INTENT_SETTLES_MS: i64 = 2 * topology::WORK_ACK_WAIT_MS as i64;

/// A claim this young is certainly still its maker's, who may call the provider on it; an older one is
/// renewed first.
pub const CLAIM_YOUNG_MS: i64 = INTENT_SETTLES_MS / 6;

/// See [`CLAIM_YOUNG_MS`].
#[must_use]
pub const fn is_young(record: &AttemptRecord, now_ms: i64) -> bool {
    now_ms < record.claimed_at_ms.saturating_add(CLAIM_YOUNG_MS)
}

/// For how long after the claim was made a provider may report an attempt, milliseconds: as long as it may take
/// there, waiting included.
#[must_use]
pub const fn reported_within_ms(timeout_ms: u64) -> u64 {
    timeout_ms.saturating_mul(2)
}

/// Whether a provider may still be about to report an attempt.
#[must_use]
pub fn may_be_reported(record: &AttemptRecord, timeout_ms: u64, now_ms: i64) -> bool {
    now_ms < record.claimed_at_ms.saturating_add_unsigned(reported_within_ms(timeout_ms))
}

/// What is known of a delivery before anything is done about it.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// How often the broker has delivered it, this time included.
    pub delivered: i64,
    /// There is a request to cancel the job.
    pub cancelled: bool,
    /// Its deadline passed.
    pub expired: bool,
    /// It costs money, so it is guarded by a claim.
    pub paid: bool,
}

/// Looks at a delivery before the claim: a failure ends the attempt unstarted.
///
/// Paid work may be running at the provider or be over, even on its first delivery: this one may have lain
/// in a worker that was paused while others went on. So only the claim shows that it never began.
#[must_use]
pub fn first_look(delivery: Delivery) -> Option<Failure> {
    if delivery.paid { None } else { unbegun(delivery) }
}

/// What ends an attempt that certainly never began.
#[must_use]
pub fn unbegun(delivery: Delivery) -> Option<Failure> {
    if let Some(poison) = poison(delivery.delivered) {
        return Some(poison);
    }
    if delivery.cancelled {
        return Some(Failure::new(FailureCode::Cancelled, "cancelled before it started"));
    }
    delivery.expired.then(|| Failure::new(FailureCode::Expired, "its deadline passed before it started"))
}

/// The failure of a job that was delivered so often without an outcome that it must be what kills its
/// workers.
#[must_use]
pub fn poison(delivered: i64) -> Option<Failure> {
    (delivered > topology::POISON_DELIVERIES).then(|| {
        let lost = delivered - 1;
        Failure::new(FailureCode::Poison, format!("{lost} workers were lost with this job: it is put aside"))
    })
}

/// Decides by the claim that another delivery left behind.
#[must_use]
pub fn begin_from(record: &AttemptRecord, delivered: i64, now_ms: i64) -> Begin {
    if let (AttemptState::Settled, Some(outcome)) = (record.state, &record.outcome) {
        return Begin::Retell(Box::new(outcome.clone()));
    }
    if let Some(result) = &record.delivered {
        return delivered::begin(record, result, delivered);
    }
    if let Some(poison) = poison(delivered) {
        return match &record.provider_id {
            // What the provider knows is asked for first, unless asking is what kills.
            Some(id) if delivered <= delivered::DELIVERIES_MAX => Begin::StopThere(id.clone()),
            _ => Begin::Poison(poison),
        };
    }
    match (record.state, &record.provider_id) {
        (_, Some(id)) => Begin::Resume(id.clone()),
        _ => {
            let settles_at = record.claimed_at_ms + INTENT_SETTLES_MS;
            if now_ms < settles_at { Begin::Wait { after_ms: settles_at - now_ms } } else { Begin::Find }
        }
    }
}

/// What follows from an outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Announce the artifacts, then acknowledge.
    Complete(Box<AttemptFacts>),
    /// Send the failure to the router, then acknowledge.
    Dead(Box<DeadLetter>),
    /// Leave the work at the provider and the assignment to another worker.
    HandBack,
}

/// What is known when an attempt ended.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// What was assigned.
    pub assignment: &'a Assignment,
    /// The worker that ran it; none when it never began.
    pub worker: Option<&'a WorkerId>,
    /// The provider is a simulator.
    pub simulated: bool,
    /// When it began, Unix milliseconds; none when it never did.
    pub started_at_ms: Option<i64>,
    /// When it ended, Unix milliseconds.
    pub finished_at_ms: i64,
    /// What the backend said.
    pub outcome: &'a Outcome,
    /// What its usage costs by the price list; none when the list has no price for it.
    pub price_micro_usd: Option<MicroUsd>,
    /// The provider may have been called: a claim was made and the work was not refused unstarted.
    pub called: bool,
}

/// Decides what follows.
#[must_use]
pub fn settle(ended: &Ended<'_>) -> Settlement {
    let outcome = ended.outcome;
    let code = outcome.failure.as_ref().map(|failure| failure.code);
    let resumable = ended.assignment.is_paid() && outcome.provider_id.is_some();
    if code == Some(FailureCode::Interrupted) && resumable {
        return Settlement::HandBack;
    }
    if code.is_none() {
        return Settlement::Complete(Box::new(facts(ended)));
    }
    Settlement::Dead(Box::new(dead_letter(ended)))
}

/// The message to the routers about an attempt that failed.
#[must_use]
pub fn dead_letter(ended: &Ended<'_>) -> DeadLetter {
    DeadLetter {
        schema_version: SCHEMA_VERSION,
        time_ms: ended.finished_at_ms,
        assignment: ended.assignment.clone(),
        ended_attempt: facts(ended),
    }
}

fn facts(ended: &Ended<'_>) -> AttemptFacts {
    let outcome = ended.outcome;
    AttemptFacts {
        attempt: ended.assignment.attempt,
        backend: ended.assignment.backend.clone(),
        class: ended.assignment.class.clone(),
        model: ended.assignment.model.clone(),
        worker: ended.worker.cloned(),
        simulated: ended.simulated,
        assigned_at_ms: ended.assignment.time_ms,
        started_at_ms: outcome.ran.as_ref().map(|ran| ran.started_at_ms).or(ended.started_at_ms),
        finished_at_ms: outcome.ran.as_ref().map_or(ended.finished_at_ms, |ran| ran.ended_at_ms),
        provider_id: outcome.provider_id.clone(),
        usage: outcome.usage.clone(),
        charge: charge(ended),
        energy_mj: outcome.energy_mj,
        failure: outcome.failure.clone(),
        decision: ended.assignment.decision.clone(),
    }
}

/// What the attempt cost. Where the provider did not say and may have billed, the whole reservation is
/// booked as possibly paid: a missing figure is never taken for zero.
fn charge(ended: &Ended<'_>) -> Charge {
    if !ended.assignment.is_paid() {
        return Charge::VOIDED;
    }
    let outcome = ended.outcome;
    let unclear = Charge::possibly_paid(ended.assignment.reserved_micro_usd);
    if !outcome.usage.is_empty() {
        return ended.price_micro_usd.map_or(unclear, Charge::posted);
    }
    let code = outcome.failure.as_ref().map(|failure| failure.code);
    if may_be_billed(code, outcome.provider_id.is_some(), ended.called) { unclear } else { Charge::VOIDED }
}

/// Whether the provider may send a bill for an attempt for which it stated no usage.
fn may_be_billed(code: Option<FailureCode>, taken: bool, called: bool) -> bool {
    use FailureCode as Code;
    match code {
        None | Some(Code::OutcomeUnknown) => true,
        // It did the work, so it may bill it.
        Some(Code::UnusableResult | Code::NotStored) => called,
        // Stopped while the provider was at it, without a word about the cost.
        Some(Code::Cancelled | Code::Timeout | Code::Expired | Code::Poison) => called,
        // It refused: what it does not do it does not bill.
        Some(
            Code::InvalidJob
            | Code::ContentRefused
            | Code::CapabilityMissing
            | Code::RateLimited
            | Code::QuotaExhausted
            | Code::ProviderStopped
            | Code::TooNew,
        ) => false,
        // It failed on the way: after the provider had taken it on, some time may be billed.
        Some(Code::OutOfMemory | Code::Transient | Code::BackendDown | Code::Interrupted | Code::Unknown) => {
            called && taken
        }
    }
}

/// A moving average of run times that follows changes within a few runs and forgives one outlier.
#[must_use]
pub fn learn(learned_ms: Option<u64>, run_ms: u64) -> u64 {
    learned_ms.map_or(run_ms, |learned| (learned * 3 + run_ms) / 4)
}

#[cfg(test)]
mod tests {
    use schemas::{ChargeState, Usage, samples};

    use super::*;

    fn delivery(delivered: i64, cancelled: bool, expired: bool, paid: bool) -> Delivery {
        Delivery { delivered, cancelled, expired, paid }
    }

    #[test]
    fn first_look_table() {
        use FailureCode::{Cancelled, Expired, Poison};
        let cases = [
            (delivery(1, false, false, false), None),
            (delivery(1, true, false, false), Some(Cancelled)),
            (delivery(1, false, true, false), Some(Expired)),
            (delivery(1, true, true, true), None),
            (delivery(2, true, false, false), Some(Cancelled)),
            (delivery(2, true, true, true), None),
            (delivery(3, false, false, true), None),
            (delivery(4, false, false, true), None),
            (delivery(4, false, false, false), Some(Poison)),
            (delivery(4, true, false, false), Some(Poison)),
        ];
        for (case, code) in cases {
            assert_eq!(first_look(case).map(|failure| failure.code), code, "{case:?}");
        }
    }

    #[test]
    fn a_claim_left_behind_decides() {
        let started = samples::attempt_record();
        assert_eq!(begin_from(&started, 2, 0), Begin::Resume("c80f-u1".to_owned()));
        let stopped = Begin::StopThere("c80f-u1".to_owned());
        for deliveries in 4..=delivered::DELIVERIES_MAX {
            assert_eq!(begin_from(&started, deliveries, 0), stopped, "the provider knows what it cost");
        }
        let too_often = delivered::DELIVERIES_MAX + 1;
        assert!(matches!(begin_from(&started, too_often, 0), Begin::Poison(_)), "asking kills as well");
        let nameless = AttemptRecord { provider_id: None, ..started.clone() };
        assert!(matches!(begin_from(&nameless, 4, 0), Begin::Poison(_)));
        let intent =
            AttemptRecord { state: AttemptState::Intent, provider_id: None, claimed_at_ms: 1_000, ..started };
        assert_eq!(begin_from(&intent, 2, 1_500), Begin::Wait { after_ms: INTENT_SETTLES_MS - 500 });
        assert_eq!(begin_from(&intent, 3, 1_000 + INTENT_SETTLES_MS), Begin::Find);
        let outcome = Outcome::default();
        let settled =
            AttemptRecord { state: AttemptState::Settled, outcome: Some(outcome.clone()), ..intent };
        assert_eq!(begin_from(&settled, 2, 0), Begin::Retell(Box::new(outcome.clone())));
        assert_eq!(
            begin_from(&settled, 4, 0),
            Begin::Retell(Box::new(outcome)),
            "what is known is told, however late"
        );
    }

    fn charged(paid: bool, outcome: &Outcome, price: Option<i64>, called: bool) -> Option<Charge> {
        let reserved_micro_usd = MicroUsd(if paid { 900 } else { 0 });
        let assignment = Assignment { reserved_micro_usd, ..samples::assignment() };
        let ended = Ended {
            assignment: &assignment,
            worker: Some(&samples::offer().worker),
            simulated: false,
            started_at_ms: Some(1),
            finished_at_ms: 2,
            outcome,
            price_micro_usd: price.map(MicroUsd),
            called,
        };
        match settle(&ended) {
            Settlement::Complete(facts) => Some(facts.charge),
            Settlement::Dead(letter) => Some(letter.ended_attempt.charge),
            Settlement::HandBack => None,
        }
    }

    #[test]
    fn an_attempt_s_times_are_those_of_its_provider_where_it_says_them() {
        let times = |ran| {
            let outcome = Outcome { ran, ..Outcome::default() };
            let assignment = samples::assignment();
            let facts = facts(&Ended {
                assignment: &assignment,
                worker: None,
                simulated: false,
                started_at_ms: Some(1),
                finished_at_ms: 30,
                outcome: &outcome,
                price_micro_usd: None,
                called: true,
            });
            (facts.started_at_ms, facts.finished_at_ms)
        };
        assert_eq!(times(None), (Some(1), 30));
        let ran = schemas::RunSpan { started_at_ms: 20, ended_at_ms: 21 };
        assert_eq!(times(Some(Box::new(ran))), (Some(20), 21), "behind foreign prompts, and stored slowly");
    }

    #[test]
    fn charges_table() {
        let usage = vec![Usage { unit: schemas::Unit::ExecutionMs, quantity: 5 }];
        let ok = Outcome::default();
        let used = Outcome { usage, ..Outcome::default() };
        let failed = |code| Outcome { failure: Some(Failure::new(code, "x")), ..Outcome::default() };
        let unclear = Charge::possibly_paid(MicroUsd(900));
        let cases = [
            (charged(false, &ok, None, true), Charge::VOIDED),
            (charged(true, &used, Some(7), true), Charge::posted(MicroUsd(7))),
            (charged(true, &used, None, true), unclear),
            (charged(true, &ok, Some(0), true), unclear),
            (charged(true, &failed(FailureCode::OutcomeUnknown), None, true), unclear),
            (charged(true, &failed(FailureCode::Timeout), None, true), unclear),
            (charged(true, &failed(FailureCode::UnusableResult), None, true), unclear),
            (charged(true, &failed(FailureCode::NotStored), None, true), unclear),
            (charged(true, &failed(FailureCode::Cancelled), None, false), Charge::VOIDED),
            (charged(true, &failed(FailureCode::RateLimited), None, true), Charge::VOIDED),
            (charged(true, &failed(FailureCode::ContentRefused), None, true), Charge::VOIDED),
        ];
        let taken = |code| Outcome { provider_id: Some("id".to_owned()), ..failed(code) };
        let cases = cases.into_iter().chain([
            (charged(true, &taken(FailureCode::Transient), None, true), unclear),
            (charged(true, &failed(FailureCode::Transient), None, true), Charge::VOIDED),
            (charged(true, &taken(FailureCode::ContentRefused), None, true), Charge::VOIDED),
        ]);
        for (case, (found, expected)) in cases.enumerate() {
            assert_eq!(found, Some(expected), "case {case}");
            assert_ne!(expected.state, ChargeState::Pending);
        }
    }

    #[test]
    fn paid_work_that_can_be_resumed_is_handed_back() {
        let mut interrupted = Outcome {
            failure: Some(Failure::new(FailureCode::Interrupted, "stopping")),
            provider_id: Some("id".to_owned()),
            ..Outcome::default()
        };
        assert_eq!(charged(true, &interrupted, None, true), None);
        interrupted.provider_id = None;
        assert_eq!(charged(true, &interrupted, None, true), Some(Charge::VOIDED));
    }

    #[test]
    fn learning_follows_and_forgives() {
        assert_eq!(learn(None, 800), 800);
        assert_eq!(learn(Some(800), 1_200), 900);
    }
}
