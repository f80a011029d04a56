//! Writes in groups (`nats.group_writes`), on a real broker that syncs every write: each message has the answer
//! that it would have had alone, whatever else is in its group.

use anyhow::ensure;
use futures::future::join_all;
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use runtime::publish::{Message, PublishError, Published};
use schemas::topology::{Topology, stream};
use schemas::{Backend, Class, JobId, Lane, Queue, subjects};
use servers::{Found, NatsOptions, NatsServer};
use tests::fleet::root;
use tests::jobs::{prompt, tenant};
use tokio::task::JoinSet;

async fn broker(nats: &NatsServer) -> anyhow::Result<Broker> {
    let config = NatsConfig { url: nats.url().into(), group_writes: true, ..NatsConfig::default() };
    let broker = Broker::connect(&config, "groups").await?;
    runtime::topology::apply(&broker.jetstream, &Topology::new(1)).await?;
    Ok(broker)
}

fn start(dir: &tempfile::TempDir) -> anyhow::Result<(Found, NatsOptions)> {
    Ok((Found::load(&root())?, NatsOptions { sync_always: true, ..NatsOptions::new(dir.path()) }))
}

fn job(n: usize) -> Message {
    let job = prompt(&format!("number {n}"));
    Message::new(subjects::jobs(Lane::Standard, &tenant("default")), format!("{n}"), &job)
}

async fn stored(broker: &Broker, name: &str) -> anyhow::Result<u64> {
    Ok(broker.jetstream.get_stream(name).await?.cached_info().state.messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_stored_once_and_whatever_is_wrong_in_it_is_told_of_that_alone() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (found, options) = start(&dir)?;
    let nats = NatsServer::start(&found, options).await?;
    let broker = broker(&nats).await?;
    let publisher = &broker.publisher;
    let jobs: Vec<Message> = (0..2_500).map(job).collect();
    ensure!(publisher.publish_all(jobs.clone(), 1_000).await? == 2_500);
    ensure!(publisher.publish_all(jobs, 1_000).await? == 0, "repeats are no news");
    ensure!(stored(&broker, stream::JOBS).await? == 2_500);
    let last = broker.jetstream.get_stream(stream::JOBS).await?.get_raw_message(2_499).await?;
    ensure!(last.headers.get("Nats-Batch-Id").is_some(), "they went in groups: {:?}", last.headers);

    // One assignment of a job waits at a time: of two, one is in the way of the other.
    let (local, class): (Backend, Class) = ("local".parse()?, "image-large".parse()?);
    let work: Vec<Message> = (0..300)
        .map(|_| JobId::new())
        .flat_map(|id| [1, 2].map(|attempt| (id, attempt)))
        .map(|(id, attempt)| {
            let subject = subjects::work(&local, &Queue::of_class(class.clone()), id);
            Message::new(subject, format!("{id}.{attempt}.work"), &attempt)
        })
        .collect();
    let answers = join_all(work.iter().map(|message| publisher.publish(message))).await;
    let count = |of: fn(&Result<Published, PublishError>) -> bool| answers.iter().filter(|a| of(a)).count();
    let new = count(|answer| matches!(answer, Ok(Published::New)));
    let occupied = count(|answer| matches!(answer, Err(PublishError::Occupied { .. })));
    ensure!((new, occupied) == (300, 300), "{new} new, {occupied} occupied");
    ensure!(stored(&broker, stream::WORK).await? == 300);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_the_middle_of_groups_has_each_message_once() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (found, options) = start(&dir)?;
    let mut nats = NatsServer::start(&found, options).await?;
    let broker = broker(&nats).await?;
    let publisher = broker.publisher.clone();
    let mut publishing = JoinSet::new();
    publishing.spawn(async move { publisher.publish_all((0..20_000).map(job), 1_000).await });
    for least in [2_000, 9_000] {
        while stored(&broker, stream::JOBS).await.is_ok_and(|count| count < least) {
            tokio::task::yield_now().await;
        }
        nats.kill9()?;
        nats.restart().await?;
    }
    publishing.join_next().await.expect("one is there")??;
    ensure!(stored(&broker, stream::JOBS).await? == 20_000);
    Ok(())
}
