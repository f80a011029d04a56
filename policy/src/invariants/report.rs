//! What an audit is given, and what it gives.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Backend, Charge, JobId, JobState, MicroUsd, Usage};
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
    /// Charges without a job.
    #[serde(default)]
    pub overhead: Vec<AuditOverhead>,
    /// What each provider's billing call says, where it has one. A backend without an entry is not compared.
    #[serde(default)]
    pub bills: BTreeMap<Backend, Vec<BilledDay>>,
    /// Bills do not change any more: no worker of a provider is up, and the ledger had time to read the last of them.
    #[serde(default)]
    pub bills_final: bool,
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

/// A charge without a job as the ledger knows it: what an endpoint cost on a day beside its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditOverhead {
    /// Whose provider bills.
    pub backend: Backend,
    /// The provider's id of the endpoint.
    pub endpoint: String,
    /// The UTC day, `2026-11-29`.
    pub day: String,
    /// The rest of the bill, or its estimate.
    pub amount_micro_usd: MicroUsd,
    /// The bill is not known to the ledger yet.
    pub estimated: bool,
}

/// What the provider's billing call says of an endpoint and day: all of its workers' time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledDay {
    /// The provider's id of the endpoint.
    pub endpoint: String,
    /// The UTC day, `2026-11-29`.
    pub day: String,
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
    /// What the providers billed in all for the work that has an id.
    pub invoice_micro_usd: MicroUsd,
    /// Posted charges without a job: starts and idle time of providers' workers.
    #[serde(default)]
    pub overhead_micro_usd: MicroUsd,
    /// Estimates of such charges whose bill is not known yet.
    #[serde(default)]
    pub estimated_overhead_micro_usd: MicroUsd,
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
    /// Posted charges without a job.
    #[serde(default)]
    pub overhead_micro_usd: MicroUsd,
    /// What the provider's billing call says; none where it has none. Attempts and overhead come to it.
    #[serde(default)]
    pub bill_micro_usd: Option<MicroUsd>,
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
