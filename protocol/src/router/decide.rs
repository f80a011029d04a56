//! The plan for one attempt as this router sees its fleet, and the room that it takes there.

use policy::plan::{Assign, Choice, Plan, PlanInput, plan};
use schemas::Backend;

use crate::router::job::Placement;
use crate::router::ports::RouterPorts;

/// The plan for an attempt, by whose choice it may be.
pub(crate) fn plan_with<P: RouterPorts>(
    ports: &P,
    placement: &Placement<'_>,
    refused: &[(Backend, String)],
    choice: Choice<'_>,
) -> Plan {
    let config = ports.config();
    ports.with_fleet(|fleet| {
        plan(&PlanInput {
            job: placement.job,
            admitted: placement.admitted,
            attempt: placement.attempt,
            counted_attempts: placement.counted_attempts,
            history: placement.history,
            fleet,
            catalog: &config.catalog,
            prices: &config.prices,
            policy: &config.policy,
            tenant: config.tenants.of(&placement.job.tenant),
            ledger_available: ports.is_ledger_available(),
            refused,
            choice,
            now_ms: ports.now_ms(),
        })
    })
}

/// Counts the room that an assignment takes: plans that follow see it taken.
pub(crate) fn take_room<P: RouterPorts>(ports: &P, assign: &Assign) {
    ports.change_fleet(|fleet| fleet.add_backlog(&assign.backend, &assign.class, 1));
}

/// Undoes what [`take_room`] counted, for an assignment that is not made.
pub(crate) fn give_room_back<P: RouterPorts>(ports: &P, assign: &Assign) {
    ports.change_fleet(|fleet| fleet.add_backlog(&assign.backend, &assign.class, -1));
}
