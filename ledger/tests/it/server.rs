//! One Postgres for all tests, a database for each.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use ledger::Store;
use ledger_read::Reader;
use servers::{Found, Postgres, PostgresOptions};
use sqlx::postgres::PgPool;
use tokio::sync::Mutex;

static SERVER: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

struct Server {
    postgres: Postgres,
    _dir: tempfile::TempDir,
}

/// A migrated database, gone with the server.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) reader: Reader,
    /// For looking at the tables themselves.
    pub(crate) pool: PgPool,
    pub(crate) url: String,
    _server: Arc<Server>,
}

pub(crate) fn found() -> Found {
    let repository =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    Found::load(repository).expect("run ops/scripts/obtain first")
}

/// A directory that Postgres reaches under another account.
pub(crate) fn scratch() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    dir
}

async fn server() -> Arc<Server> {
    let mut shared = SERVER.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let dir = scratch();
    let options =
        PostgresOptions { max_connections: 200, ..PostgresOptions::for_test(dir.path().join("pg")) };
    let postgres = Postgres::start(&found(), options).await.expect("Postgres starts");
    let server = Arc::new(Server { postgres, _dir: dir });
    *shared = Arc::downgrade(&server);
    server
}

/// A database without any migration.
pub(crate) async fn empty() -> Database {
    let server = server().await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.postgres.create_database(&name).await.expect("the database is made");
    let url = server.postgres.url(&name);
    let store = Store::connect(&url, 8).await.expect("the database answers");
    let reader = Reader::connect(&url, 2).await.expect("the database answers");
    let pool = PgPool::connect(&url).await.expect("the database answers");
    Database { store, reader, pool, url, _server: server }
}

pub(crate) async fn migrated() -> Database {
    let database = empty().await;
    database.store.migrate().await.expect("the migrations apply");
    database
}

impl Database {
    /// One number.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("the query is good")
    }

    /// One text, null as `-`.
    pub(crate) async fn text(&self, sql: &'static str) -> String {
        let text: Option<String> =
            sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("the query is good");
        text.unwrap_or_else(|| "-".to_owned())
    }

    /// All rows of all tables that events lead to.
    pub(crate) async fn dump(&self) -> String {
        self.text(
            "select jsonb_pretty(jsonb_build_object(
                'events', (select jsonb_agg(to_jsonb(e) order by job, attempt, kind) from events e),
                'jobs', (select jsonb_agg(to_jsonb(j) order by id) from jobs j),
                'attempts', (select jsonb_agg(to_jsonb(a) order by job, attempt) from attempts a),
                'charges', (select jsonb_agg(to_jsonb(c) order by job, attempt) from charges c),
                'budget_use', (select jsonb_agg(to_jsonb(b) order by tenant, day) from budget_use b
                    where committed_micro_usd <> 0)))",
        )
        .await
    }

    /// What must hold whatever happened: the books balance, and the rollup is the sum of its rows.
    pub(crate) async fn books_balance(&self) {
        let whole = self.reader.conservation().await.expect("readable");
        assert!(whole.holds(), "{whole:?}");
        let broken = self
            .number(
                "select count(*) from (
                    select tenant, budget_day as day, sum(open_micro_usd + posted_micro_usd) as committed
                    from charges group by 1, 2) c
                full join budget_use b using (tenant, day)
                where coalesce(c.committed, 0) <> coalesce(b.committed_micro_usd, 0)",
            )
            .await;
        assert_eq!(broken, 0, "budget_use is not the sum of its charges");
    }
}
