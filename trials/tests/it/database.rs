//! A Postgres for one test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use servers::{Found, Postgres, PostgresOptions};

/// An empty database; it ends with its server.
pub(crate) struct Database {
    pub(crate) url: String,
    _postgres: Postgres,
    _dir: tempfile::TempDir,
}

impl Database {
    pub(crate) async fn start() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = Found::load(manifest.parent().expect("the repository")).expect("run ops/scripts/obtain");
        let dir =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        // Postgres reads it under another account.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let options = PostgresOptions::for_test(dir.path().join("pg"));
        let postgres = Postgres::start(&found, options).await.expect("Postgres starts");
        postgres.create_database("trial").await.expect("the database is made");
        Self { url: postgres.url("trial"), _postgres: postgres, _dir: dir }
    }
}
