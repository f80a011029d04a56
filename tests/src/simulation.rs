//! The fleet in virtual time: the real `policy`, the real worker decisions (`protocol::worker`) and
//! the real folding of the ledger, over a simulated broker, simulated providers and a simulated clock.
//!
//! A run is a seed and a list of operations; the same two give the same run, step by step. Every call to
//! the outside world is a step of its own, and between two steps a process may be killed, stopped or cut
//! off. The steps are futures that are polled one at a time ([`executor`]). No I/O, no threads in here: whoever wants
//! many runs starts them side by side.
//!
//! What is not simulated: encoding, the bytes of artifacts, the broker's storage, a cluster. Those are for
//! the tests with real servers.

mod broker;
mod chance;
mod delivery;
mod digests;
mod executor;
mod faults;
pub mod figures;
mod inbox;
pub mod invariants;
mod make_room;
mod money;
mod money_task;
mod mutation;
pub mod operations;
mod ports;
mod process;
mod provider;
mod router;
mod schedule;
mod setting;
pub mod shrink;
mod standstill;
mod task;
mod worker;
mod world;

pub use figures::Figures;
pub use invariants::{Breach, Promise};
pub use mutation::Mutation;
pub use operations::text::List;
pub use ports::Site;
pub use provider::Trouble;

/// Jobs of one run.
pub const JOBS_PER_RUN: u32 = 60;

/// The list of a seed.
#[must_use]
pub fn list(seed: u64) -> List {
    List { seed, operations: operations::generate::operations(seed, JOBS_PER_RUN) }
}

/// Runs a list to its rest, or to the first broken promise.
#[must_use]
pub fn run(list: &List, mutation: Mutation) -> (Figures, Option<Breach>) {
    world::World::new(list.seed, mutation, &list.operations).run().0
}

/// Runs a list with the port call at one site muted.
#[must_use]
pub fn run_muted(list: &List, site: Site) -> (Figures, Option<Breach>) {
    let mut world = world::World::new(list.seed, Mutation::None, &list.operations);
    world.muted = Some(site);
    world.run().0
}

/// Runs a list in which all calls of a port that routers read by fail.
#[must_use]
pub fn run_failing(list: &List, port: &'static str) -> (Figures, Option<Breach>) {
    let mut world = world::World::new(list.seed, Mutation::None, &list.operations);
    world.failing = Some(port);
    world.run().0
}

/// The sites at which a list's run calls a port, with the port's name.
#[must_use]
pub fn sites(list: &List) -> std::collections::BTreeMap<Site, &'static str> {
    let mut world = world::World::new(list.seed, Mutation::None, &list.operations);
    world.sites = Some(std::collections::BTreeMap::new());
    world.run().1
}
