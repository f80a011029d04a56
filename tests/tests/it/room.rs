//! Jobs for which there is no room wait in their router's hands: fairly, and without being lost when it stops.

use anyhow::ensure;
use client::follow::{Since, events};
use futures::StreamExt as _;
use schemas::{Fact, Job, JobId, Lane};
use stack::Role;
use std::time::Duration;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{prompt, tenant};

/// More than a worker's queue and what a lane waits with.
const FLOOD: usize = 60;

/// Far more than two routers hold.
const LONG_FLOOD: usize = 3_000;

fn of(name: &str, words: &str) -> Job {
    Job { tenant: tenant(name), lane: Lane::Standard, ..prompt(words) }
}

async fn flooded(by: usize) -> anyhow::Result<(TestFleet, Vec<JobId>)> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let flood: Vec<Job> = (0..by).map(|nth| of("studio-a", &format!("wave {nth}"))).collect();
    fleet.stack.submit(&flood).await?;
    Ok((fleet, flood.iter().map(|job| job.id).collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn few_jobs_beside_a_flood_are_not_behind_it() -> anyhow::Result<()> {
    let (fleet, flood) = flooded(FLOOD).await?;
    let few = [of("studio-b", "a paper boat"), of("studio-b", "another")];
    fleet.stack.submit(&few).await?;
    let few = few.map(|job| job.id);
    let all: Vec<JobId> = flood.iter().copied().chain(few).collect();
    let tracker = fleet.stack.wait_ended(&all, LIMIT).await?;
    ensure!(tracker.ended() == all.len(), "{} ended", tracker.ended());
    // In the order in which they ended.
    let mut ends = Vec::new();
    let mut events = Box::pin(events(&fleet.stack.broker.jetstream, &[], Since::Ever).await?);
    while ends.len() < all.len() {
        let event = events.next().await.expect("all of them ended")?;
        if matches!(event.fact, Fact::Ended { .. }) {
            ends.push(event.job);
        }
    }
    let first = ends.iter().rposition(|job| few.contains(job)).expect("they ended") + 1 - few.len();
    ensure!(first < FLOOD / 2, "{first} of {FLOOD} others were first");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn few_jobs_behind_more_than_routers_hold_are_not_behind_them() -> anyhow::Result<()> {
    let (fleet, _) = flooded(LONG_FLOOD).await?;
    let few: Vec<Job> = (0..4).map(|nth| of("studio-b", &format!("boat {nth}"))).collect();
    fleet.stack.submit(&few).await?;
    let few: Vec<JobId> = few.iter().map(|job| job.id).collect();
    fleet.stack.wait_ended(&few, LIMIT).await?;
    let waiting = fleet.stack.broker.jetstream.get_stream("JOBS").await?.cached_info().state.messages;
    ensure!(waiting > LONG_FLOOD as u64 / 2, "only {waiting} of the flood wait still");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_router_that_stops_is_placed_by_the_other() -> anyhow::Result<()> {
    let (mut fleet, flood) = flooded(FLOOD).await?;
    let router = fleet.stack.members.iter_mut().find(|member| member.role == Role::Router);
    let status = router.expect("two routers").terminate(Duration::from_secs(20)).await?;
    ensure!(status.success(), "{status}");
    let tracker = fleet.stack.wait_ended(&flood, LIMIT).await?;
    ensure!(tracker.ended() == flood.len(), "{} ended", tracker.ended());
    let report = fleet.stack.audit(&flood, LIMIT).await?;
    ensure!(report.holds(), "{:?}", report.findings);
    Ok(())
}
