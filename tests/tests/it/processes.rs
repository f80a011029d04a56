//! Our processes by themselves: wrong settings, absent servers, occupied ports: one line, one exit code.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use servers::process::{Spec, Supervised};
use servers::{Found, NatsOptions, NatsServer};
use tests::fleet::{LIMIT, root};

const OURS: [&str; 5] = ["router", "worker-local", "worker-cloud", "worker-gemini", "ledger"];

fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder.join(name))
}

/// Runs a process of ours, or `argosy`, which is asked for something that needs the broker.
fn run(name: &str, env: &[(&str, &str)]) -> anyhow::Result<(i32, String)> {
    let mut command = Command::new(binary(name)?);
    command.env_clear();
    if name == "argosy" {
        command.args(["topology", "verify", "--root", "/nonexistent"]);
    }
    // What each needs to get past its own settings.
    command.envs([
        ("ARGOSY_LEDGER__DATABASE_URL", "postgres://127.0.0.1:1/none"),
        ("ARGOSY_RUNPOD__ENDPOINT", "none"),
        ("ARGOSY_RUNPOD__API_KEY", "secret-of-runpod"),
        ("ARGOSY_GEMINI__API_KEY", "secret-of-gemini"),
        ("ARGOSY_NATS__CONNECT_PATIENCE_MS", "200"),
        ("ARGOSY_LOG__FILTER", "off"),
    ]);
    let Output { status, stderr, .. } =
        command.envs(env.iter().copied()).output().context(name.to_owned())?;
    let words = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(!words.contains("secret-of"), "{name} prints a key: {words}");
    Ok((status.code().context("a code")?, words))
}

fn told(name: &str, env: &[(&str, &str)], code: i32, words: &str) -> anyhow::Result<()> {
    let (found, said) = run(name, env)?;
    ensure!(found == code && said.contains(words), "{name} {env:?}: {found}, {said}");
    ensure!(said.trim_end().lines().count() == 1, "{name}: more than a line: {said}");
    Ok(())
}

#[test]
fn wrong_settings_end_before_anything_connects() -> anyhow::Result<()> {
    for name in OURS {
        told(name, &[("ARGOSY_NATS__ULR", "nats://x")], 78, "ulr")?;
        told(name, &[("ARGOSY_CONFIG", "/nonexistent.toml")], 78, "/nonexistent.toml")?;
        told(name, &[("ARGOSY_HTTP__LISTEN", "here")], 78, "http.listen")?;
    }
    told("worker-local", &[("ARGOSY_COMFYUI__URL", "not a url")], 78, "url")?;
    Ok(())
}

#[test]
fn an_absent_broker_is_told_with_the_cure() -> anyhow::Result<()> {
    for name in OURS {
        told(name, &[("ARGOSY_NATS__URL", "nats://127.0.0.1:1")], 69, "ARGOSY_NATS__URL")?;
    }
    Ok(())
}

#[test]
fn every_program_reads_the_same_keys_of_the_broker_and_prints_no_password() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("argosy.toml");
    std::fs::write(
        &file,
        "[nats]\nurl = \"nats://127.0.0.1:1\"\ncredentials_file = \"/nonexistent.creds\"\n",
    )?;
    let file = file.to_string_lossy().into_owned();
    for name in OURS.into_iter().chain(["argosy"]) {
        let url = ("ARGOSY_NATS__URL", "nats://svc:secret-of-nats@127.0.0.1:1");
        told(name, &[url], 69, "no broker at nats://***@127.0.0.1:1")?;
        told(name, &[("ARGOSY_NATS__CREDENTIALS_FILE", "/nonexistent.creds")], 78, "nats.credentials_file")?;
        told(name, &[("ARGOSY_CONFIG", &file)], 78, "/nonexistent.creds")?;
        told(name, &[url, ("ARGOSY_NATS__USER", "another")], 78, "different users")?;
        told(name, &[("ARGOSY_NATS__PASSWORD", "31415926")], 78, "nats.password")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_users_lets_every_program_in_by_address_or_by_keys() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let found = Found::load(&root())?;
    let port = servers::free_port()?.to_string();
    let spec = Spec::new("nats", &found.nats_server, dir.path().join("nats.log"))
        .args([
            "--addr",
            "127.0.0.1",
            "--port",
            &port,
            "--user",
            "svc",
            "--pass",
            "secret-of:n@ts",
            "-js",
            "-sd",
        ])
        .args([dir.path().join("js")]);
    let mut nats = Supervised::spawn(spec)?;
    let listens =
        async |_: &Supervised| tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.ok();
    nats.wait_until("listen", std::time::Duration::from_secs(30), listens).await?;
    let (bare, named) =
        (format!("nats://127.0.0.1:{port}"), format!("nats://svc:secret-of%3An%40ts@127.0.0.1:{port}"));
    let (user, password) = (("ARGOSY_NATS__USER", "svc"), ("ARGOSY_NATS__PASSWORD", "secret-of:n@ts"));
    for name in ["router", "argosy"] {
        // It is let in, and finds none of our streams.
        let streams = if name == "argosy" { (1, "") } else { (73, "argosy topology apply") };
        for env in
            [&[("ARGOSY_NATS__URL", named.as_str())][..], &[("ARGOSY_NATS__URL", &bare), user, password]]
        {
            let (code, said) = run(name, env)?;
            ensure!(code == streams.0 && said.contains(streams.1), "{name}: {code}, {said}");
        }
        let (code, said) = run(name, &[("ARGOSY_NATS__URL", &bare)])?;
        ensure!(code == 69, "{name}: {code}, {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_says_for_what_and_ends_when_it_is_asked_to() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let nats = NatsServer::start(&Found::load(&root())?, NatsOptions::new(dir.path().join("nats"))).await?;
    let nowhere = "nats://127.0.0.1:1".to_owned();
    for (name, url, words) in
        [("router", nowhere, "waiting for the broker"), ("ledger", nats.url(), "waiting for the database")]
    {
        let spec = Spec::new(name, binary(name)?, dir.path().join(format!("{name}.log")))
            .env("ARGOSY_NATS__URL", url)
            .env("ARGOSY_NATS__CONNECT_PATIENCE_MS", "600000")
            .env("ARGOSY_LEDGER__CONNECT_PATIENCE_MS", "600000")
            .env("ARGOSY_LEDGER__DATABASE_URL", "postgres://argosy:none@127.0.0.1:1/none");
        let mut child = Supervised::spawn(spec)?;
        child.wait_for_log(words, LIMIT).await?;
        child.ask_to_stop()?;
        let status = child.wait_exit(LIMIT).await?;
        ensure!(status.code() == Some(0), "{name}: {status}, {}", child.log_tail());
    }
    Ok(())
}

#[test]
fn an_occupied_port_is_told_with_the_cure() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    told("router", &[("ARGOSY_HTTP__LISTEN", &address)], 71, "ARGOSY_HTTP__LISTEN")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_our_streams_is_told_with_the_cure() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let found = Found::load(&root())?;
    let nats = NatsServer::start(&found, NatsOptions::new(dir.path())).await?;
    for name in ["router", "worker-local"] {
        told(name, &[("ARGOSY_NATS__URL", &nats.url())], 73, "argosy topology apply")?;
    }
    Ok(())
}
