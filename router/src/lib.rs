//! The router: takes jobs in, has `policy` decide, and carries the decision out.
//!
//! It is stateless: what it knows comes from watched buckets and stream state, what it did is in the
//! broker before it acknowledges what it read. Two routers on the same consumers change nothing but
//! speed, and one may be killed between any two lines: every step is a publish with an id of its own,
//! then the acknowledgement, and a repeat is a no-op (see the modules for each).
//!
//! The steps themselves are [`protocol::router`]'s, the same that the simulation runs. This crate has the loops around
//! them, and their ports over NATS.
//!
//! | module | what it does |
//! |---|---|
//! | [`ports`] | the ports: each does one thing and decides nothing |
//! | [`intake`] | pulls jobs from the lanes |
//! | [`failed_attempts`] | pulls failed attempts |
//! | [`sweep`] | looks for work to take back, and for orphans |
//! | [`advisories`] | messages that the broker gave up on |
//! | [`fleet`] | offers and backlog: the fleet as plans see it |
//! | [`breakers`] | breakers of providers: what attempts say as they end, and bucket `BREAKERS` ([`breaker_store`]) |
//! | [`reserving`] | asks the ledger for money, in batches |
//! | [`quotas`] | how much of what is shared each tenant uses |
//! | `source` | a consumer that is pulled from, and made anew when it is gone |
//! | `stalled` | consumers that do not deliver again what nobody has in hand |
//! | `streams` | reads of the streams |
//! | [`api`] | status, explain, cancel, estimate, backends |
//! | `waiting` | what a job waits for, whichever router holds it |

pub mod advisories;
pub mod api;
pub mod breaker_store;
pub mod breakers;
mod digest;
pub mod failed_attempts;
pub mod fleet;
pub mod intake;
pub mod message;
pub mod ports;
mod queues;
pub mod quotas;
pub mod reserving;
pub mod shared;
mod source;
mod stalled;
pub mod start;
mod streams;
pub mod sweep;
mod waiting;
mod waits;
