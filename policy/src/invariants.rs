//! The promises, as one function over what the ledger, the streams and the providers' invoices say.
//! Used by the simulation, by the tests against real servers, and by the audit command.

mod money;
mod unpaid;

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Backend, Charge, FailureCode, JobId, JobState, MicroUsd, Usage};
use serde::{Deserialize, Serialize};

/// What is audited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditInput {
    /// The jobs whose publish was acknowledged; taken from `jobs` when absent.
    pub accepted: Option<BTreeSet<JobId>>,
    /// Accepted jobs that were put aside for a newer router (`too_new`): they have not ended, and are not lost.
    #[serde(default)]
    pub parked: BTreeSet<JobId>,
    /// Jobs that lie in their lanes, as far as their ids could be read: accepted, and known to nothing else yet.
    #[serde(default)]
    pub waiting: BTreeSet<JobId>,
    /// Messages that lie in stream `JOBS` beyond those of `waiting`: no job, or too many to be read one by one.
    #[serde(default)]
    pub waiting_unread: u64,
    /// Messages in stream `JOBS` by subject, where no lane reads.
    #[serde(default)]
    pub unreachable: BTreeMap<String, u64>,
    /// Jobs that the ledger has as open and of which no stream holds anything.
    #[serde(default)]
    pub abandoned: BTreeSet<JobId>,
    /// Nothing is running any more: what is still open is lost, and what is still pending is wrong.
    pub settled: bool,
    /// The jobs the ledger knows.
    pub jobs: Vec<AuditJob>,
    /// Their attempts.
    pub attempts: Vec<AuditAttempt>,
    /// What each provider billed. A backend without an entry shows no invoice and is not compared.
    pub invoices: BTreeMap<Backend, Vec<InvoiceLine>>,
}

/// A job as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditJob {
    /// Which.
    pub job: JobId,
    /// How often it ended.
    pub ends: u32,
    /// How it ended.
    pub state: Option<JobState>,
    /// How many artifacts it has.
    pub artifacts: u64,
}

/// An attempt as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditAttempt {
    /// Of which job.
    pub job: JobId,
    /// Its number.
    pub attempt: u32,
    /// Where it ran.
    pub backend: Backend,
    /// The provider's id of the work.
    pub provider_id: Option<String>,
    /// It made what was asked for.
    pub succeeded: bool,
    /// What the provider counted.
    #[serde(default)]
    pub usage: Vec<Usage>,
    /// What was reserved for it; 0 where nothing was.
    #[serde(default)]
    pub reserved_micro_usd: MicroUsd,
    /// Its provider did the work, whatever became of the result afterwards.
    #[serde(default)]
    pub delivered: bool,
    /// Its money.
    pub charge: Charge,
}

/// One line of a provider's invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// The provider's id of the work.
    pub provider_id: String,
    /// What it billed.
    pub amount_micro_usd: MicroUsd,
}

/// What the audit found. The promises hold when [`AuditReport::holds`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Jobs whose publish was acknowledged.
    pub accepted: u64,
    /// Accepted jobs that ended, however often.
    pub ended: u64,
    /// Accepted jobs that wait in the operator's inbox for a newer router.
    #[serde(default)]
    pub parked: u64,
    /// Accepted jobs that lie in their lanes; those that only their number is known of are among them.
    #[serde(default)]
    pub waiting: u64,
    /// Accepted jobs that are open and of which no stream holds anything: nothing would ever end them.
    #[serde(default)]
    pub abandoned: u64,
    /// Accepted jobs the ledger does not know; once settled, also those that never ended.
    pub lost: u64,
    /// Jobs that ended more than once.
    pub ended_twice: u64,
    /// Accepted jobs that are known and have not ended.
    pub open: u64,
    /// Jobs that completed with nothing made.
    pub completed_empty: u64,
    /// Work billed twice, or jobs with more than one paid success.
    pub paid_twice: u64,
    /// Attempts at providers that bill whose money was not set aside, or that used something and are charged nothing.
    #[serde(default)]
    pub paid_silently: u64,
    /// Charges above what was reserved, where the provider stops the work at what is reserved.
    #[serde(default)]
    pub over_reserved: u64,
    /// Paid attempts of jobs for which another had been paid and delivered before.
    #[serde(default)]
    pub paid_again: u64,
    /// Posted charges, those that are only possible left out.
    pub ledger_micro_usd: MicroUsd,
    /// What the providers billed in all.
    pub invoice_micro_usd: MicroUsd,
    /// Charges of attempts whose provider could not tell whether it billed.
    pub possibly_paid_micro_usd: MicroUsd,
    /// Invoice lines that belong to no known attempt.
    pub unexplained_invoice_lines: u64,
    /// Charges still pending.
    pub pending_charges: u64,
    /// The money of each backend.
    pub per_backend: BTreeMap<Backend, BackendAudit>,
    /// Everything that breaks a promise, in words; empty when all hold.
    pub findings: Vec<String>,
}

/// The money of one backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendAudit {
    /// Attempts there.
    pub attempts: u64,
    /// Posted charges, those that are only possible left out.
    pub ledger_micro_usd: MicroUsd,
    /// Charges that are only possible.
    pub possibly_paid_micro_usd: MicroUsd,
    /// What the provider billed; none when it shows no invoice.
    pub invoice_micro_usd: Option<MicroUsd>,
    /// Invoice lines that belong to no known attempt.
    pub unexplained_invoice_lines: u64,
}

impl AuditReport {
    /// No promise is broken.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The failures of attempts whose provider did the work: it delivered something that is of no use, or that could not
/// be stored.
const DELIVERED_CODES: [FailureCode; 2] = [FailureCode::UnusableResult, FailureCode::NotStored];

/// Whether an attempt that ended so was delivered by its provider.
#[must_use]
pub fn is_delivered(failure_code: Option<&str>) -> bool {
    failure_code.is_none_or(|code| DELIVERED_CODES.iter().any(|delivered| delivered.as_str() == code))
}

/// Findings listed in words; the counts go on.
const FINDINGS_MAX: usize = 100;

/// Collects findings up to a bound, and says so when it is reached.
#[derive(Default)]
struct Findings {
    listed: Vec<String>,
    unlisted: u64,
}

impl Findings {
    fn push(&mut self, finding: String) {
        if self.listed.len() < FINDINGS_MAX {
            self.listed.push(finding);
        } else {
            self.unlisted += 1;
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if self.unlisted > 0 {
            self.listed.push(format!("and {} more", self.unlisted));
        }
        self.listed
    }
}

/// Audits.
#[must_use]
pub fn audit(input: &AuditInput) -> AuditReport {
    let mut report = AuditReport::default();
    let mut findings = Findings::default();
    audit_jobs(input, &mut report, &mut findings);
    money::audit_money(input, &mut report, &mut findings);
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
