//! The promises, as one function over what the ledger, the streams and the providers' invoices say.
//! Used by the simulation, by the tests against real servers, and by the audit command.

mod findings;
mod money;
mod overhead;
mod report;
mod unpaid;

use std::collections::{BTreeMap, BTreeSet};

use schemas::{FailureCode, JobId, JobState};

use self::findings::Findings;
pub use self::report::{
    AuditAttempt, AuditInput, AuditJob, AuditOverhead, AuditReport, BackendAudit, BilledDay, InvoiceLine,
};

/// The failures of attempts whose provider did the work: it delivered something that is of no use, or that could not
/// be stored.
const DELIVERED_CODES: [FailureCode; 2] = [FailureCode::UnusableResult, FailureCode::NotStored];

/// Whether an attempt that ended so was delivered by its provider.
#[must_use]
pub fn is_delivered(failure_code: Option<&str>) -> bool {
    failure_code.is_none_or(|code| DELIVERED_CODES.iter().any(|delivered| delivered.as_str() == code))
}

/// Audits.
#[must_use]
pub fn audit(input: &AuditInput) -> AuditReport {
    let mut report = AuditReport::default();
    let mut findings = Findings::default();
    audit_jobs(input, &mut report, &mut findings);
    money::audit_money(input, &mut report, &mut findings);
    overhead::audit_overhead(input, &mut report, &mut findings);
    unpaid::audit_guards(input, &mut report, &mut findings);
    report.findings = findings.into_words();
    report
}

/// P1: each accepted job ends exactly once, or waits in the operator's inbox for a newer router.
fn audit_jobs(input: &AuditInput, report: &mut AuditReport, findings: &mut Findings) {
    let mut ends: BTreeMap<JobId, u32> = BTreeMap::new();
    for job in &input.jobs {
        let count = ends.entry(job.job).or_default();
        *count = count.saturating_add(job.ends);
        if job.state == Some(JobState::Completed) && job.artifacts == 0 {
            report.completed_empty += 1;
            findings.push(format!("job {} completed without an artifact", job.job));
        }
    }
    let known: BTreeSet<JobId> = ends.keys().copied().collect();
    let accepted = input.accepted.as_ref().unwrap_or(&known);
    for job in accepted.union(&input.waiting) {
        report.accepted += 1;
        match ends.get(job) {
            None if input.waiting.contains(job) => report.waiting += 1,
            None | Some(0) if input.parked.contains(job) => report.parked += 1,
            None => {
                report.lost += 1;
                findings.push(format!("job {job} was accepted and is unknown to the ledger"));
            }
            Some(0) => {
                report.open += 1;
                if input.abandoned.contains(job) && !input.settled {
                    report.abandoned += 1;
                    findings.push(format!(
                        "job {job} is open in the ledger, and no stream holds anything of it: its assignment was \
                         removed; a router ends it with that reason some minutes after its last event"
                    ));
                }
                if input.settled {
                    report.lost += 1;
                    findings.push(format!("job {job} was accepted and never ended"));
                }
            }
            Some(_) => report.ended += 1,
        }
    }
    report.accepted += input.waiting_unread;
    report.waiting += input.waiting_unread;
    for (subject, count) in &input.unreachable {
        findings.push(format!(
            "{count} messages lie in stream JOBS under {subject}, which no lane reads: they were accepted and never \
             end; `argosy topology apply` and a router of this version refuse them with a reason"
        ));
    }
    for (job, count) in ends.iter().filter(|(_, count)| **count > 1) {
        report.ended_twice += 1;
        findings.push(format!("job {job} ended {count} times"));
    }
}
