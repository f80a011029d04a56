//! Figures that more than one report shows: the audit's verdict, percentiles. Their fields are documented on
//! the pages of the reports.

use policy::invariants::AuditReport;
use serde::{Deserialize, Serialize};

/// Whether the promises held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditSection {
    /// All of them.
    pub holds: bool,
    /// Jobs whose publish was acknowledged.
    pub accepted: u64,
    /// Those that ended.
    pub ended: u64,
    /// Those that did not, or that the ledger does not know.
    pub lost: u64,
    /// Jobs that ended more than once.
    pub ended_twice: u64,
    /// Work billed twice, or jobs with more than one paid success.
    pub paid_twice: u64,
    /// Paid attempts of jobs for which another had been paid and delivered before.
    #[serde(default)]
    pub paid_again: u64,
    /// The ledger's posted charges, without those that are only possible.
    pub ledger_micro_usd: i64,
    /// The providers' invoices.
    pub invoice_micro_usd: i64,
    /// Charges without a job: starts and idle time of providers' workers.
    #[serde(default)]
    pub overhead_micro_usd: i64,
    /// Charges of attempts of which the provider could not tell whether it billed.
    pub possibly_paid_micro_usd: i64,
    /// Reservations still open.
    pub pending_charges: u64,
    /// What broke, in words.
    pub findings: Vec<String>,
}

impl AuditSection {
    /// The audit as reports show it.
    #[must_use]
    pub fn of(audit: &AuditReport) -> Self {
        Self {
            holds: audit.holds(),
            accepted: audit.accepted,
            ended: audit.ended,
            lost: audit.lost,
            ended_twice: audit.ended_twice,
            paid_twice: audit.paid_twice,
            paid_again: audit.paid_again,
            ledger_micro_usd: audit.ledger_micro_usd.0,
            invoice_micro_usd: audit.invoice_micro_usd.0,
            overhead_micro_usd: audit.overhead_micro_usd.0,
            possibly_paid_micro_usd: audit.possibly_paid_micro_usd.0,
            pending_charges: audit.pending_charges,
            findings: audit.findings.clone(),
        }
    }
}

/// Percentiles by nearest rank: each is the time of a job that was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half are quicker.
    pub p50: u64,
    /// 95 in a hundred are quicker.
    pub p95: u64,
    /// 99 in a hundred are quicker.
    pub p99: u64,
}

/// Counts and durations of the database are never negative; a clock that was set back gives 0.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// By nearest rank; zeros when there is nothing.
#[must_use]
pub fn percentiles(values: impl Iterator<Item = i64>) -> Percentiles {
    let mut sorted: Vec<u64> = values.map(unsigned).collect();
    sorted.sort_unstable();
    let at = |per_mille: usize| percentile(&sorted, per_mille).unwrap_or_default();
    Percentiles { p50: at(500), p95: at(950), p99: at(990) }
}

/// The percentile by nearest rank, of sorted samples; none of none.
pub(crate) fn percentile(sorted: &[u64], per_mille: usize) -> Option<u64> {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_go_by_rank() {
        let sorted: Vec<u64> = (1..=1_000).collect();
        assert_eq!(percentile(&sorted, 500), Some(500));
        assert_eq!(percentile(&sorted, 999), Some(999));
        assert_eq!(percentile(&sorted, 1_000), Some(1_000));
        assert_eq!(percentile(&[7], 500), Some(7));
        assert_eq!(percentile(&[], 500), None);
    }
}
