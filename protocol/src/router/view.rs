//! What a router decides from: its configuration, its fleet, and when.

use policy::fleet::Fleet;
use policy::plan::{Choice, PlanInput};
use schemas::Backend;

use crate::ports::FleetConfig;
use crate::router::job::Placement;

/// What a router decides from.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) config: &'a FleetConfig,
    pub(crate) fleet: &'a Fleet,
    /// The ledger grants reservations at present.
    pub(crate) ledger_available: bool,
    /// Now, Unix milliseconds.
    pub(crate) now_ms: i64,
}

impl View<'_> {
    /// What the plan of an attempt is made from; `refused` are backends for which its money was refused just now.
    pub(crate) fn input<'i>(
        &'i self,
        placement: &Placement<'i>,
        refused: &'i [(Backend, String)],
        choice: Choice<'i>,
    ) -> PlanInput<'i> {
        PlanInput {
            job: placement.job,
            admitted: placement.admitted,
            attempt: placement.attempt,
            counted_attempts: placement.counted_attempts,
            history: placement.history,
            fleet: self.fleet,
            catalog: &self.config.catalog,
            prices: &self.config.prices,
            policy: &self.config.policy,
            tenant: self.config.tenants.of(&placement.job.tenant),
            ledger_available: self.ledger_available,
            unreadable: self.config.unreadable(),
            refused,
            choice,
            now_ms: self.now_ms,
        }
    }
}
