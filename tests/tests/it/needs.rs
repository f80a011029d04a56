//! Three servers with other nodes: work goes where it can be done, while servers join and leave.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use client::api;
use schemas::api::BackendsReply;
use schemas::{Body, Health, Job, JobId, JobState, Kind};
use serde_json::{Value, json};
use stack::{Provider, Stack};
use tests::fleet::{LIMIT, TestFleet, change_policy, look_until, root};
use tests::jobs::prompt;

/// What each server lacks.
const LACKING: [&[&str]; 3] = [&["ImageInvert", "ImageScale"], &["ImageScale"], &[]];

/// A picture that a node changes before it is saved; none for a plain one.
fn picture(node: Option<&str>, seed: u64) -> anyhow::Result<Job> {
    let path = root().join("ops/workflows/sdxl_txt2img.json");
    let mut graph: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    graph["3"]["inputs"]["noise_seed"] = seed.into();
    if let Some(node) = node {
        let mut inputs = json!({"image": ["8", 0]});
        if node == "ImageScale" {
            inputs = json!({"image": ["8", 0], "upscale_method": "nearest-exact", "width": 64, "height": 64, "crop": "disabled"});
        }
        graph["10"] = json!({"class_type": node, "inputs": inputs});
        graph["9"]["inputs"]["images"] = json!(["10", 0]);
    }
    let mut job = prompt("");
    job.body = Body { kind: Kind::Image, workflow: Some(graph), ..Body::default() };
    job.constraints.allow_paid = Some(true);
    Ok(job)
}

async fn lacks(stack: &Stack, server: usize, more: &[&str]) -> anyhow::Result<()> {
    let faults = LACKING[server].iter().map(|node| json!({"name": "lacks", "node": node}));
    let faults: Value = faults.chain(more.iter().map(|name| json!({"name": name}))).collect();
    stack.simulators[server].set_faults(&faults).await
}

/// A fleet whose workers saw what their servers lack when they started.
async fn unlike() -> anyhow::Result<TestFleet> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui = vec![Provider::Simulated, Provider::Simulated, Provider::Simulated];
        options.gemini = None;
        change_policy(options, |policy| {
            policy["stranded_after_ms"] = 1_000.into();
            policy["offer_max_age_ms"] = 4_000.into();
        });
    })
    .await?;
    for server in 0..LACKING.len() {
        lacks(&fleet.stack, server, &[]).await?;
        let worker = fleet.stack.member(&name(server))?;
        worker.kill9()?;
        worker.restart()?;
    }
    for server in 0..LACKING.len() {
        fleet.stack.member(&name(server))?.ready(LIMIT).await?;
    }
    until_servers(&fleet, 3).await?;
    Ok(fleet)
}

fn name(server: usize) -> String {
    format!("worker-local-{}", server + 1)
}

/// Until routers know so many servers apart.
async fn until_servers(fleet: &TestFleet, count: usize) -> anyhow::Result<()> {
    look_until("servers that differ", async || {
        let reply: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
        let local = reply.backends.iter().find(|backend| backend.backend.as_str() == "local");
        let workers = local.map_or(&[][..], |local| &local.workers);
        let well = workers.iter().filter(|offer| offer.health == Health::Healthy);
        let kinds: BTreeSet<_> = well.filter_map(|offer| offer.capability).collect();
        Ok((kinds.len() == count).then_some(()))
    })
    .await
}

/// All ended well, each at its first attempt, at no cost.
async fn all_well(fleet: &TestFleet, jobs: &[Job]) -> anyhow::Result<()> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Completed, "{job}: {view:?}");
        ensure!(view.backend.as_ref().is_some_and(|backend| backend.as_str() == "local"), "{job}: {view:?}");
    }
    ensure!(fleet.stack.simulator("cloud")?.stats().await?["posts"] == 0, "nothing was paid");
    Ok(())
}

/// How many prompts each server took.
async fn posts(fleet: &TestFleet) -> anyhow::Result<Vec<u64>> {
    let mut posts = Vec::new();
    for simulator in &fleet.stack.simulators[..LACKING.len()] {
        posts.push(simulator.stats().await?["posts"].as_u64().context("a number")?);
    }
    Ok(posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_only_to_servers_that_can_do_it() -> anyhow::Result<()> {
    let fleet = unlike().await?;
    let mut jobs = Vec::new();
    for seed in 0..18 {
        jobs.push(picture([None, Some("ImageInvert"), Some("ImageScale")][seed % 3], seed as u64)?);
    }
    fleet.stack.submit(&jobs).await?;
    all_well(&fleet, &jobs).await?;
    // A prompt that a server refuses is a post too: each was taken once.
    let posts = posts(&fleet).await?;
    ensure!(posts.iter().sum::<u64>() == 18 && posts[2] >= 6, "shared as {posts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bound_to_a_server_that_is_lost_goes_to_another_that_can() -> anyhow::Result<()> {
    let mut fleet = unlike().await?;
    for server in [1, 2] {
        lacks(&fleet.stack, server, &["hold"]).await?;
    }
    // Two run, and one waits behind each of them.
    let jobs: Vec<Job> =
        (0..4).map(|seed| picture(Some("ImageInvert"), seed)).collect::<anyhow::Result<_>>()?;
    fleet.stack.submit(&jobs).await?;
    look_until("both servers at work", async || {
        let posts = posts(&fleet).await?;
        Ok((posts[1] > 0 && posts[2] > 0).then_some(()))
    })
    .await?;
    fleet.stack.member(&name(1))?.kill9()?;
    lacks(&fleet.stack, 2, &[]).await?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    ensure!(posts(&fleet).await?[0] == 0, "the server that lacks the node was left alone");
    // It joins again, and with it what only it can do of what the others cannot.
    lacks(&fleet.stack, 1, &[]).await?;
    fleet.stack.member(&name(2))?.terminate(Duration::from_secs(20)).await?;
    let worker = fleet.stack.member(&name(1))?;
    worker.restart()?;
    worker.ready(LIMIT).await?;
    until_servers(&fleet, 2).await?;
    let again = [picture(Some("ImageInvert"), 9)?, picture(None, 10)?];
    fleet.stack.submit(&again).await?;
    all_well(&fleet, &again).await
}
