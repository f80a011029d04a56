//! The ledger against a real Postgres, and its loops against a real broker as well. Every test has a
//! database of its own on one server, which lives as long as a test holds it.

mod additive;
mod analysts;
mod ingest;
mod late_money;
mod lives;
mod loops;
mod migrations;
mod order;
mod overhead;
mod plain_views;
mod process;
mod reads;
mod reserve;
mod rollup;
mod schema;
mod server;
mod story;
mod views;
