//! The connection to Postgres: made, migrated, prepared, closed.

use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use crate::Error;
use crate::locks::INGEST_LOCK;
use crate::migrations::MIGRATOR;
use crate::recent::Recent;

/// How long to wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Postgres ends a statement of ours after this, waiting for locks included.
const STATEMENT_TIMEOUT: &str = "15s";

/// Months of partitions kept prepared ahead, the running one included.
const MONTHS_AHEAD: i32 = 4;

/// The ledger's database.
#[derive(Debug, Clone)]
pub struct Store {
    options: PgConnectOptions,
    pub(crate) pool: PgPool,
    pub(crate) recent: Arc<Mutex<Recent>>,
}

impl Store {
    /// Connects, with at most `max_connections` connections.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL is malformed; [`Error::Database`] when the database does not answer.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| Error::Url(error.to_string()))?
            .application_name("argosy-ledger");
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone().options([("statement_timeout", STATEMENT_TIMEOUT)]))
            .await?;
        Ok(Self { options, pool, recent: Arc::default() })
    }

    /// Applies the migrations that are missing and prepares the coming months. Safe to repeat, and to
    /// run from several processes at once: the migrator takes a lock.
    ///
    /// # Errors
    /// [`Error::Migrate`] when one fails or an applied one has changed since; [`Error::Database`].
    pub async fn migrate(&self) -> Result<(), Error> {
        // A connection of its own: a migration may take longer than a statement of ours may.
        let mut connection = self.options.connect().await?;
        MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        self.prepare_partitions().await
    }

    /// Creates the partitions of the coming months where they are missing.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn prepare_partitions(&self) -> Result<(), Error> {
        // Under the ingest lock: two processes would make the same month, and creating one waits for the
        // tables in an order of its own.
        let mut transaction = self.pool.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", INGEST_LOCK).execute(&mut *transaction).await?;
        let made = sqlx::query_scalar!("select prepare_partitions(now(), $1)", MONTHS_AHEAD)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        tracing::debug!(partitions = made, "partitions prepared");
        Ok(())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Database`] when it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query_scalar!("select 1").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
