//! Both servers survive `kill -9` with their data and come back on the same port.

#[cfg(target_os = "linux")]
use crate::doomed::{doomed_dir, kill_the_parent, settle_and_wait_for_death};
use crate::repository;
use crate::scratch;
use async_nats::jetstream::{self, stream};
use servers::{Found, NatsOptions, NatsServer, Postgres, PostgresOptions, ServerError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(10);

fn found() -> Found {
    Found::load(repository()).expect("run ops/scripts/obtain first")
}

async fn jetstream_of(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("the server is ready"))
}

#[tokio::test]
async fn nats_keeps_acknowledged_messages_through_kill9() {
    let (_scratch, dir) = scratch();
    let mut server = NatsServer::start(&found(), NatsOptions::new(&dir)).await.unwrap();
    let (url, first_pid) = (server.url(), server.pid());
    let context = jetstream_of(&server).await;
    let config =
        stream::Config { name: "KEPT".into(), subjects: vec!["kept.>".into()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    for n in 0..100_u32 {
        context.publish(format!("kept.{n}"), n.to_string().into()).await.unwrap().await.unwrap();
    }

    server.kill9().unwrap();
    assert!(async_nats::connect(&url).await.is_err(), "nobody listens after kill -9");
    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), first_pid);

    let context = jetstream_of(&server).await;
    let stream = context.get_stream("KEPT").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 100);
    assert_eq!(stream.get_raw_message(100).await.unwrap().payload, "99");
    let status = server.stop(GRACE).await.unwrap();
    assert!(status.code().is_some(), "it left by itself: {status}");
}

#[tokio::test]
async fn nats_syncs_always_when_asked_and_bounds_payloads() {
    let (_scratch, dir) = scratch();
    let options = NatsOptions { sync_always: true, max_payload_bytes: 4096, ..NatsOptions::new(&dir) };
    let server = NatsServer::start(&found(), options).await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    assert_eq!(client.server_info().max_payload, 4096);
    let config = std::fs::read_to_string(dir.join("nats-server.conf")).unwrap();
    assert!(config.contains("sync_interval: always"), "{config}");
}

#[tokio::test]
async fn a_second_server_is_refused_the_directory_and_an_occupied_port() {
    let (_scratch, dir) = scratch();
    let found = found();
    let server = NatsServer::start(&found, NatsOptions::new(dir.join("a"))).await.unwrap();
    let again = NatsServer::start(&found, NatsOptions::new(dir.join("a"))).await.unwrap_err();
    assert!(matches!(again, ServerError::DirInUse { .. }), "{again}");
    let port = Some(server.port());
    let options = NatsOptions { port, ..NatsOptions::new(dir.join("b")) };
    let taken = NatsServer::start(&found, options).await.unwrap_err();
    assert!(matches!(taken, ServerError::PortInUse { .. }), "{taken}");
    let options = PostgresOptions { port, ..PostgresOptions::for_test(dir.join("c")) };
    let taken = Postgres::start(&found, options).await.unwrap_err();
    assert!(matches!(taken, ServerError::PortInUse { .. }), "{taken}");
}

#[tokio::test]
async fn postgres_keeps_its_databases_through_kill9() {
    let (_scratch, dir) = scratch();
    let mut server = Postgres::start(&found(), PostgresOptions::for_test(&dir)).await.unwrap();
    let (url, first_pid) = (server.url("kept"), server.pid());
    assert!(server.create_database("kept").await.unwrap());
    for _ in 0..3 {
        server.kill9().unwrap();
        server.restart().await.unwrap();
        assert!(!server.create_database("kept").await.unwrap(), "it is still there");
    }
    assert_eq!(server.url("kept"), url);
    assert_ne!(server.pid(), first_pid);
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert!(log.contains("was not properly shut down"), "the kills were kills:\n{log}");
    let status = server.stop(GRACE).await.unwrap();
    assert!(status.success(), "a fast shutdown: {status}");
}

#[tokio::test]
async fn postgres_keeps_its_cluster_from_start_to_start_and_minds_its_version() {
    let (_scratch, dir) = scratch();
    let mut found = found();
    let options = || PostgresOptions { fsync: false, ..PostgresOptions::new(&dir) };
    let server = Postgres::start(&found, options()).await.unwrap();
    assert!(server.create_database("kept").await.unwrap());
    let folder = server.log_path().parent().unwrap().to_owned();
    server.stop(GRACE).await.unwrap();

    let written_by = found.postgres_version;
    found.postgres_version.major += 1;
    let other = Postgres::start(&found, options()).await.unwrap_err();
    assert!(matches!(other, ServerError::OtherVersion { .. }), "{other}");

    found.postgres_version = written_by;
    let server = Postgres::start(&found, PostgresOptions { ephemeral: true, ..options() }).await.unwrap();
    assert!(!server.create_database("kept").await.unwrap(), "it is still there");
    drop(server);
    assert!(!folder.join("data").exists(), "an ephemeral cluster leaves nothing behind");
}

