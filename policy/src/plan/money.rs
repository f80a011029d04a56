//! Price, ceiling and reservation of one attempt.

use schemas::config::BackendConfig;
use schemas::{FailureCode, FilterReason, MicroUsd, Service, Unit};

use super::PlanInput;
use super::consent::Consent;
use super::rejections::Rejections;
use crate::billing;
use crate::cost::{CostError, dearest_of, price_of, unbounded_units};
use crate::dispose::code_of;
use crate::fleet::BackendView;
use crate::funds;

/// What an attempt costs, and whether it may.
#[derive(Default)]
pub(super) struct Quote {
    pub(super) expected: MicroUsd,
    pub(super) reserve: MicroUsd,
}

/// Prices an attempt and checks it against consent, ceiling and ledger. Free backends cost nothing.
pub(super) fn quote(
    input: &PlanInput<'_>,
    config: &BackendConfig,
    service: Option<&Service>,
    view: Option<&BackendView>,
    consent: Consent,
    rejections: &mut Rejections,
) -> Quote {
    let offers = view.into_iter().flat_map(|view| &view.offers).map(|known| &**known);
    if !billing::is_paid(config, service, offers) {
        return Quote::default();
    }
    let mut quote = Quote::default();
    if let Some(words) = consent.against() {
        rejections.add(FilterReason::NoConsent, words);
    }
    if let Some(words) = unknown_before(input) {
        rejections.add(FilterReason::PossiblyPaid, words);
    }
    if !input.ledger_available {
        rejections.add(FilterReason::LedgerAway, "the ledger cannot reserve money at present");
    }
    if let Some(document) = input.unreadable {
        rejections.add(FilterReason::DocumentUnreadable, funds::unreadable(document, "router"));
    }
    if let Some((_, words)) = input.refused.iter().find(|(backend, _)| *backend == config.backend) {
        rejections.add(FilterReason::ReservationRefused, words.clone());
    }
    let Some(service) = service else { return quote };
    match prices_of(input, service) {
        Ok(Prices { most, .. }) if most <= MicroUsd::ZERO => rejections.add(
            FilterReason::Unsupported,
            "the catalog gives no maximum usage for it, so nothing could be reserved: tell the operator",
        ),
        Ok(Prices { unbounded: Some(unit), .. }) => rejections.add(
            FilterReason::Unsupported,
            format!("the catalog gives no maximum for its {unit:?}, which costs money: tell the operator"),
        ),
        Ok(prices) => {
            quote.expected = prices.expected;
            quote.reserve = prices.most;
            quote.hold_to_ceiling(input, service, prices.enough, rejections);
        }
        Err(error) => rejections.add(FilterReason::Unsupported, format!("its cost is not known: {error}")),
    }
    quote
}

/// Why nothing more may be paid after an attempt that may have been paid and whose outcome nobody knows.
/// A ceiling is consent to both, as long as it covers both; what may have been paid counts against it.
fn unknown_before(input: &PlanInput<'_>) -> Option<String> {
    let unknown = input.history.iter().find(|facts| code_of(facts) == Some(FailureCode::OutcomeUnknown))?;
    let cure = match (input.job.constraints.retry_unknown, input.job.constraints.max_cost_micro_usd) {
        (Some(true), _) | (None, Some(_)) => return None,
        (Some(false), _) => "constraints.retry_unknown forbids another",
        (None, None) => {
            "the job has no ceiling that covers another: set constraints.max_cost_micro_usd, or retry_unknown"
        }
    };
    Some(format!("attempt {} may have been paid and its outcome is unknown: {cure}", unknown.attempt))
}

/// What a service's usage costs.
struct Prices {
    /// What is expected, at the prices of now.
    expected: MicroUsd,
    /// Comfortably more than that, at the dearest prices until the attempt has ended: enough to reserve where the
    /// provider stops at what is reserved.
    enough: MicroUsd,
    /// The most, at the dearest prices until the attempt has ended; never below what is expected.
    most: MicroUsd,
    /// A unit that costs money and has no bound, where the provider does not stop at what is reserved.
    unbounded: Option<Unit>,
}

fn prices_of(input: &PlanInput<'_>, service: &Service) -> Result<Prices, CostError> {
    let Service { backend, model, expected_usage, maximum_usage, .. } = service;
    let during = input.now_ms..=latest_end_ms(input, service);
    let expected = price_of(expected_usage, backend, model, input.prices, input.now_ms)?;
    let dearest_expected = dearest_of(expected_usage, backend, model, input.prices, &during)?;
    let most = dearest_of(maximum_usage, backend, model, input.prices, &during)?;
    let most = if most > MicroUsd::ZERO { most.max(dearest_expected) } else { most };
    let half = dearest_expected.0 / 2 + dearest_expected.0 % 2;
    let mut enough = MicroUsd(dearest_expected.0.saturating_add(half).max(1));
    if billing::stops_at_reservation(service) {
        let shortest = std::slice::from_ref(&billing::SHORTEST_LIMIT);
        enough = enough.max(dearest_of(shortest, backend, model, input.prices, &during)?);
    }
    let unbounded = unbounded_units(service, input.prices, &during).next();
    Ok(Prices { expected, enough, most, unbounded })
}

/// The latest moment at which an attempt that is placed now is expected to have ended, by which its money is reserved.
/// It waits at its backend for as long as assignments may before they are looked at again (`overdue_after_ms`); then
/// the provider has it for as long as an attempt may wait there and as long as it may run. One that waits longer all
/// the same is looked at by its worker before it starts, and planned again if the money no longer suffices.
fn latest_end_ms(input: &PlanInput<'_>, service: &Service) -> i64 {
    let wait_ms = input.policy.overdue_after_ms;
    let end_ms = input.now_ms.saturating_add_unsigned(wait_ms);
    let end_ms = end_ms.saturating_add_unsigned(billing::longest_at_provider_ms(service.timeout_ms));
    input.job.constraints.deadline_ms.map_or(end_ms, |deadline_ms| end_ms.min(deadline_ms)).max(input.now_ms)
}

impl Quote {
    /// All attempts together may cost what the job says. Where the provider stops at what is reserved,
    /// less than the maximum will do, as long as it is comfortably more than what is expected at the dearest price.
    fn hold_to_ceiling(
        &mut self,
        input: &PlanInput<'_>,
        service: &Service,
        enough: MicroUsd,
        rejections: &mut Rejections,
    ) {
        let Some(ceiling) = input.job.constraints.max_cost_micro_usd else { return };
        if ceiling <= MicroUsd::ZERO {
            rejections.add(FilterReason::OverCeiling, "the job's ceiling is $0: free backends only");
            return;
        }
        let spent = input
            .history
            .iter()
            .map(|facts| facts.charge.amount_micro_usd.0.max(0))
            .fold(0, i64::saturating_add);
        let left = MicroUsd(ceiling.0.saturating_sub(spent).max(0));
        if self.reserve <= left {
            return;
        }
        let stops = billing::stops_at_reservation(service);
        if stops && left >= enough {
            self.reserve = left;
            return;
        }
        let need = if stops { enough } else { self.reserve };
        rejections.add(
            FilterReason::OverCeiling,
            format!("it has to reserve {need} and {left} of the job's {ceiling} are left"),
        );
    }
}
