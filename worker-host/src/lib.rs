//! The worker host: permits before pull, the steps of [`protocol::worker`] over the broker, presence, and room for
//! results.
//!
//! What a provider does is behind [`Backend`]; the order of the steps is [`protocol::worker`]'s; what they need of the
//! broker, the disk and the provider is `NatsPorts`.

mod address;
mod adopt;
pub mod attempt;
pub mod backend;
mod breakers;
pub mod conformance;
mod context;
pub mod host;
pub mod inputs;
mod io;
mod kept_claims;
mod manifest;
mod measure;
mod nats;
mod presence;
mod progress;
mod pull;
pub mod python_json;
mod room;
mod spool;
mod stoppers;
mod worker_ports;

pub use attempt::{Attempt, AttemptIo, Made, Stopper};
pub use backend::{Backend, Discovery};
pub use host::WorkerConfig;
pub use policy::{funds, overhead};
pub use protocol::worker::{Found, Stop};
