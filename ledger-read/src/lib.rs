//! What the ledger knows, for the command line, the audit and every other program that only reads.
//!
//! A [`Reader`] cannot write: this crate has no statement that does, and Postgres refuses any on its connections.
//! Crate `ledger` writes, migrates and sums. Rows are plain structs, times in Unix milliseconds, money in
//! micro-dollars; sums are made by Postgres from the rows they stand beside.

mod audit;
mod costs;
mod durability;
mod error;
mod jobs;
mod reader;
mod statistics;
mod stored;
mod window;

pub use audit::{AuditAttempt, AuditJob, AuditRows};
pub use costs::{COST_ROWS_MAX, Conservation, CostBy, CostRow, OverheadRow};
pub use durability::Durability;
pub use error::{Error, Unreadable};
pub use jobs::{AttemptSummary, JobDetail, JobFilter, JobSummary};
pub use reader::{ROWS_MAX, Reader};
pub use statistics::{BackendCount, Counts, PercentileRow, Percentiles, SavingRow, StateCount};
pub use stored::{LATEST_MS, clamp_ms, stored_event};
pub use window::Window;
