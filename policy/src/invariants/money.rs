//! P2 and P4: nothing paid twice, and the ledger is the invoice.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Backend, ChargeState, JobId, MicroUsd};

use super::{AuditAttempt, AuditInput, AuditReport, BackendAudit, Findings};

/// Invoice lines of one piece of work.
#[derive(Default)]
struct Billed {
    lines: u64,
    amount: MicroUsd,
}

pub(super) fn audit_money(input: &AuditInput, report: &mut AuditReport, findings: &mut Findings) {
    let mut backends: BTreeSet<&Backend> = input.attempts.iter().map(|attempt| &attempt.backend).collect();
    backends.extend(input.invoices.keys());
    for backend in backends {
        let audit = audit_backend(backend, input, report, findings);
        report.ledger_micro_usd = plus(report.ledger_micro_usd, audit.ledger_micro_usd);
        report.possibly_paid_micro_usd = plus(report.possibly_paid_micro_usd, audit.possibly_paid_micro_usd);
        report.invoice_micro_usd =
            plus(report.invoice_micro_usd, audit.invoice_micro_usd.unwrap_or_default());
        report.unexplained_invoice_lines += audit.unexplained_invoice_lines;
        report.per_backend.insert(backend.clone(), audit);
    }
    let mut successes: BTreeMap<JobId, u64> = BTreeMap::new();
    for attempt in input.attempts.iter().filter(|attempt| attempt.succeeded && amount(attempt).0 > 0) {
        *successes.entry(attempt.job).or_default() += 1;
    }
    for (job, count) in successes.into_iter().filter(|(_, count)| *count > 1) {
        report.paid_twice += 1;
        findings.push(format!("job {job} was paid for {count} successes"));
    }
    audit_repeats(input, report, findings);
}

/// What a provider delivered is paid: whatever became of it, no later attempt of the job may cost money.
fn audit_repeats(input: &AuditInput, report: &mut AuditReport, findings: &mut Findings) {
    let mut jobs: BTreeMap<JobId, Vec<&AuditAttempt>> = BTreeMap::new();
    for attempt in input.attempts.iter().filter(|attempt| amount(attempt).0 > 0) {
        jobs.entry(attempt.job).or_default().push(attempt);
    }
    for (job, mut paid) in jobs {
        paid.sort_by_key(|attempt| attempt.attempt);
        let mut paid = paid.into_iter();
        let Some(first) = paid.find(|attempt| attempt.delivered) else { continue };
        for again in paid {
            report.paid_again += 1;
            let (number, before) = (again.attempt, first.attempt);
            findings
                .push(format!("job {job} was paid again: attempt {number}, after {before} was delivered"));
        }
    }
}

fn audit_backend(
    backend: &Backend,
    input: &AuditInput,
    report: &mut AuditReport,
    findings: &mut Findings,
) -> BackendAudit {
    let mut audit = BackendAudit::default();
    let attempts: Vec<&AuditAttempt> =
        input.attempts.iter().filter(|attempt| attempt.backend == *backend).collect();
    let mut owners: BTreeMap<&str, Vec<&AuditAttempt>> = BTreeMap::new();
    for &attempt in &attempts {
        audit.attempts += 1;
        book(attempt, input.settled, &mut audit, report, findings);
        if let Some(provider_id) = &attempt.provider_id {
            owners.entry(provider_id).or_default().push(attempt);
        }
    }
    for (provider_id, owners) in &owners {
        let paying = owners.iter().filter(|attempt| amount(attempt).0 > 0).count();
        if paying > 1 {
            report.paid_twice += 1;
            findings.push(format!("{backend}: {provider_id} is charged to {paying} attempts"));
        }
    }
    if let Some(lines) = input.invoices.get(backend) {
        let mut billed: BTreeMap<&str, Billed> = BTreeMap::new();
        for line in lines {
            let entry = billed.entry(&line.provider_id).or_default();
            entry.lines += 1;
            entry.amount = plus(entry.amount, line.amount_micro_usd);
            audit.invoice_micro_usd =
                Some(plus(audit.invoice_micro_usd.unwrap_or_default(), line.amount_micro_usd));
        }
        audit.invoice_micro_usd.get_or_insert(MicroUsd::ZERO);
        let books =
            Books { backend, attempts: &attempts, owners: &owners, billed: &billed, settled: input.settled };
        compare(books, &mut audit, report, findings);
    }
    audit
}

