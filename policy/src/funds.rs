//! Whether the money that was reserved for an attempt suffices to start it now. The last look before the provider is
//! called: prices, catalog and policy may have changed while the attempt waited.
//!
//! An attempt that lacks money is handed back unstarted and planned again with the documents as they are now. That is
//! no fault of the job, so it does not count; a backend that hands a job back again and again is not asked again.

use std::ops::RangeInclusive;

use schemas::{Assignment, AttemptFacts, Failure, FailureCode, MicroUsd, PriceList, Service, Unit};

use crate::billing;
pub use crate::billing::SHORTEST_LIMIT;
use crate::cost::{dearest_of, quantity_bought};

/// The field that the failure of such an attempt names.
pub const FIELD: &str = "reserved_micro_usd";

/// How often a backend may hand a job back for want of money; the next time the job does not go there again. Router and
/// worker then disagree about a document, which no plan mends.
pub const HANDED_BACK_MAX: usize = 2;

/// Why an attempt must not be started at a backend that bills: nothing is reserved, or less than the work can cost, or
/// another model than the one that was priced. Where the provider stops the work when the money is used up, any
/// amount suffices here, and [`bought`] says how far it reaches.
#[must_use]
pub fn shortfall(
    assignment: &Assignment,
    service: &Service,
    prices: &PriceList,
    now_ms: i64,
) -> Option<String> {
    let Assignment { backend, reserved_micro_usd, .. } = assignment;
    if *reserved_micro_usd <= MicroUsd::ZERO {
        return Some(format!(
            "nothing is reserved for it and {backend} costs money: it was placed by a router that takes {backend} for \
             free; check `paid` with `argosy config show policy`"
        ));
    }
    if assignment.model != service.model {
        return Some(format!(
            "{reserved_micro_usd} is reserved for model {} and the catalog now says {}",
            assignment.model, service.model
        ));
    }
    let during = from_start_to_end(assignment, now_ms);
    match dearest_of(&service.maximum_usage, backend, &service.model, prices, &during) {
        Err(error) => Some(format!("what it costs is not known any more: {error}")),
        Ok(most) if most > *reserved_micro_usd && !billing::stops_at_reservation(service) => Some(format!(
            "it can cost {most} at the prices until it ends and {reserved_micro_usd} is reserved"
        )),
        Ok(_) => None,
    }
}

/// How much of a unit the reserved money buys if the attempt starts now, at the dearest price until it has ended.
/// Nothing where there is no price.
#[must_use]
pub fn bought(
    unit: Unit,
    assignment: &Assignment,
    service: &Service,
    prices: &PriceList,
    now_ms: i64,
) -> u64 {
    let during = from_start_to_end(assignment, now_ms);
    let Assignment { backend, reserved_micro_usd, .. } = assignment;
    quantity_bought(*reserved_micro_usd, unit, backend, &service.model, prices, &during).unwrap_or(0)
}

/// Every moment at which an attempt that starts now may be charged: since it was placed, clocks differ a little, and
/// until it has ended. It cannot begin after the job's deadline.
fn from_start_to_end(assignment: &Assignment, now_ms: i64) -> RangeInclusive<i64> {
    let end_ms = now_ms.saturating_add_unsigned(billing::longest_at_provider_ms(assignment.timeout_ms));
    let deadline_ms = assignment.job.constraints.deadline_ms.unwrap_or(i64::MAX);
    assignment.time_ms.min(now_ms)..=end_ms.min(deadline_ms).max(now_ms)
}

/// Why nothing new is paid where the newest revision of a document cannot be read. The process may be of an older
/// release than the document: what is in force here is not what its operator says now.
#[must_use]
pub fn unreadable(document: &str, process: &str) -> String {
    format!(
        "document {document} cannot be read by this {process}: its last good revision is in force, and nothing new is \
         paid; `argosy doctor` says whether it is the document, else the {process} is of an older release"
    )
}

/// The failure of an attempt that is handed back unstarted for want of money.
#[must_use]
pub fn handed_back(assignment: &Assignment, words: &str) -> Failure {
    let here = assignment.history.iter().filter(|facts| facts.backend == assignment.backend);
    let code = if here.filter(|facts| is_handed_back(facts)).count() < HANDED_BACK_MAX {
        FailureCode::Interrupted
    } else {
        FailureCode::CapabilityMissing
    };
    Failure { field: Some(FIELD.to_owned()), ..Failure::new(code, format!("not started: {words}")) }
}

/// The attempt was handed back so.
#[must_use]
pub fn is_handed_back(facts: &AttemptFacts) -> bool {
    facts.failure.as_ref().is_some_and(|failure| {
        failure.code == FailureCode::Interrupted && failure.field.as_deref() == Some(FIELD)
    })
}
