//! What jobs cost beside what they would have cost at one backend.

use serde::{Deserialize, Serialize};

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saving {
    /// Completed jobs that the backend could have made.
    pub jobs: u64,
    /// Completed jobs that it could not; they are in none of the sums.
    pub jobs_not_comparable: u64,
    /// Spent on the jobs compared.
    pub actual_micro_usd: i64,
    /// What they would have cost there.
    pub baseline_micro_usd: i64,
    /// The difference.
    pub saving_micro_usd: i64,
}

impl Saving {
    /// Nothing is compared yet.
    pub const NONE: Self = Self {
        jobs: 0,
        jobs_not_comparable: 0,
        actual_micro_usd: 0,
        baseline_micro_usd: 0,
        saving_micro_usd: 0,
    };
}
