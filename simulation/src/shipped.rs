//! The shipped router as a strategy: the steps of `protocol::router` (intake, waiting room, failed attempts,
//! take-back), polled in virtual time over simulated ports. Each router has a view of its own: it polls the backlog
//! and the offers at its own moments, as the process does.
//!
//! What is not simulated: the broker's time, encoding, lost messages. `tests/src/simulation.rs` is for those.

mod delivery;
mod executor;
mod lanes;
mod ports;
mod router;
mod routers;
mod wake;

pub use routers::Shipped;
