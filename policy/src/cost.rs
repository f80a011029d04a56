//! Usage into money, in integers.
//!
//! Usage that has no price is an error, never zero: a provider's new unit must not make work look free.
//!
//! What a provider counts it may bill in larger steps ([`billed_quantity`]): RunPod's milliseconds are billed as whole
//! seconds, rounded up. Charges, reservations and ceilings count what is billed; usage stays what was counted.
//!
//! An attempt is charged at the prices of one moment: when it began at its worker ([`price_of`]). What is reserved,
//! and what limits the work at the provider, is by the dearest price from now until the latest moment at which the
//! attempt can end ([`dearest_of`], [`quantity_bought`]), so that no price that the list knows of breaks a ceiling.

use std::ops::RangeInclusive;

use schemas::{Backend, MicroUsd, Price, PriceList, Service, Unit, Usage};

use crate::billing::{caps_output, is_output};

/// Prices are for so many units.
const PRICED_UNITS: i128 = 1_000_000;
/// The model of a price that holds for all models of a backend.
const ANY_MODEL: &str = "*";

/// RunPod bills time in steps of this, milliseconds ("per second, rounded up", its page "Serverless pricing").
const BILLED_STEP_MS: u64 = 1_000;

/// How much of a unit is billed for a used quantity. Time at a provider is billed in whole seconds, rounded up once
/// for each attempt; everything else as it is counted. No time at all is billed as none.
#[must_use]
pub const fn billed_quantity(unit: Unit, used: u64) -> u64 {
    match unit {
        Unit::ExecutionMs => used.div_ceil(BILLED_STEP_MS).saturating_mul(BILLED_STEP_MS),
        _ => used,
    }
}

/// The most of a unit that may be used for a billed quantity: the inverse of [`billed_quantity`].
const fn usable_quantity(unit: Unit, billed: u64) -> u64 {
    match unit {
        Unit::ExecutionMs if billed < u64::MAX => billed - billed % BILLED_STEP_MS,
        _ => billed,
    }
}

/// Why usage has no price, or a price list is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// A unit of a newer version.
    #[error("{backend} counted a unit that this version does not know")]
    UnknownUnit {
        /// Who counted.
        backend: Backend,
    },
    /// The list has no price for it at that time.
    #[error("the price list has no price for {unit:?} of {backend}/{model} at {at_ms}")]
    NoPrice {
        /// Who bills.
        backend: Backend,
        /// The provider's model.
        model: String,
        /// What was counted.
        unit: Unit,
        /// When, Unix milliseconds.
        at_ms: i64,
    },
    /// Past the range of money.
    #[error("the cost is beyond all money")]
    TooLarge,
    /// A price that cannot be.
    #[error("prices[{index}]: {message}")]
    BadPrice {
        /// Which entry, from 0.
        index: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// What an attempt's usage costs. Rounded up to whole micro-dollars, once. Energy is not part of it:
/// nobody bills it, see [`energy_cost_micro_usd`].
///
/// # Errors
/// [`CostError`] when a unit has no price at that time, or the sum leaves the range.
pub fn price_of(
    usage: &[Usage],
    backend: &Backend,
    model: &str,
    prices: &PriceList,
    at_ms: i64,
) -> Result<MicroUsd, CostError> {
    let mut millionths: i128 = 0;
    for part in usage.iter().filter(|part| part.unit != Unit::EnergyMj) {
        let price = price_at(part.unit, backend, model, prices, at_ms)?;
        let billed = billed_quantity(part.unit, part.quantity);
        let cost = i128::from(billed) * i128::from(price.micro_usd_per_million.0);
        millionths = millionths.checked_add(cost).ok_or(CostError::TooLarge)?;
    }
    rounded_up(millionths)
}

/// The most that usage can cost when it is charged at any one of these moments: what is reserved.
///
/// # Errors
/// [`CostError`] when a unit has no price at the first moment, or the sum leaves the range. A gap later on is no error:
/// what begins in it has no price and is booked as its whole reservation.
pub fn dearest_of(
    usage: &[Usage],
    backend: &Backend,
    model: &str,
    prices: &PriceList,
    during: &RangeInclusive<i64>,
) -> Result<MicroUsd, CostError> {
    let mut millionths: i128 = 0;
    for part in usage.iter().filter(|part| part.unit != Unit::EnergyMj) {
        let price = dearest_price(part.unit, backend, model, prices, during)?;
        let cost = i128::from(billed_quantity(part.unit, part.quantity)) * i128::from(price.0);
        millionths = millionths.checked_add(cost).ok_or(CostError::TooLarge)?;
    }
    rounded_up(millionths)
}

/// How much of a unit an amount buys at the dearest price of these moments; without bound where the unit is free all
/// that time. A charge is rounded up to a whole micro-dollar and to what is billed, so the quantity is rounded down.
///
/// # Errors
/// [`CostError`] when the unit has no price at the first moment.
pub fn quantity_bought(
    amount: MicroUsd,
    unit: Unit,
    backend: &Backend,
    model: &str,
    prices: &PriceList,
    during: &RangeInclusive<i64>,
) -> Result<u64, CostError> {
    let price = dearest_price(unit, backend, model, prices, during)?;
    let bought = (i128::from(amount.0.max(0)) * PRICED_UNITS).checked_div(i128::from(price.0.max(0)));
    let bought = bought.map_or(u64::MAX, |bought| u64::try_from(bought).unwrap_or(u64::MAX));
    Ok(usable_quantity(unit, bought))
}

/// The highest price of a unit at any of these moments. A price only changes where one begins or ends, so those
/// moments are looked at.
fn dearest_price(
    unit: Unit,
    backend: &Backend,
    model: &str,
    prices: &PriceList,
    during: &RangeInclusive<i64>,
) -> Result<MicroUsd, CostError> {
    let mut dearest = price_at(unit, backend, model, prices, *during.start())?.micro_usd_per_million;
    let ours = prices.prices.iter().filter(|price| price.unit == unit && price.backend == *backend);
    let changes = ours.flat_map(|price| [Some(price.valid_from_ms), price.valid_until_ms]).flatten();
    for at_ms in changes.filter(|at_ms| during.contains(at_ms)) {
        if let Ok(price) = price_at(unit, backend, model, prices, at_ms) {
            dearest = dearest.max(price.micro_usd_per_million);
        }
    }
    Ok(dearest)
}

/// The units that have a price for a service at some of these moments and no bound in its `maximum_usage`: what an
/// attempt uses of them is not reserved. A unit may come up more than once.
///
/// Where the provider keeps one cap for all that comes back ([`crate::billing::caps_output`]), a bounded unit of output
/// bounds every other one that is no dearer: each such token takes the place of one that is reserved.
pub fn unbounded_units<'a>(
    service: &'a Service,
    prices: &'a PriceList,
    during: &'a RangeInclusive<i64>,
) -> impl Iterator<Item = Unit> + 'a {
    let priced = move || {
        prices.prices.iter().filter(move |price| {
            price.backend == service.backend
                && (price.model == service.model || price.model == ANY_MODEL)
                && price.valid_from_ms <= *during.end()
                && price.valid_until_ms.is_none_or(|ends_ms| *during.start() < ends_ms)
        })
    };
    let is_listed = |unit: Unit| service.maximum_usage.iter().any(|bound| bound.unit == unit);
    let is_covered = move |price: &Price| {
        let dearest_bounded = || {
            let bounded = priced().filter(|other| is_output(other.unit) && is_listed(other.unit));
            bounded.map(|other| other.micro_usd_per_million).max()
        };
        is_listed(price.unit)
            || caps_output(service)
                && is_output(price.unit)
                && dearest_bounded().is_some_and(|dearest| price.micro_usd_per_million <= dearest)
    };
    let costs = priced().filter(|price| price.unit != Unit::EnergyMj);
    costs.filter(move |price| !is_covered(price)).map(|price| price.unit)
}

