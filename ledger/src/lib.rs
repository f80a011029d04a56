//! The ledger: the only crate that writes the books. It reserves money before work begins and turns events into
//! rows; what was made, where, for how much and why is read with crate `ledger-read`.
//!
//! Rows are a pure function of facts. `events` keeps every event once; whenever a new one arrives, the
//! job it speaks of is folded again from all its events ([`fold`]) and its rows are replaced. That is
//! what makes replay and reorder harmless: there is no order to get wrong. Merging each event into the
//! rows in place was rejected: it saves a read, and every column needs a rule of its own for news that
//! arrives late.
//!
//! Advisory locks serialise writers ([`locks`]): batches are what make the ledger fast, not
//! writers side by side.

pub mod budget;
mod calendar;
pub mod consume;
pub mod error;
pub mod event_check;
pub mod fold;
mod ingest;
mod locks;
pub mod migrations;
pub mod overhead;
mod recent;
mod reservation;
mod reserve;
pub mod reserving;
pub mod rollup;
pub mod room;
pub mod store;

pub use error::Error;
pub use ingest::{INGEST_MAX, Ingested};
pub use reserve::RESERVE_MAX;
pub use store::Store;
