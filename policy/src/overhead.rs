//! What a serverless endpoint costs beside its jobs: its workers are billed from their start to their stop, idle time
//! included, and the provider shows the sum only afterwards. Until then it is estimated here, and held against the
//! fleet's budget ([`Overhead::held_micro_usd`]).

use std::collections::BTreeSet;

use schemas::bill::{EndpointBill, first_moment_ms};
use schemas::calendar::DAY_MS;
use schemas::{Backend, MicroUsd, PriceList, Unit, Usage, WorkerId};

use crate::cost::{self, CostError};

/// A start that was waited for longer was a wait for a free worker, which is not billed, milliseconds.
const START_MAX_MS: u64 = 10 * 60_000;
/// How long providers take to complete the bill of a day that is over, milliseconds.
const BILL_SETTLES_AFTER_MS: i64 = 6 * 3_600_000;

/// How an endpoint's workers come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaling {
    /// Start of a worker, milliseconds.
    pub start_ms: u64,
    /// How long a worker stays without work before it stops, milliseconds.
    pub idle_timeout_ms: u64,
    /// The most workers at a time.
    pub workers_max: u32,
}

/// A job that ended at one of the provider's workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// How long it waited for the worker, milliseconds.
    pub delay_ms: u64,
    /// When the worker took it, Unix milliseconds.
    pub started_at_ms: i64,
    /// When the same worker ended the job before; none if that was not seen.
    pub idle_since_ms: Option<i64>,
}

/// The billed time that a job adds to its worker's own: the start and one idle timeout where the worker was started for
/// it, or the pause since the job before, which is idle time too.
#[must_use]
pub fn start_and_idle_ms(served: Served, scaling: Scaling) -> u64 {
    let pause_ms = served.idle_since_ms.map(|since_ms| served.started_at_ms.saturating_sub(since_ms).max(0));
    let pause_ms = pause_ms.map(i64::unsigned_abs).filter(|pause_ms| *pause_ms <= scaling.idle_timeout_ms);
    match pause_ms {
        Some(pause_ms) => pause_ms,
        None => served.delay_ms.min(START_MAX_MS).saturating_add(scaling.idle_timeout_ms),
    }
}

/// One start and idle timeout of every worker to which the endpoint may scale: what it may cost at any moment although
/// no job was seen there yet.
#[must_use]
pub fn standby_ms(scaling: Scaling) -> u64 {
    let each_ms =
        cost::billed_quantity(Unit::ExecutionMs, scaling.start_ms.saturating_add(scaling.idle_timeout_ms));
    each_ms.saturating_mul(u64::from(scaling.workers_max))
}

/// What worker time costs at the dearest model of a backend: one endpoint may serve several.
///
/// # Errors
/// [`CostError`] where no model has a price at that time.
pub fn cost_of_time(
    ms: u64,
    backend: &Backend,
    prices: &PriceList,
    at_ms: i64,
) -> Result<MicroUsd, CostError> {
    let usage = [Usage { unit: Unit::ExecutionMs, quantity: ms }];
    let ours =
        prices.prices.iter().filter(|price| price.backend == *backend && price.unit == Unit::ExecutionMs);
    let models: BTreeSet<&str> = ours.map(|price| price.model.as_str()).collect();
    let costs = models.iter().map(|model| cost::price_of(&usage, backend, model, prices, at_ms));
    let dearest = costs.clone().filter_map(Result::ok).max();
    let no_price = || costs.clone().find_map(Result::err);
    dearest.ok_or_else(|| {
        no_price().unwrap_or_else(|| CostError::NoPrice {
            backend: backend.clone(),
            model: "*".to_owned(),
            unit: Unit::ExecutionMs,
            at_ms,
        })
    })
}

/// What a worker adds to an endpoint's day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BillUpdate {
    /// The worker that adds it.
    pub worker: Option<WorkerId>,
    /// What the billing call said, and when it was made.
    pub billed: Option<(MicroUsd, i64)>,
    /// Start and idle that it saw since its last update.
    pub seen_micro_usd: MicroUsd,
    /// See [`EndpointBill::standby_micro_usd`].
    pub standby_micro_usd: MicroUsd,
    /// Which update of its worker this is: a later one has a greater number, and one that is tried again the same.
    pub number: i64,
}

/// Whether what an update saw is not in the bill yet. An update without a worker or a number is always new.
fn is_new(bill: &mut EndpointBill, update: &BillUpdate) -> bool {
    let Some(worker) = update.worker.as_ref().filter(|_| update.number != 0) else { return true };
    if update.seen_micro_usd == MicroUsd::ZERO {
        return true;
    }
    let is_counted = bill.counted.get(worker).is_some_and(|counted| update.number <= *counted);
    if !is_counted {
        bill.counted.insert(worker.clone(), update.number);
    }
    !is_counted
}

/// An endpoint's day with an update in it. A bill only grows: an answer that comes late or twice changes nothing.
#[must_use]
pub fn merge(mut bill: EndpointBill, update: &BillUpdate) -> EndpointBill {
    bill.workers.extend(update.worker.clone());
    if let Some((billed, asked_at_ms)) = update.billed {
        bill.billed_micro_usd = bill.billed_micro_usd.max(Some(billed));
        bill.asked_at_ms = bill.asked_at_ms.max(Some(asked_at_ms));
    }
    if is_new(&mut bill, update) {
        bill.seen_micro_usd = plus(bill.seen_micro_usd, update.seen_micro_usd);
    }
    bill.standby_micro_usd = bill.standby_micro_usd.max(update.standby_micro_usd);
    bill
}

/// The charge without a job for an endpoint's day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    /// The rest of the bill once the provider shows it; until then what was seen of starts and idle. Below zero where more was charged to
    /// attempts than the provider billed, because each of many short ones is rounded up.
    pub amount_micro_usd: MicroUsd,
    /// The provider's billing call has not answered yet.
    pub estimated: bool,
    /// What it takes of the fleet's budget: never below the estimate while the bill can still grow, never below zero.
    pub held_micro_usd: MicroUsd,
}

/// The charge without a job, by what the attempts of that endpoint and day are charged for certain.
#[must_use]
pub fn overhead(bill: &EndpointBill, attempts_micro_usd: MicroUsd) -> Overhead {
    let estimate = plus(bill.seen_micro_usd, bill.standby_micro_usd).max(MicroUsd::ZERO);
    let Some(billed) = bill.billed_micro_usd else {
        let seen = bill.seen_micro_usd.max(MicroUsd::ZERO);
        return Overhead { amount_micro_usd: seen, estimated: true, held_micro_usd: estimate };
    };
    let rest = MicroUsd(billed.0.saturating_sub(attempts_micro_usd.0));
    let settles_at_ms = first_moment_ms(bill.day).saturating_add(DAY_MS + BILL_SETTLES_AFTER_MS);
    let can_grow = bill.asked_at_ms.is_none_or(|asked_at_ms| asked_at_ms < settles_at_ms);
    let least = if can_grow { estimate } else { MicroUsd::ZERO };
    Overhead { amount_micro_usd: rest, estimated: false, held_micro_usd: rest.max(least) }
}

fn plus(a: MicroUsd, b: MicroUsd) -> MicroUsd {
    MicroUsd(a.0.saturating_add(b.0))
}
