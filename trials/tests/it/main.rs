//! The trials' own parts against a real Postgres.

mod database;
mod made_up;
mod migrations;
#[path = "../../../ledger/tests/it/plain_views.rs"]
mod plain_views;
