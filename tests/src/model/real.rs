//! From the model's small states to the real records and outcomes, and the real machine's word on them.

use std::collections::HashMap;

use protocol::worker::delivered::DELIVERIES_MAX;
use protocol::worker::machine::{self, Begin, Ended, INTENT_SETTLES_MS, Settlement};
use schemas::{
    Assignment, AttemptRecord, AttemptState, Charge, DeliveredResult, Failure, FailureCode, MicroUsd,
    Outcome, Unit, Usage, WorkerId, samples,
};

use crate::model::check;
use crate::model::claim::{Claim, DELIVERED_MAX, Out};

/// What is reserved for the attempt.
const RESERVED: MicroUsd = MicroUsd(900);
/// What a run costs.
const PRICE: MicroUsd = MicroUsd(7);

/// How the machine goes on from a claim, without what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Wait,
    Retell,
    Poison,
    Resume,
    Find,
    AwaitStored,
    GiveUp,
}

/// What `machine::begin_from` says to every claim and number of deliveries, right after the claim was made
/// and long after: asked once, looked up a million times.
pub(super) struct Begins(HashMap<(Claim, u8), [Begun; 2]>);

impl Begins {
    pub(super) fn of_the_machine() -> Self {
        let claims = check::outs().into_iter().map(Claim::Settled);
        let claims = claims.chain([Claim::Intent]);
        let runs = [1, 2].into_iter();
        let claims =
            claims.chain(runs.flat_map(|id| [Claim::Started(id), Claim::Delivered(id), Claim::Spooled(id)]));
        let asked = claims.flat_map(|claim| (1..=DELIVERED_MAX).map(move |delivered| (claim, delivered)));
        Self(asked.map(|(claim, delivered)| ((claim, delivered), begun(claim, delivered))).collect())
    }

    /// Early, late.
    pub(super) fn from(&self, claim: Claim, delivered: u8) -> [Begun; 2] {
        self.0[&(claim, delivered)]
    }
}

fn begun(claim: Claim, delivered: u8) -> [Begun; 2] {
    let record = record(claim);
    // Deliveries are counted up to the bound of work that was not delivered. The larger bound of what was is reached
    // with it, so that there is an end to what is explored.
    let deliveries = match claim {
        Claim::Started(_) | Claim::Delivered(_) | Claim::Spooled(_) if delivered == DELIVERED_MAX => {
            DELIVERIES_MAX + 1
        }
        _ => delivered.into(),
    };
    [0, INTENT_SETTLES_MS].map(|age_ms| {
        match machine::begin_from(&record, deliveries, record.claimed_at_ms + age_ms) {
            Begin::Wait { .. } => Begun::Wait,
            Begin::Retell(outcome) => {
                assert_eq!(Some(*outcome), record.outcome, "told again as it was");
                Begun::Retell
            }
            Begin::Poison(_) => Begun::Poison,
            Begin::StopThere(_) => unreachable!("its deliveries are not explored"),
            Begin::Resume(id) => {
                assert_eq!(Some(id), record.provider_id, "resumed by its own id");
                Begun::Resume
            }
            Begin::Find => Begun::Find,
            Begin::AwaitStored => Begun::AwaitStored,
            Begin::GiveUp(outcome) => {
                let code = outcome.failure.map(|failure| failure.code);
                assert_eq!(code, Some(FailureCode::NotStored), "given up as what it is");
                Begun::GiveUp
            }
        }
    })
}

/// The claim's record.
fn record(claim: Claim) -> AttemptRecord {
    let record = AttemptRecord { provider_id: None, outcome: None, ..samples::attempt_record() };
    match claim {
        Claim::Intent => AttemptRecord { state: AttemptState::Intent, ..record },
        Claim::Started(id) => {
            AttemptRecord { state: AttemptState::Started, provider_id: Some(id.to_string()), ..record }
        }
        Claim::Delivered(id) => AttemptRecord {
            state: AttemptState::Started,
            provider_id: Some(id.to_string()),
            delivered: Some(delivered(record.claimed_at_ms, None)),
            ..record
        },
        Claim::Spooled(_) => AttemptRecord {
            state: AttemptState::Intent,
            delivered: Some(delivered(record.claimed_at_ms, Some(record.worker.clone()))),
            ..record
        },
        Claim::Settled(out) => {
            AttemptRecord { state: AttemptState::Settled, outcome: Some(outcome(out)), ..record }
        }
    }
}

/// Kept for as long as a claim is young, so that early and late say the two things there are to say.
fn delivered(at_ms: i64, spooled_by: Option<WorkerId>) -> DeliveredResult {
    let kept_until_ms = at_ms + INTENT_SETTLES_MS;
    DeliveredResult { at_ms, kept_until_ms, spooled_by, usage: Vec::new(), provider_id: None }
}

/// What a failure before the claim is here.
pub(super) fn unbegun(failure: &Failure) -> Out {
    if failure.code == FailureCode::Poison { Out::Poison(None) } else { Out::CancelledUnbegun }
}

fn outcome(out: Out) -> Outcome {
    let used = |quantity| vec![Usage { unit: Unit::ExecutionMs, quantity }];
    let failed = |code| Outcome { failure: Some(Failure::new(code, "model")), ..Outcome::default() };
    let id = |id: u8| Some(id.to_string());
    match out {
        Out::Done(done) => Outcome { usage: used(5), provider_id: id(done), ..Outcome::default() },
        Out::Refused => failed(FailureCode::RateLimited),
        Out::Unknown(told) => {
            Outcome { provider_id: told.and_then(id), ..failed(FailureCode::OutcomeUnknown) }
        }
        Out::Poison(told) => Outcome { provider_id: told.and_then(id), ..failed(FailureCode::Poison) },
        Out::NotStored(lost) => {
            Outcome { usage: used(5), provider_id: id(lost), ..failed(FailureCode::NotStored) }
        }
        Out::CancelledUnbegun => failed(FailureCode::Cancelled),
        Out::CancelledBefore => Outcome { usage: used(0), ..failed(FailureCode::Cancelled) },
        Out::CancelledAt(at) => {
            Outcome { usage: used(5), provider_id: id(at), ..failed(FailureCode::Cancelled) }
        }
    }
}

/// Whether an outcome books money, by `machine::settle`.
pub(super) struct Charges(HashMap<(Out, bool), bool>);

impl Charges {
    /// Asks the machine about every outcome once.
    pub(super) fn of_the_machine() -> Self {
        let asked = check::outs().into_iter().flat_map(|out| [(out, false), (out, true)]);
        Self(asked.map(|(out, called)| ((out, called), charge(out, called).amount_micro_usd.0 > 0)).collect())
    }

    pub(super) fn books(&self, out: Out, called: bool) -> bool {
        self.0[&(out, called)]
    }
}

fn charge(out: Out, called: bool) -> Charge {
    let assignment = Assignment { reserved_micro_usd: RESERVED, ..samples::assignment() };
    let outcome = outcome(out);
    let price = if outcome.usage.iter().any(|usage| usage.quantity > 0) { PRICE } else { MicroUsd::ZERO };
    let settlement = machine::settle(&Ended {
        assignment: &assignment,
        worker: None,
        simulated: false,
        started_at_ms: None,
        finished_at_ms: 1,
        outcome: &outcome,
        price_micro_usd: (!outcome.usage.is_empty()).then_some(price),
        called,
    });
    match settlement {
        Settlement::Complete(facts) => facts.charge,
        Settlement::Dead(letter) => letter.ended_attempt.charge,
        Settlement::HandBack => unreachable!("only a drain hands back"),
    }
}
