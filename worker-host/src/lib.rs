//! The worker host: permits before pull, claim before paid work, ack extension while it runs, publish
//! the outcome, then the confirmed acknowledgement.
//!
//! What a provider does is behind [`Backend`]; what follows from what it says is decided by the pure
//! [`machine`]; this module's [`host`] only carries it out.

mod adopt;
pub mod attempt;
pub mod backend;
mod begin;
pub mod cancels;
pub mod claim;
pub mod conformance;
pub mod delivered;
pub mod host;
pub mod inputs;
mod io;
pub mod machine;
mod presence;
mod pull;
mod rescue;
mod room;
mod run;
mod settle;
mod spool;
mod stoppers;

pub use attempt::{Attempt, AttemptIo, Made, Stop, Stopper};
pub use backend::{Backend, Discovery, Found};
pub use host::WorkerConfig;
pub use policy::funds;
