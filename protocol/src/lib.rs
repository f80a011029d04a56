//! The fleet's steps: what routers and workers do with a message, in which order, and what follows.
//!
//! The processes run these steps over NATS, the simulation runs the same steps over a simulated broker. So this crate
//! knows no broker, no runtime and no clock: everything outside is a [`Ports`] call.

pub mod claim_store;
pub mod digest;
pub mod errors;
pub mod make_room;
pub mod note;
pub mod ports;
pub mod race;
pub mod router;
pub mod worker;

pub use claim_store::ClaimStore;
pub use errors::{ClaimError, PortError, PublishError, StepError};
pub use note::Note;
pub use ports::{Answer, Claimed, FleetConfig, Held, Ports, Published, Record, StoredMessage};
