//! P3: nothing is paid silently, and the reservation bounds what its provider limits.

use std::collections::BTreeSet;

use schemas::{Backend, ChargeState, MicroUsd, Unit};

use super::{AuditAttempt, AuditInput, AuditReport, Findings};
use crate::billing::{SHORTEST_LIMIT, is_paid_provider};

pub(super) fn audit_guards(input: &AuditInput, report: &mut AuditReport, findings: &mut Findings) {
    let paid: BTreeSet<&Backend> = input
        .attempts
        .iter()
        .filter(|attempt| is_paid_provider(attempt.backend.as_str()) || has_money(attempt))
        .map(|attempt| &attempt.backend)
        .collect();
    for attempt in &input.attempts {
        let name = format!("attempt {}.{} at {}", attempt.job, attempt.attempt, attempt.backend);
        let charge = &attempt.charge;
        // One that was voided may be opened again while something is under way.
        let is_known =
            charge.state == ChargeState::Posted || (charge.state == ChargeState::Voided && input.settled);
        let charged =
            if charge.state == ChargeState::Posted { charge.amount_micro_usd } else { MicroUsd::ZERO };
        if is_known && charged <= MicroUsd::ZERO && used(attempt) {
            report.paid_silently += 1;
            findings.push(format!("{name} used {} and is charged nothing", words(attempt)));
        } else if attempt.reserved_micro_usd <= MicroUsd::ZERO
            && attempt.provider_id.is_some()
            && paid.contains(&attempt.backend)
        {
            report.paid_silently += 1;
            findings.push(format!("{name} ran at a provider that bills and nothing was reserved for it"));
        }
        // A possible charge is the reservation itself.
        if is_limited(attempt) && !charge.possibly_paid && charged > attempt.reserved_micro_usd {
            report.over_reserved += 1;
            let reserved = attempt.reserved_micro_usd;
            findings.push(format!("{name} is charged {charged} and {reserved} was reserved for it"));
        }
    }
}

/// Money was spent on it. What was only reserved says nothing of the backend: an attempt that is placed for free after
/// all gives its reservation back, and the row keeps the figure.
fn has_money(attempt: &AuditAttempt) -> bool {
    attempt.charge.state == ChargeState::Posted && attempt.charge.amount_micro_usd > MicroUsd::ZERO
}

/// Somebody counted something that is billed. Measured energy is not: it is on no provider's invoice.
fn used(attempt: &AuditAttempt) -> bool {
    attempt.usage.iter().any(|usage| usage.quantity > 0 && usage.unit != Unit::EnergyMj)
}

/// All that was used is limited at the provider by what is reserved.
fn is_limited(attempt: &AuditAttempt) -> bool {
    let mut billed = attempt.usage.iter().filter(|usage| usage.unit != Unit::EnergyMj).peekable();
    billed.peek().is_some() && billed.all(|usage| usage.unit == SHORTEST_LIMIT.unit)
}

fn words(attempt: &AuditAttempt) -> String {
    let part = |usage: &schemas::Usage| format!("{} {:?}", usage.quantity, usage.unit);
    attempt.usage.iter().map(part).collect::<Vec<_>>().join(", ")
}
