//! Migrations under load: they are applied to full tables while reservations go on, and every lock is timed.
//!
//! A migration is fit for a running fleet if it holds no lock for longer than a second that a reader or a writer of
//! the ledger waits for, and if no reservation waits for it longer than that. Both are sampled from Postgres
//! ([`Sample`]), so a busy machine is not taken for a lock. Reservations are written with the first release's
//! statements, not with the ledger's code: while the migrations of a release are applied, the release before it runs.
//! A migration that locks two tables may also meet a reservation that has them in another order: Postgres ends one of
//! the two, and the check fails.

mod reservations;
mod watch;

use std::time::Duration;

use anyhow::Context as _;
use ledger::migrations::MIGRATOR;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};
use tokio_util::sync::CancellationToken;

use reservations::reserve_until;
use watch::{pid_of, watch_until};

pub use watch::{Held, Waits};

/// What was seen while migrations were applied.
#[derive(Debug)]
pub struct Seen {
    /// The locks that were held, and how long a reservation waited.
    pub waits: Waits,
    /// Reservations that were made from the beginning to the end.
    pub reservations: u64,
    /// How long the migrations took.
    pub took: Duration,
}

impl Seen {
    /// What held a lock, or a reservation, for longer than the limit.
    #[must_use]
    pub fn complaints(&self, limit: Duration) -> Vec<String> {
        let held = self.waits.held.iter().filter(|held| held.longest > limit).map(|held| {
            let Held { relation, mode, longest } = held;
            format!(
                "{mode} on {relation} is held for {} ms, at most {} ms",
                longest.as_millis(),
                limit.as_millis()
            )
        });
        let waited = Some(self.waits.reservation).filter(|waited| *waited > limit).map(|waited| {
            format!("a reservation waits for {} ms, at most {} ms", waited.as_millis(), limit.as_millis())
        });
        held.chain(waited).collect()
    }
}

/// Applies the migrations that a release holds: those that are frozen.
///
/// # Errors
/// The database refuses, or does not answer.
pub async fn apply_frozen(url: &str) -> anyhow::Result<()> {
    let frozen = MIGRATOR.iter().filter(|migration| ledger::migrations::is_frozen(migration));
    let mut connection = PgConnection::connect(url).await?;
    Migrator::with_migrations(frozen.cloned().collect()).run(&mut connection).await?;
    Ok(connection.close().await?)
}

/// The ledger's own migrations, and made-up ones behind them.
#[must_use]
pub fn with_made_up(made_up: &[&str]) -> Vec<Migration> {
    let last = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default();
    let made_up = made_up.iter().zip(last + 1..).map(|(sql, version)| {
        let sql = AssertSqlSafe((*sql).to_owned()).into_sql_str();
        Migration::new(version, "made up".into(), MigrationType::Simple, sql, false)
    });
    MIGRATOR.iter().cloned().chain(made_up).collect()
}

/// Applies those of the migrations that are missing while reservations go on, and returns what was seen.
///
/// # Errors
/// A migration or a reservation fails, or the database does not answer.
pub async fn apply_under_load(url: &str, migrations: Vec<Migration>) -> anyhow::Result<Seen> {
    let (mut migrating, mut reserving) =
        (PgConnection::connect(url).await?, PgConnection::connect(url).await?);
    let mut watching = PgConnection::connect(url).await?;
    let pids = (pid_of(&mut migrating).await?, pid_of(&mut reserving).await?);
    let (begun, over) = (CancellationToken::new(), CancellationToken::new());
    let applying = async {
        let _over = over.clone().drop_guard();
        begun.cancelled().await;
        let started = std::time::Instant::now();
        Migrator::with_migrations(migrations).run(&mut migrating).await.context("migrating")?;
        anyhow::Ok(started.elapsed())
    };
    let (took, reservations, waits) = tokio::try_join!(
        applying,
        reserve_until(&mut reserving, &begun, &over),
        watch_until(&mut watching, pids, &over)
    )?;
    Ok(Seen { waits, reservations, took })
}
