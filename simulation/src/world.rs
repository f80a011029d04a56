//! What routers decide about: servers that pull bound work, providers, bills, failures, outages. Strategies bind jobs
//! to backends ([`World::bind`]) and end jobs that nothing will run ([`World::end`]); everything else happens here.

mod agenda;
mod binding;
mod pool;
mod rows;
mod server;
mod state;

pub use agenda::Event;
pub use binding::{Binding, FailedAttempt, Notice};
pub use rows::{AttemptRow, JobRow, OverheadRow, Rows, SlotRow};
pub use server::Server;
pub use state::{Shared, World};
