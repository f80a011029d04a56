//! What the ledger knows, for the command line and the audit: plain structs, times in Unix milliseconds,
//! money in micro-dollars. Sums are made by Postgres from the rows they stand beside.

mod audit;
mod commits;
mod costs;
mod jobs;
mod statistics;
mod views;

pub use audit::{AuditAttempt, AuditJob, AuditRows};
pub use commits::Commit;
pub use costs::{Conservation, CostBy, CostRow};
pub use jobs::{AttemptSummary, JobDetail, JobFilter, JobSummary};
pub use statistics::{BackendCount, Counts, PercentileRow, Percentiles, SavingRow, StateCount};

/// Rows that one answer may have.
pub const ROWS_MAX: i64 = 10_000;
