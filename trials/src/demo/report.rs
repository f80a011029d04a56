//! What a demo found: `out/demo/report.json`. Everything in it comes from the ledger's rows, the audit and
//! the simulators' invoices; the fields are documented in `ops/docs/report.md`, and a test holds the two
//! together.

use super::bought::Bought;
use super::saving::Saving;
use crate::figures::{AuditSection, Percentiles, percentiles, unsigned};
use ledger_read::{BackendCount, Counts, JobSummary, SavingRow};
use policy::invariants::AuditReport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of the file.
pub const REPORT_VERSION: u32 = 1;

/// A finished demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The form of this file.
    pub version: u32,
    /// What the jobs and the providers' chances were drawn from.
    pub seed: u64,
    /// Jobs submitted.
    pub jobs: u64,
    /// The providers were simulators.
    pub simulated: bool,
    /// The local ComfyUIs went away in the middle.
    pub fault: bool,
    /// From the first publish to the last end, milliseconds.
    pub wall_ms: u64,
    /// Whether the promises held.
    pub audit: AuditSection,
    /// Jobs by state.
    pub states: BTreeMap<String, u64>,
    /// By backend.
    pub backends: BTreeMap<String, BackendSection>,
    /// From submission to the start of the first attempt, over all jobs, milliseconds.
    pub queue_wait_ms: Percentiles,
    /// From submission to the end, over all jobs, milliseconds.
    pub whole_ms: Percentiles,
    /// Failed attempts followed by another try at the same backend.
    pub retries: u64,
    /// Failed attempts followed by another backend.
    pub failovers: u64,
    /// What the same jobs would have cost at one backend, by that backend.
    pub savings: BTreeMap<String, Saving>,
    /// What the jobs that may use a backend cost, and what they would have cost there, by that backend.
    pub where_allowed: BTreeMap<String, Saving>,
    /// What each dollar bought.
    pub bought: Vec<Bought>,
    /// Files downloaded.
    pub files: u64,
}

/// One backend's share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendSection {
    /// Its provider was a simulator.
    pub simulated: bool,
    /// Jobs whose last attempt was there.
    pub jobs: u64,
    /// Attempts there.
    pub attempts: u64,
    /// Attempts that failed there.
    pub failed_attempts: u64,
    /// Failures followed by another try there.
    pub retries: u64,
    /// Failures followed by another backend.
    pub failovers: u64,
    /// The ledger's charges.
    pub cost_micro_usd: i64,
    /// The provider's invoice; none where it shows none.
    pub invoice_micro_usd: Option<i64>,
    /// From submission to the start of the first attempt, milliseconds.
    pub queue_wait_ms: Percentiles,
    /// From submission to the end, milliseconds.
    pub whole_ms: Percentiles,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Findings<'a> {
    /// The jobs' rows.
    pub jobs: &'a [JobSummary],
    /// Their attempts, counted.
    pub counts: &'a Counts,
    /// The comparisons.
    pub savings: &'a [SavingRow],
    /// The audit.
    pub audit: &'a AuditReport,
}

impl Report {
    /// A report of what was found; seed, fault, wall time, files and what the events told are the caller's to add.
    #[must_use]
    pub fn of(findings: &Findings<'_>) -> Self {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for job in findings.jobs {
            *states.entry(job.state.clone()).or_default() += 1;
        }
        let names = findings.counts.backends.iter().map(|count| count.backend.clone());
        let names = names.chain(findings.audit.per_backend.keys().map(ToString::to_string));
        let backends: BTreeMap<String, BackendSection> =
            names.map(|name| (name.clone(), backend(&name, findings))).collect();
        let sum = |of: fn(&BackendSection) -> u64| backends.values().map(of).sum();
        Self {
            version: REPORT_VERSION,
            seed: 0,
            jobs: findings.jobs.len() as u64,
            simulated: backends.values().any(|section| section.simulated),
            fault: false,
            wall_ms: 0,
            audit: AuditSection::of(findings.audit),
            states,
            queue_wait_ms: percentiles(findings.jobs.iter().filter_map(|job| job.queue_ms)),
            whole_ms: percentiles(findings.jobs.iter().filter_map(|job| job.total_ms)),
            retries: sum(|section| section.retries),
            failovers: sum(|section| section.failovers),
            backends,
            savings: findings.savings.iter().map(saving).collect(),
            where_allowed: BTreeMap::new(),
            bought: Vec::new(),
            files: 0,
        }
    }
}

fn backend(name: &str, findings: &Findings<'_>) -> BackendSection {
    let jobs = || findings.jobs.iter().filter(|job| job.backend.as_deref() == Some(name));
    let count: Option<&BackendCount> = findings.counts.backends.iter().find(|count| count.backend == name);
    let audited = findings.audit.per_backend.iter().find(|(backend, _)| backend.as_str() == name);
    let counted = |of: fn(&BackendCount) -> i64| count.map(of).map_or(0, unsigned);
    BackendSection {
        simulated: count.is_some_and(|count| count.simulated),
        jobs: jobs().count() as u64,
        attempts: counted(|count| count.attempts),
        failed_attempts: counted(|count| count.failed_attempts),
        retries: counted(|count| count.retries),
        failovers: counted(|count| count.failovers),
        cost_micro_usd: count.map_or(0, |count| count.posted_micro_usd),
        invoice_micro_usd: audited.and_then(|(_, audit)| audit.invoice_micro_usd).map(|amount| amount.0),
        queue_wait_ms: percentiles(jobs().filter_map(|job| job.queue_ms)),
        whole_ms: percentiles(jobs().filter_map(|job| job.total_ms)),
    }
}

fn saving(row: &SavingRow) -> (String, Saving) {
    let saving = Saving {
        jobs: unsigned(row.jobs),
        jobs_not_comparable: unsigned(row.jobs_not_comparable),
        actual_micro_usd: row.actual_micro_usd,
        baseline_micro_usd: row.baseline_micro_usd,
        saving_micro_usd: row.saving_micro_usd,
    };
    (row.against.clone(), saving)
}
