//! The background loops behind a connection, on a real broker: the end of each is announced and ends its process with
//! exit code 70, and no publish waits for an answer that nothing reads.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use runtime::broker::Broker;
use runtime::config::{Common, NatsConfig};
use runtime::process::{self, Description, Threads};
use runtime::publish::{Message, PublishError};
use schemas::topology::Topology;
use schemas::{Lane, subjects};
use servers::{Found, NatsOptions, NatsServer};
use tests::fleet::root;
use tests::jobs::{prompt, tenant};

/// Longer than a publish takes with all its tries.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(nats: &NatsServer) -> anyhow::Result<Broker> {
    let config = NatsConfig { url: nats.url().into(), group_writes: true, ..NatsConfig::default() };
    Ok(Broker::connect(&config, "loops").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_each_loop_is_announced_and_no_publish_waits_for_ever() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let nats = NatsServer::start(&Found::load(&root())?, NatsOptions::new(dir.path())).await?;
    let first = connect(&nats).await?;
    runtime::topology::apply(&first.jetstream, &Topology::new(1)).await?;
    let names: BTreeSet<&str> = first.loops.names().into_iter().collect();
    ensure!(names.len() == 3, "reader, writer and keeper: {names:?}");
    for name in names {
        let broker = connect(&nats).await?;
        broker.loops.abort(name);
        let ended = tokio::time::timeout(PATIENCE, broker.loops.first_end()).await;
        ensure!(ended.context(name)? == name);
        let job = prompt("nobody reads the answer");
        let message =
            Message::new(subjects::jobs(Lane::Standard, &tenant("default")), job.id.to_string(), &job);
        let published = tokio::time::timeout(PATIENCE, broker.publisher.publish(&message)).await;
        let published = published.with_context(|| format!("a publish waits for ever without the {name}"))?;
        let answered = name.starts_with("keeper");
        ensure!(published.is_ok() == answered, "without the {name}: {published:?}");
        ensure!(answered || matches!(published, Err(PublishError::Away { .. })));
    }
    Ok(())
}

/// Where the child process of the next test finds the broker, and which loop it loses.
const NATS: &str = "ARGOSY_TEST_NATS";
const LOSES: &str = "ARGOSY_TEST_LOSES";

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_loses_a_loop_ends_with_70() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let nats = NatsServer::start(&Found::load(&root())?, NatsOptions::new(dir.path())).await?;
    let names: BTreeSet<&str> = connect(&nats).await?.loops.names().into_iter().collect();
    ensure!(names.len() == 3, "reader, writer and keeper: {names:?}");
    for name in names {
        let mut child = tokio::process::Command::new(std::env::current_exe()?);
        child.args(["--exact", "loops::child_that_loses_a_loop", "--ignored", "--nocapture"]);
        let output = child.env(NATS, nats.url()).env(LOSES, name).output();
        let output = tokio::time::timeout(PATIENCE, output).await.with_context(|| name.to_owned())??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.contains(&format!("the {name} ended")), "{name}: {output:?}");
    }
    Ok(())
}

#[test]
#[ignore = "the child of a_process_that_loses_a_loop_ends_with_70"]
fn child_that_loses_a_loop() {
    let word = |key: &str| std::env::var(key).unwrap_or_else(|_| panic!("{key} is set by the parent"));
    let mut common = Common::default();
    (common.nats.url, common.nats.group_writes) = (word(NATS).as_str().into(), true);
    let description =
        Description { name: "child", about: "Loses a loop", sections: &[], threads: Threads::One };
    let lost = word(LOSES);
    let ended = process::run_loaded(description, common, async |context| {
        context.broker.loops.abort(&lost);
        Ok(())
    });
    assert_eq!(ended, ExitCode::from(70));
}