/// Makes a database by `createdb` with a password, or without one; what it said when it was refused.
fn refused(server: &Postgres, password: Option<&str>, name: &str) -> Option<String> {
    let mut createdb = std::process::Command::new(found().postgres_bin_dir.join("createdb"));
    createdb.args(["--no-password", "--host=127.0.0.1", "--username=argosy", "--port"]);
    createdb.arg(server.port().to_string()).arg(name).env("LC_ALL", "C").env_remove("PGPASSFILE");
    createdb.env("HOME", "/nonexistent").env("PGPASSWORD", password.unwrap_or_default());
    let output = createdb.output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn password_of(server: &Postgres) -> String {
    let url = server.url("postgres");
    let (user_info, _) = url.strip_prefix("postgres://argosy:").unwrap().split_once('@').unwrap();
    user_info.to_owned()
}

#[tokio::test]
async fn postgres_opens_by_its_password_alone() {
    let (_scratch, dir) = scratch();
    let server = Postgres::start(&found(), PostgresOptions::for_test(&dir)).await.unwrap();
    let password = password_of(&server);
    for wrong in [None, Some("argosy"), Some(&password[1..])] {
        let said = refused(&server, wrong, "wrong").expect("it is refused");
        assert!(said.contains("password"), "{said}");
    }
    assert_eq!(refused(&server, Some(&password), "right"), None);
    let file = server.log_path().with_file_name("password");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), password);
    assert!(!format!("{server:?}").contains(&password), "it is not printed");
    let (_other_scratch, other) = scratch();
    let other = Postgres::start(&found(), PostgresOptions::for_test(&other)).await.unwrap();
    assert_ne!(password_of(&other), password, "each cluster has its own");
}

#[tokio::test]
async fn a_cluster_that_trusted_everybody_is_closed_at_its_next_start() {
    let (_scratch, dir) = scratch();
    let options = || PostgresOptions { fsync: false, ..PostgresOptions::new(&dir) };
    let server = Postgres::start(&found(), options()).await.unwrap();
    assert!(server.create_database("kept").await.unwrap());
    let folder = server.log_path().parent().unwrap().to_owned();
    server.stop(GRACE).await.unwrap();
    // As release 0.1.0 left it.
    std::fs::remove_file(folder.join("password")).unwrap();
    let access = folder.join("data/pg_hba.conf");
    std::fs::write(&access, "host all all 127.0.0.1/32 trust\n").unwrap();

    let server = Postgres::start(&found(), options()).await.unwrap();
    assert!(refused(&server, None, "open").is_some_and(|said| said.contains("password")));
    assert!(!server.create_database("kept").await.unwrap(), "its data are there");
    let password = password_of(&server);
    server.stop(GRACE).await.unwrap();
    let server = Postgres::start(&found(), PostgresOptions { ephemeral: true, ..options() }).await.unwrap();
    assert_eq!(password_of(&server), password, "and it stays closed by the same");
    assert_eq!(refused(&server, Some(&password), "right"), None);
}

/// As root, below a directory nobody else may enter (a clone in /root); as anybody else nothing is special.
#[tokio::test]
async fn postgres_runs_from_a_closed_directory() {
    let (_scratch, dir) = scratch();
    let closed = dir.join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let is_root = std::fs::metadata(&closed).unwrap().uid() == 0;
    let server = Postgres::start(&found(), PostgresOptions::for_test(closed.join("pg"))).await.unwrap();
    assert!(server.create_database("here").await.unwrap());
    assert_eq!(server.note().is_some(), is_root, "{:?}", server.note());
    let kept_outside = !server.log_path().starts_with(&closed);
    assert_eq!(kept_outside, is_root, "{}", server.log_path().display());
    let data = server.log_path().parent().map(Path::to_owned).unwrap();
    drop(server);
    assert!(!data.exists(), "an ephemeral cluster leaves nothing behind");
}

/// Not a test of its own: run by the one below in a process that is then killed.
#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "the parent that servers_of_a_killed_parent_end kills"]
async fn parent_to_be_killed() {
    let Some(dir) = doomed_dir() else { return };
    let nats = NatsServer::start(&found(), NatsOptions::new(dir.join("nats"))).await.unwrap();
    let postgres = Postgres::start(&found(), PostgresOptions::for_test(dir.join("pg"))).await.unwrap();
    settle_and_wait_for_death(&dir, &[nats.pid(), postgres.pid()]);
}

/// PostgreSQL too, which as root runs under another account.
#[cfg(target_os = "linux")]
#[test]
fn servers_of_a_killed_parent_end() {
    kill_the_parent("servers::parent_to_be_killed");
}
