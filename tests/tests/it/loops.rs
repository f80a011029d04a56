//! The background loops behind a connection, on a real broker: the end of each is announced, and no publish waits for
//! an answer that nothing reads.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use runtime::broker::Broker;
use runtime::config::NatsConfig;
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
