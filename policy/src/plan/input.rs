//! What a plan is made from.

use schemas::{AttemptFacts, Backend, Catalog, Job, PolicyConfig, PriceList, TenantPolicy};

use super::Choice;
use crate::admit::Admitted;
use crate::fleet::Fleet;

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What is to be placed.
    pub job: &'a Job,
    /// What admission found out about it.
    pub admitted: &'a Admitted,
    /// The number of the attempt to be placed, from 1.
    pub attempt: u32,
    /// How many attempts so far counted against the job's limit.
    pub counted_attempts: u32,
    /// The attempts so far, oldest first.
    pub history: &'a [AttemptFacts],
    /// Who is there.
    pub fleet: &'a Fleet,
    /// What can be made.
    pub catalog: &'a Catalog,
    /// What it costs.
    pub prices: &'a PriceList,
    /// How to decide.
    pub policy: &'a PolicyConfig,
    /// What the job's tenant allows.
    pub tenant: TenantPolicy<'a>,
    /// The ledger grants reservations at present.
    pub ledger_available: bool,
    /// A document whose newest revision cannot be read here: nothing new is paid.
    pub unreadable: Option<&'a str>,
    /// Backends for which the ledger just refused this attempt's money, with its words.
    pub refused: &'a [(Backend, String)],
    /// By which rule a backend is chosen among those that may run it.
    pub choice: Choice<'a>,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
}

impl PlanInput<'_> {
    /// What is left until the deadline, milliseconds; none without a deadline, 0 when it passed.
    pub(super) fn time_left_ms(&self) -> Option<u64> {
        let deadline_ms = self.job.constraints.deadline_ms?;
        Some(u64::try_from(deadline_ms.saturating_sub(self.now_ms)).unwrap_or_default())
    }
}
