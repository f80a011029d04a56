//! `argosy doctor` and `topology verify` on real servers: a broker that may forget is not called safe.

use anyhow::ensure;
use ops::doctor::{Verdict, syncing};
use ops::monitor;
use servers::{Found, NatsOptions, NatsServer};
use std::process::Output;
use tests::fleet::{TestFleet, root};

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = fleet.argosy(arguments);
    Ok(command.env("ARGOSY_NATS_MONITOR", fleet.stack.nats.monitor_url()).output().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_on_servers_that_may_forget_is_well_and_not_safe() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|_| {}).await?;
    let output = argosy(&fleet, &["--json", "doctor"]).await?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let verdict = |check: &str| {
        let findings = told["findings"].as_array().into_iter().flatten();
        let of_check = findings.filter(|finding| finding["check"] == check);
        of_check.map(|finding| finding["verdict"].clone()).collect::<Vec<_>>()
    };
    ensure!(verdict("broker syncs") == ["bad"] && verdict("database") == ["bad"], "{told}");
    ensure!(verdict("topology") == ["good"] && verdict("ledger") == ["good"], "{told}");
    ensure!(verdict("backend") == ["good", "good", "good"], "{told}");
    let output = argosy(&fleet, &["topology", "verify"]).await?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(1) && lines.contains("sync_interval: always"), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_syncs_every_write_says_so() -> anyhow::Result<()> {
    let found = Found::load(&root())?;
    let dir = tempfile::tempdir()?;
    let options = NatsOptions { sync_always: true, ..NatsOptions::new(dir.path()) };
    let nats = NatsServer::start(&found, options).await?;
    let nodes = monitor::varz(&[nats.monitor_url()]).await?;
    ensure!(syncing(&nodes).verdict == Verdict::Good, "{nodes:?}");
    Ok(())
}
