//! Price, ceiling and reservation of one attempt.

use schemas::config::BackendConfig;
use schemas::{FailureCode, FilterReason, MicroUsd, Service};

use super::PlanInput;
use super::consent::Consent;
use super::rejections::Rejections;
use crate::cost::{CostError, price_of};
use crate::dispose::code_of;

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
    consent: Consent,
    rejections: &mut Rejections,
) -> Quote {
    if !config.paid {
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
    if let Some((_, words)) = input.refused.iter().find(|(backend, _)| *backend == config.backend) {
        rejections.add(FilterReason::ReservationRefused, words.clone());
    }
    let Some(service) = service else { return quote };
    match prices_of(input, service) {
        Ok((expected, most)) if most > MicroUsd::ZERO => {
            quote.expected = expected;
            quote.reserve = most;
            quote.hold_to_ceiling(input, service, rejections);
        }
        Ok(_) => rejections.add(
            FilterReason::Unsupported,
            "the catalog gives no maximum usage for it, so nothing could be reserved: tell the operator",
        ),
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

/// Expected and largest cost; the largest is never below the expected.
fn prices_of(input: &PlanInput<'_>, service: &Service) -> Result<(MicroUsd, MicroUsd), CostError> {
    let price = |usage| price_of(usage, &service.backend, &service.model, input.prices, input.now_ms);
    let (expected, most) = (price(&service.expected_usage)?, price(&service.maximum_usage)?);
    Ok((expected, if most > MicroUsd::ZERO { most.max(expected) } else { most }))
}

impl Quote {
    /// All attempts together may cost what the job says. Where the provider stops at what is reserved,
    /// less than the maximum will do, as long as it is comfortably more than expected.
    fn hold_to_ceiling(&mut self, input: &PlanInput<'_>, service: &Service, rejections: &mut Rejections) {
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
        let enough =
            MicroUsd(self.expected.0.saturating_add(self.expected.0 / 2).saturating_add(self.expected.0 % 2));
        if service.stops_at_reservation && left >= enough && left > MicroUsd::ZERO {
            self.reserve = left;
            return;
        }
        let need = if service.stops_at_reservation { enough.max(MicroUsd(1)) } else { self.reserve };
        rejections.add(
            FilterReason::OverCeiling,
            format!("it has to reserve {need} and {left} of the job's {ceiling} are left"),
        );
    }
}
