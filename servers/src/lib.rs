//! The two servers Argosy stands on, run by us: `argosy up`, `argosy demo` and every test that wants the
//! real thing start their own nats-server and PostgreSQL on loopback, with their data in a directory they
//! name. Which binaries those are was decided by `ops/scripts/obtain`.
//!
//! Production does not come through here: there the servers are somebody else's, given by URL.
//!
//! Rejected: containers (a fresh machine has none), servers shared between tests (a kill drill needs its
//! own), `pg_ctl` (it leaves the server behind when we die).

mod cluster;
mod error;
mod found;
mod link;
mod nats;
mod place;
mod ports;
mod postgres;
pub mod process;
mod version;

pub use cluster::{Links, NatsCluster};
pub use error::ServerError;
pub use found::Found;
pub use link::{Link, LinkState};
pub use nats::{NatsOptions, NatsServer, Peers};
pub use ports::{free_port, is_free, reached_at};
pub use postgres::{Postgres, PostgresOptions};
pub use version::Version;
