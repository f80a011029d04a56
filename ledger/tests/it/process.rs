//! The binary: `ledger migrate`, and what it says when it cannot.

use std::process::{Command, Output};

use crate::server::empty;

/// Runs `ledger migrate` with this database; none leaves the configuration out.
fn migrate(url: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
    command.arg("migrate").env_clear().env("ARGOSY_LEDGER__CONNECT_PATIENCE_MS", "200");
    if let Some(url) = url {
        command.env("ARGOSY_LEDGER__DATABASE_URL", url);
    }
    command.output().expect("it runs")
}

fn one_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[tokio::test]
async fn migrate_applies_the_migrations() {
    let database = empty().await;
    for _ in 0..2 {
        let output = migrate(Some(&database.url));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(database.number("select count(*) from jobs").await, 0);
}

#[test]
fn an_absent_database_is_one_line_and_code_72() {
    // Nobody listens on port 1 of the loopback.
    let output = migrate(Some("postgres://argosy:secret@127.0.0.1:1/argosy"));
    assert_eq!(output.status.code(), Some(72));
    let line = one_line(&output);
    assert!(line.contains("ARGOSY_LEDGER__DATABASE_URL") && !line.contains("secret"), "{line}");
}

#[test]
fn a_missing_or_malformed_url_is_a_configuration_error() {
    for (url, code) in [(None, 78), (Some(""), 78), (Some("not a url"), 78)] {
        let output = migrate(url);
        assert_eq!(output.status.code(), Some(code), "{url:?}: {}", one_line(&output));
    }
}