/// What measured energy costs at a backend's electricity price (unit `energy_mj` of the price list).
///
/// # Errors
/// [`CostError::NoPrice`] when the list has no electricity price for the backend.
pub fn energy_cost_micro_usd(
    energy_mj: u64,
    backend: &Backend,
    prices: &PriceList,
    at_ms: i64,
) -> Result<MicroUsd, CostError> {
    let price = price_at(Unit::EnergyMj, backend, ANY_MODEL, prices, at_ms)?;
    rounded_up(i128::from(energy_mj) * i128::from(price.micro_usd_per_million.0))
}

/// Refuses a list that could charge wrongly: negative prices, empty or overlapping validity, unknown units.
///
/// # Errors
/// [`CostError::BadPrice`] for the first entry that is wrong.
pub fn validate(prices: &PriceList) -> Result<(), CostError> {
    for (index, price) in prices.prices.iter().enumerate() {
        let bad = |message: String| Err(CostError::BadPrice { index, message });
        if price.micro_usd_per_million.0 < 0 {
            return bad(format!(
                "micro_usd_per_million is {}: it must be 0 or more",
                price.micro_usd_per_million.0
            ));
        }
        if price.unit == Unit::Unknown {
            return bad("unit is not known to this version".to_owned());
        }
        if price.valid_until_ms.is_some_and(|until_ms| until_ms <= price.valid_from_ms) {
            return bad("valid_until_ms must be after valid_from_ms".to_owned());
        }
        if let Some(earlier) = prices.prices[..index].iter().position(|other| overlap(other, price)) {
            return bad(format!("holds at the same time as prices[{earlier}]: end that one first"));
        }
    }
    Ok(())
}

fn price_at<'a>(
    unit: Unit,
    backend: &Backend,
    model: &str,
    prices: &'a PriceList,
    at_ms: i64,
) -> Result<&'a Price, CostError> {
    if unit == Unit::Unknown {
        return Err(CostError::UnknownUnit { backend: backend.clone() });
    }
    let find = |model: &str| {
        prices.prices.iter().find(|price| {
            // What is cheapest to compare comes first: this is asked several times for each plan.
            price.unit == unit && price.backend == *backend && price.model == model && holds_at(price, at_ms)
        })
    };
    find(model).or_else(|| find(ANY_MODEL)).ok_or_else(|| CostError::NoPrice {
        backend: backend.clone(),
        model: model.to_owned(),
        unit,
        at_ms,
    })
}

fn holds_at(price: &Price, at_ms: i64) -> bool {
    price.valid_from_ms <= at_ms && price.valid_until_ms.is_none_or(|until_ms| at_ms < until_ms)
}

fn overlap(a: &Price, b: &Price) -> bool {
    let same = a.backend == b.backend && a.model == b.model && a.unit == b.unit;
    let until = |price: &Price| price.valid_until_ms.unwrap_or(i64::MAX);
    same && a.valid_from_ms < until(b) && b.valid_from_ms < until(a)
}

fn rounded_up(millionths: i128) -> Result<MicroUsd, CostError> {
    let whole = millionths.div_euclid(PRICED_UNITS) + i128::from(millionths.rem_euclid(PRICED_UNITS) > 0);
    i64::try_from(whole).map(MicroUsd).map_err(|_| CostError::TooLarge)
}
