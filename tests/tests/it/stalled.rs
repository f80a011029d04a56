//! What the broker has delivered to nobody who lives, and does not deliver again, is noticed and named.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{FromConsumer as _, PullConsumer, pull};
use client::api;
use futures::StreamExt as _;
use schemas::api::BackendsReply;
use schemas::topology::stream;
use schemas::{JobId, JobState};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet, look_until, weighted, work_consumer};
use tests::jobs::prompt;

/// How long the consumers of the test wait for an acknowledgement: a stalled one is noticed after four times this.
const ACK_WAIT: Duration = Duration::from_secs(2);

async fn backends(fleet: &TestFleet) -> anyhow::Result<BackendsReply> {
    api::request_empty(&fleet.stack.broker.client, "backends").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_and_is_not_delivered_again_is_named_and_ends() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        // One GPU: the second job waits at its backend while the first is held.
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        weighted(options);
    })
    .await?;
    let local = fleet.stack.simulator("local")?;
    local.set_faults(&json!([{"name": "hold"}])).await?;
    let jobs = [prompt("held"), prompt("taken by nobody")];
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let jetstream = &fleet.stack.broker.jetstream;
    for (job, state) in jobs.iter().zip([JobState::Running, JobState::Assigned]) {
        fleet.stack.submit(std::slice::from_ref(job)).await?;
        let look = async || Ok((fleet.state_of(job.id).await? == state).then_some(()));
        look_until(state.as_str(), look).await?;
    }
    // Somebody who is no worker takes the second and says that he is at it: to its consumer, that looks as a message does
    // that it forgot to deliver again.
    let work = jetstream.get_stream(stream::WORK).await?;
    let name = work_consumer(&fleet.stack, "local-image-small").await?;
    let consumer: PullConsumer = work.get_consumer(&name).await.map_err(anyhow::Error::msg)?;
    let config = pull::Config::try_from_consumer_config(consumer.cached_info().config.clone());
    let config = pull::Config { ack_wait: ACK_WAIT, ..config.map_err(anyhow::Error::msg)? };
    work.update_consumer(config).await?;
    let mut messages = consumer.fetch().max_messages(1).expires(LIMIT).messages().await?;
    let taken = messages.next().await.context("a message")?.map_err(anyhow::Error::msg)?;
    ensure!(taken.subject.ends_with(&ids[1].to_string()), "{}", taken.subject);
    local.set_faults(&json!([])).await?;

    let stalled = look_until("the stalled consumer", async || {
        taken.ack_with(AckKind::Progress).await.map_err(anyhow::Error::msg)?;
        Ok(backends(&fleet).await?.stalled.into_iter().next())
    })
    .await?;
    ensure!(
        stalled.stream == stream::WORK && stalled.consumer == name && stalled.messages == 1,
        "{stalled:?}"
    );
    let output = fleet.argosy(&["doctor"]).output().await?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(told.contains(&format!("consumer {name} of WORK: 1 messages were delivered")), "{told}");

    // Let go of, it is delivered again, runs, and nothing is stalled any more.
    taken.ack_with(AckKind::Nak(None)).await.map_err(anyhow::Error::msg)?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    look_until("no stalled consumer", async || Ok(backends(&fleet).await?.stalled.is_empty().then_some(())))
        .await?;
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}
