//! The plan for one attempt as this router sees its fleet, and the room that it takes there.

use policy::plan::{Assign, Choice, Plan, plan};
use schemas::Backend;

use crate::ports::FleetConfig;
use crate::router::job::Placement;
use crate::router::ports::RouterPorts;
use crate::router::view::View;

/// What is decided from now, to be read at once.
pub(crate) fn with_view<P: RouterPorts, T>(
    ports: &P,
    config: &FleetConfig,
    decide: impl FnOnce(View<'_>) -> T,
) -> T {
    let (ledger_available, now_ms) = (ports.is_ledger_available(), ports.now_ms());
    ports.with_fleet(|fleet| decide(View { config, fleet, ledger_available, now_ms }))
}

/// The plan for an attempt, by whose choice it may be.
pub(crate) fn plan_with<P: RouterPorts>(
    ports: &P,
    config: &FleetConfig,
    placement: &Placement<'_>,
    refused: &[(Backend, String)],
    choice: Choice<'_>,
) -> Plan {
    with_view(ports, config, |view| plan(&view.input(placement, refused, choice)))
}

/// Counts the room that an assignment takes: plans that follow see it taken.
pub(crate) fn take_room<P: RouterPorts>(ports: &P, assign: &Assign) {
    ports.change_fleet(|fleet| fleet.add_backlog(&assign.backend, assign.queue(), 1));
}

/// Undoes what [`take_room`] counted, for an assignment that is not made.
pub(crate) fn give_room_back<P: RouterPorts>(ports: &P, assign: &Assign) {
    ports.change_fleet(|fleet| fleet.add_backlog(&assign.backend, assign.queue(), -1));
}
