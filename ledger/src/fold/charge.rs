//! The money of one attempt: from what was reserved and what is told to one row of `charges`.
//!
//! - Known money (posted or voided) outranks open money; among the known, `charged` outranks `ended`
//!   outranks `retrying`, so a late `charged` turns `voided` into `posted`, and "possibly paid" into
//!   what it really was.
//! - The end of a job voids whatever is still pending, unless the event itself lists the attempt as
//!   pending: its money is then awaited. If the provider bills after all, `charged` posts it.
//! - An attempt placed for free voids what had been reserved for it before.

use ledger_read::clamp_ms;
use std::cmp::Reverse;

use schemas::{AttemptFacts, ChargeState, Event, Fact, MicroUsd};

use super::sources::{Source, ended_facts};

/// A reservation that the ledger granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who bills.
    pub backend: String,
    /// How much.
    pub amount_micro_usd: i64,
    /// When it was asked for, Unix milliseconds.
    pub at_ms: i64,
}

/// What the events of a job tell about the money of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    placed: Option<Placed>,
    ended: Option<Ended>,
    job_ended: bool,
    /// Some event named an amount. Never false again once true, so a row that was written stays.
    money: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Placed {
    at_ms: i64,
    backend: String,
    reserved_micro_usd: MicroUsd,
    simulated: bool,
}

/// What the surest teller says of the attempt's money.
#[derive(Debug, Clone, PartialEq)]
struct Ended {
    source: Source,
    backend: String,
    simulated: bool,
    assigned_at_ms: i64,
    finished_at_ms: i64,
    state: ChargeState,
    amount_micro_usd: MicroUsd,
    possibly_paid: bool,
}

/// A row of `charges`, but for job, attempt and tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of analytics.charges describe them")]
pub struct ChargeRow {
    pub backend: String,
    pub simulated: bool,
    pub state: ChargeState,
    pub settled_by: Option<&'static str>,
    pub request: Option<Request>,
    pub reserved_micro_usd: i64,
    pub posted_micro_usd: i64,
    pub possibly_paid: bool,
    pub budget_at_ms: i64,
    pub posted_at_ms: Option<i64>,
}

impl Told {
    /// Nothing is told of the attempt itself.
    #[must_use]
    pub const fn nothing(job_ended: bool) -> Self {
        Self { placed: None, ended: None, job_ended, money: false }
    }
}

impl Ended {
    fn of(source: Source, facts: &AttemptFacts) -> Self {
        Self {
            source,
            backend: facts.backend.to_string(),
            simulated: facts.simulated,
            assigned_at_ms: facts.assigned_at_ms,
            finished_at_ms: facts.finished_at_ms,
            state: facts.charge.state,
            amount_micro_usd: facts.charge.amount_micro_usd,
            possibly_paid: facts.charge.possibly_paid,
        }
    }
}

/// Gathers what is told about an attempt. `events` are in order of time.
pub(super) fn told(number: u32, events: &[&Event]) -> Told {
    let job_ended = events.iter().any(|event| matches!(event.fact, Fact::Ended { .. }));
    let placed = events.iter().rev().find_map(|event| match &event.fact {
        Fact::Assigned { backend, reserved_micro_usd, decision, .. } if event.attempt == number => {
            let chosen = decision.candidates.iter().find(|candidate| candidate.backend == *backend);
            Some(Placed {
                at_ms: event.time_ms,
                backend: backend.to_string(),
                reserved_micro_usd: *reserved_micro_usd,
                simulated: chosen.is_some_and(|candidate| candidate.simulated),
            })
        }
        _ => None,
    });
    let told = ended_facts(number, events);
    let money = placed.as_ref().is_some_and(|placed| placed.reserved_micro_usd > MicroUsd::ZERO)
        || told.iter().any(|(_, _, facts)| {
            facts.charge.amount_micro_usd > MicroUsd::ZERO || facts.charge.possibly_paid
        });
    let ended = told
        .into_iter()
        // A job that has ended awaits no money but what its end, or later news, says it awaits.
        .filter(|(source, _, facts)| {
            facts.charge.state != ChargeState::Pending || !job_ended || *source != Source::Retrying
        })
        .min_by_key(|(source, time_ms, facts)| {
            let known = facts.charge.state != ChargeState::Pending;
            let posted = facts.charge.state == ChargeState::Posted;
            Reverse((known, *source, *time_ms, posted, facts.charge.amount_micro_usd))
        })
        .map(|(source, _, facts)| Ended::of(source, facts));
    Told { placed, ended, job_ended, money }
}

/// The charge of an attempt. None where no money was ever involved.
#[must_use]
pub fn settle(request: Option<Request>, told: &Told) -> Option<ChargeRow> {
    let placed = told.placed.as_ref();
    let ended = told.ended.as_ref();
    // Whoever spoke last: the router that placed it, or the one that asked for money again since.
    let newer = match (placed, &request) {
        (Some(placed), Some(request)) => (placed.at_ms >= request.at_ms).then_some(placed),
        (placed, _) => placed,
    };
    let requested = request.as_ref().map_or(0, |request| request.amount_micro_usd);
    let (reserved, placed_for_free) = match newer {
        Some(placed) if placed.reserved_micro_usd == MicroUsd::ZERO => (requested, true),
        Some(placed) => (placed.reserved_micro_usd.0, false),
        None => (requested, false),
    };
    let mut row = ChargeRow {
        backend: ended
            .map(|ended| ended.backend.clone())
            .or_else(|| newer.filter(|_| !placed_for_free).map(|placed| placed.backend.clone()))
            .or_else(|| request.as_ref().map(|request| request.backend.clone()))
            .or_else(|| placed.map(|placed| placed.backend.clone()))?,
        simulated: ended
            .map(|ended| ended.simulated)
            .or(placed.map(|placed| placed.simulated))
            .unwrap_or(false),
        state: ChargeState::Pending,
        settled_by: None,
        budget_at_ms: clamp_ms(
            request
                .as_ref()
                .map(|request| request.at_ms)
                .or(placed.map(|placed| placed.at_ms))
                .or(ended.map(|ended| ended.assigned_at_ms))?,
        ),
        request,
        reserved_micro_usd: reserved,
        posted_micro_usd: 0,
        possibly_paid: false,
        posted_at_ms: None,
    };
    match ended {
        Some(ended) => match ended.state {
            ChargeState::Posted => {
                row.state = ChargeState::Posted;
                row.settled_by = Some(ended.source.as_str());
                row.posted_micro_usd = ended.amount_micro_usd.0;
                row.possibly_paid = ended.possibly_paid;
                row.posted_at_ms = Some(clamp_ms(ended.finished_at_ms));
            }
            ChargeState::Voided => {
                row.state = ChargeState::Voided;
                row.settled_by = Some(ended.source.as_str());
            }
            ChargeState::Pending | ChargeState::Unknown => {
                row.reserved_micro_usd = row.reserved_micro_usd.max(ended.amount_micro_usd.0);
            }
        },
        None if placed_for_free => {
            row.state = ChargeState::Voided;
            row.settled_by = Some("assigned");
        }
        None if told.job_ended => {
            row.state = ChargeState::Voided;
            row.settled_by = Some("ended");
        }
        None => {}
    }
    (row.request.is_some() || told.money).then_some(row)
}
