//! The migrations, and which of them are frozen.
//!
//! A migration is frozen once a release holds it: databases have applied it, and it never changes again.
//! `migrations/SHA384SUMS` lists the frozen ones with their checksums, which are also those that Postgres keeps in
//! `_sqlx_migrations`. A release adds its migrations to the list:
//! `cd ledger/migrations && sha384sum 0*.sql > SHA384SUMS`.
//!
//! A later migration only adds (expand): the release before it still runs while it is applied. What nothing uses
//! any more is dropped in a later release (contract). `tests/it/migrations.rs` checks both.

use sqlx::migrate::{Migration, Migrator};

/// All migrations, oldest first.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The frozen migrations: a line for each, its SHA-384 checksum and its file's name.
pub const FROZEN: &str = include_str!("../migrations/SHA384SUMS");

/// The name of a migration's file.
#[must_use]
pub fn file_name(migration: &Migration) -> String {
    format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"))
}

/// Whether the list of frozen migrations names this one.
#[must_use]
pub fn is_frozen(migration: &Migration) -> bool {
    let file = file_name(migration);
    FROZEN.lines().any(|line| line.split_whitespace().nth(1) == Some(file.as_str()))
}