/// Adds one attempt's charge to what the ledger says.
fn book(
    attempt: &AuditAttempt,
    settled: bool,
    audit: &mut BackendAudit,
    report: &mut AuditReport,
    findings: &mut Findings,
) {
    let charge = &attempt.charge;
    let name = format!("attempt {}.{}", attempt.job, attempt.attempt);
    if charge.amount_micro_usd < MicroUsd::ZERO {
        findings.push(format!("{name} has a negative charge of {}", charge.amount_micro_usd));
    }
    match charge.state {
        ChargeState::Pending => {
            report.pending_charges += 1;
            if settled {
                findings.push(format!("{name} still has {} reserved", charge.amount_micro_usd));
            }
        }
        ChargeState::Posted if charge.possibly_paid => {
            audit.possibly_paid_micro_usd = plus(audit.possibly_paid_micro_usd, charge.amount_micro_usd);
        }
        ChargeState::Posted => audit.ledger_micro_usd = plus(audit.ledger_micro_usd, charge.amount_micro_usd),
        ChargeState::Voided => {}
        ChargeState::Unknown => findings.push(format!("{name} has a charge in an unknown state")),
    }
}

/// One backend's charges and its invoice.
#[derive(Clone, Copy)]
struct Books<'a> {
    backend: &'a Backend,
    attempts: &'a [&'a AuditAttempt],
    owners: &'a BTreeMap<&'a str, Vec<&'a AuditAttempt>>,
    billed: &'a BTreeMap<&'a str, Billed>,
    /// Nothing is under way.
    settled: bool,
}

/// Holds one backend's charges against its invoice, piece of work by piece of work. While something is under way a line
/// may belong to work whose end nobody has booked yet, and a charge may come before its line; two lines of one piece of
/// work, or a line that differs from its charge, are wrong at any time.
fn compare(books: Books<'_>, audit: &mut BackendAudit, report: &mut AuditReport, findings: &mut Findings) {
    let Books { backend, attempts, owners, billed, settled } = books;
    let mut unexplained = MicroUsd::ZERO;
    for (provider_id, bill) in billed {
        if bill.lines > 1 {
            report.paid_twice += 1;
            findings.push(format!("{backend}: {provider_id} has {} invoice lines", bill.lines));
        }
        if !owners.contains_key(provider_id) {
            audit.unexplained_invoice_lines += bill.lines;
            unexplained = plus(unexplained, bill.amount);
        }
    }
    // Work whose answer was lost has no id of ours; its line is covered by what was booked as possible.
    let mut cover = MicroUsd::ZERO;
    let mut covering: u64 = 0;
    for attempt in attempts {
        let bill = attempt.provider_id.as_deref().and_then(|id| billed.get(id));
        let billed_amount = bill.map_or(MicroUsd::ZERO, |bill| bill.amount);
        let name = format!("attempt {}.{}", attempt.job, attempt.attempt);
        match attempt.charge.state {
            ChargeState::Posted if attempt.charge.possibly_paid => {
                if bill.is_none() {
                    cover = plus(cover, attempt.charge.amount_micro_usd);
                    covering += 1;
                } else if billed_amount > attempt.charge.amount_micro_usd {
                    let booked = attempt.charge.amount_micro_usd;
                    findings.push(format!(
                        "{backend}: {name} was booked as at most {booked} and billed {billed_amount}"
                    ));
                }
            }
            ChargeState::Posted if bill.is_none() && !settled => {}
            ChargeState::Voided if !settled => {}
            ChargeState::Posted | ChargeState::Voided if amount(attempt) != billed_amount => {
                findings.push(format!(
                    "{backend}: {name} is charged {} and billed {billed_amount}",
                    amount(attempt)
                ));
            }
            ChargeState::Posted | ChargeState::Voided | ChargeState::Pending | ChargeState::Unknown => {}
        }
    }
    if settled && (audit.unexplained_invoice_lines > covering || unexplained > cover) {
        findings.push(format!(
            "{backend}: {} invoice lines over {unexplained} belong to no attempt; {covering} possibly paid attempts \
             cover {cover}",
            audit.unexplained_invoice_lines
        ));
    }
}

/// What an attempt spent for certain or possibly.
fn amount(attempt: &AuditAttempt) -> MicroUsd {
    if attempt.charge.state == ChargeState::Posted { attempt.charge.amount_micro_usd } else { MicroUsd::ZERO }
}

pub(super) fn plus(a: MicroUsd, b: MicroUsd) -> MicroUsd {
    MicroUsd(a.0.saturating_add(b.0))
}
