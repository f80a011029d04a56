//! P4 for what belongs to no job: attempts and overhead come to the bill.

use std::collections::BTreeMap;

use schemas::{Backend, MicroUsd};

use super::money::plus;
use super::{AuditInput, AuditReport, BilledDay, Findings};

pub(super) fn audit_overhead(input: &AuditInput, report: &mut AuditReport, findings: &mut Findings) {
    for charge in &input.overhead {
        let amount = charge.amount_micro_usd;
        if charge.estimated {
            report.estimated_overhead_micro_usd = plus(report.estimated_overhead_micro_usd, amount);
            continue;
        }
        report.overhead_micro_usd = plus(report.overhead_micro_usd, amount);
        let audit = report.per_backend.entry(charge.backend.clone()).or_default();
        audit.overhead_micro_usd = plus(audit.overhead_micro_usd, amount);
    }
    for (backend, days) in &input.bills {
        let billed = days.iter().fold(MicroUsd::ZERO, |sum, day| plus(sum, day.amount_micro_usd));
        let audit = report.per_backend.entry(backend.clone()).or_default();
        audit.bill_micro_usd = Some(billed);
        let (attempts, overhead) = (audit.ledger_micro_usd, audit.overhead_micro_usd);
        // While a worker is up its seconds are on the bill before the ledger can know them.
        if !input.settled || !input.bills_final {
            continue;
        }
        if plus(attempts, overhead) != billed {
            findings.push(format!(
                "{backend}: attempts {attempts} and overhead {overhead} come to {}, and the provider billed {billed}",
                plus(attempts, overhead)
            ));
        }
        unposted(backend, days, input, findings);
    }
}

/// A day that the provider billed and the ledger has only an estimate of, or nothing.
fn unposted(backend: &Backend, days: &[BilledDay], input: &AuditInput, findings: &mut Findings) {
    let own = input.overhead.iter().filter(|charge| charge.backend == *backend);
    let known: BTreeMap<(&str, &str), bool> =
        own.map(|charge| ((charge.endpoint.as_str(), charge.day.as_str()), charge.estimated)).collect();
    for day in days.iter().filter(|day| day.amount_micro_usd > MicroUsd::ZERO) {
        let (endpoint, date) = (day.endpoint.as_str(), day.day.as_str());
        match known.get(&(endpoint, date)) {
            Some(false) => {}
            Some(true) => {
                findings
                    .push(format!("{backend}: start and idle of {endpoint} on {date} are only estimated"));
            }
            None => {
                findings
                    .push(format!("{backend}: the bill of {endpoint} on {date} is unknown to the ledger"));
            }
        }
    }
}
