//! The trials' own parts against a real Postgres.

mod database;
mod made_up;
mod migrations;
