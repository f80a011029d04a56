//! The worker's steps: from the delivery of an assignment to its acknowledgement, over the claim where it costs money.
//!
//! [`deliver`] is the whole of it. [`machine`] and [`delivered`] decide, the other files carry it out through
//! [`WorkerPorts`].

mod begin;
pub mod claim;
pub mod delivered;
mod errors;
pub mod machine;
pub mod ports;
pub mod report;
pub mod rescue;
mod run;
mod settle;
mod stop;

pub use errors::Unsettled;
pub use ports::{
    AttemptControl, Found, NoRoom, Preparation, Ran, SharedClaim, SpoolPorts, StoredFiles, Unreadable,
    WorkerPorts,
};
pub use run::deliver;
pub use stop::{Stop, may_start};
