//! Messages that the broker holds and whose consumer has passed them: no job is lost with one.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures::StreamExt as _;
use runtime::topology::consumer_config;
use schemas::topology::{Topology, stream};
use schemas::{Job, Lane, subjects};
use stack::Role;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

/// The next delivery of a consumer.
async fn next(consumer: &PullConsumer) -> anyhow::Result<async_nats::jetstream::Message> {
    let mut batch = consumer.batch().max_messages(1).expires(Duration::from_secs(10)).messages().await?;
    batch.next().await.context("a delivery")?.map_err(|error| anyhow::anyhow!(error))
}

/// A broker that was killed leaves such messages. A consumer that gives up after one delivery leaves the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_consumer_has_passed_is_not_lost() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    for router in fleet.stack.members.iter_mut().filter(|member| member.role == Role::Router) {
        router.kill9()?;
    }
    let jobs = fleet.stack.broker.jetstream.get_stream(stream::JOBS).await?;
    let filter = subjects::jobs_filter(Lane::Standard);
    let spec = Topology::new(1).consumers.into_iter().find(|spec| spec.filter == filter);
    let spec = spec.context("the lane's consumer")?;
    let once = pull::Config { max_deliver: 1, ..consumer_config(&spec) };
    let consumer: PullConsumer = jobs.create_consumer(once).await?;

    let passed = Job { lane: Lane::Standard, ..prompt("a lighthouse that nobody gets") };
    fleet.stack.submit(std::slice::from_ref(&passed)).await?;
    let delivery = next(&consumer).await?;
    delivery.ack_with(AckKind::Nak(None)).await.map_err(|error| anyhow::anyhow!(error))?;
    // What is answered behind it takes the consumer past it.
    fleet.stack.submit(&[Job { lane: Lane::Standard, ..prompt("one that is answered") }]).await?;
    next(&consumer).await?.double_ack().await.map_err(|error| anyhow::anyhow!(error))?;
    jobs.create_consumer(consumer_config(&spec)).await?;
    let mut consumer: PullConsumer =
        jobs.get_consumer(&spec.name).await.map_err(|error| anyhow::anyhow!(error))?;
    let info = consumer.info().await?;
    ensure!(info.num_pending == 0 && info.num_ack_pending == 0, "it waits for nothing: {info:?}");
    let held = fleet.stack.broker.jetstream.get_stream(stream::JOBS).await?.cached_info().state.clone();
    ensure!(held.messages == 1 && held.first_sequence <= info.ack_floor.stream_sequence, "{held:?} {info:?}");

    for router in fleet.stack.members.iter_mut().filter(|member| member.role == Role::Router) {
        router.restart()?;
    }
    let tracker = fleet.stack.wait_ended(&[passed.id], LIMIT).await?;
    ensure!(tracker.ended() == 1, "it was never placed");
    let report = fleet.stack.audit(&[passed.id], LIMIT).await?;
    ensure!(report.holds(), "{:?}", report.findings);
    Ok(())
}
