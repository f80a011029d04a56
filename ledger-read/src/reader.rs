//! The connection to the books. Postgres itself refuses to write on it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::Error;

/// Rows that one answer may have.
pub const ROWS_MAX: i64 = 10_000;

/// How long to wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What Postgres holds each connection to: it ends a statement after so long, and refuses every write.
const SETTINGS: [(&str, &str); 2] = [("statement_timeout", "15s"), ("default_transaction_read_only", "on")];

/// The ledger's database, for reading alone.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) pool: PgPool,
}

impl Reader {
    /// Connects, with at most `max_connections` connections.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL is malformed; [`Error::Database`] when the database does not answer.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| Error::Url(error.to_string()))?
            .application_name("argosy-reader")
            .options(SETTINGS);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use servers::{Found, Postgres, PostgresOptions};

    use super::*;

    #[tokio::test]
    async fn a_reader_cannot_write() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = Found::load(manifest.parent().expect("the repository")).expect("run ops/scripts/obtain");
        let dir = tempfile::tempdir().expect("a folder");
        // Postgres reads it under another account.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let options = PostgresOptions::for_test(dir.path().join("pg"));
        let postgres = Postgres::start(&found, options).await.expect("Postgres starts");
        let url = postgres.url("postgres");
        let writer = PgPool::connect(&url).await.expect("the database answers");
        sqlx::query("create table rows (id integer)").execute(&writer).await.expect("a writer writes");

        let reader = Reader::connect(&url, 2).await.expect("the database answers");
        let count: i64 =
            sqlx::query_scalar("select count(*) from rows").fetch_one(&reader.pool).await.expect("it reads");
        assert_eq!(count, 0);
        for write in
            ["insert into rows values (1)", "delete from rows", "drop table rows", "create table more ()"]
        {
            let refused = sqlx::query(write).execute(&reader.pool).await.expect_err(write);
            let code =
                refused.as_database_error().and_then(|error| error.code().map(|code| code.to_string()));
            assert_eq!(code.as_deref(), Some("25006"), "{write}: {refused}");
        }
        reader.close().await;
    }

    #[tokio::test]
    async fn what_is_no_url_is_named() {
        let refused = Reader::connect("argosy", 1).await.expect_err("no URL");
        assert!(matches!(refused, Error::Url(_)), "{refused}");
    }
}
