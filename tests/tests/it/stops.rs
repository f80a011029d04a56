//! Ends that are asked for or due: SIGTERM of every binary, deadlines, and a job that kills its workers.

use anyhow::ensure;
use schemas::{Job, JobId, JobState};
use serde_json::json;
use stack::{Member, Stack};
use std::time::Duration;
use tests::fleet::{LIMIT, TestFleet, work_consumer};
use tests::jobs::{paid_prompt, prompt};

const EVERY_BINARY: [&str; 6] =
    ["router-1", "router-2", "worker-local-1", "worker-cloud", "worker-gemini", "ledger"];

/// Until a provider's simulator has been asked so often.
async fn posts(stack: &Stack, backend: &str, count: u64) -> anyhow::Result<()> {
    let simulator = stack.simulator(backend)?;
    let asked = async {
        while simulator.stats().await?["posts"].as_u64() < Some(count) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, asked).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn every_binary_drains_and_says_that_it_was_stopped() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.time_scale = 0.3;
        options.grace_ms = 500;
    })
    .await?;
    let mut jobs: Vec<Job> = (0..3).map(|n| prompt(&format!("local {n}"))).collect();
    jobs.extend((0..3).map(|n| paid_prompt(&format!("cloud {n}"), "cloud")));
    jobs.extend((0..3).map(|n| paid_prompt(&format!("gemini {n}"), "gemini")));
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    for backend in ["local", "cloud", "gemini"] {
        posts(&fleet.stack, backend, 1).await?;
    }
    for name in EVERY_BINARY {
        let member = fleet.stack.member(name)?;
        let status = member.terminate(Duration::from_secs(30)).await?;
        ensure!(
            status.code() == Some(0),
            "{name} was stopped and ended with {status}: {}",
            member.log_tail()
        );
    }
    for name in EVERY_BINARY {
        restart(fleet.stack.member(name)?).await?;
    }
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_with_the_work_and_not_with_the_grace() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.grace_ms = 600_000;
    })
    .await?;
    for name in EVERY_BINARY {
        let member = fleet.stack.member(name)?;
        // Far less than its grace; what has not ended by then is killed.
        let status = member.terminate(Duration::from_secs(30)).await?;
        ensure!(status.code() == Some(0), "{name} had nothing to do and ended with {status}");
    }
    Ok(())
}

async fn restart(member: &mut Member) -> anyhow::Result<()> {
    member.restart()?;
    Ok(member.ready(LIMIT).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_hold_at_submit_while_waiting_and_while_running() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        // Slower than the catalog expects, so that a deadline that looked far enough passes in the middle.
        options.time_scale = 4.0;
    })
    .await?;
    let stack = &fleet.stack;
    let due_in = |mut job: Job, ms: i64| {
        job.constraints.deadline_ms = Some(job.time_ms + ms);
        job
    };
    let unreachable = due_in(prompt("due too soon"), 200);
    stack.submit(std::slice::from_ref(&unreachable)).await?;
    stack.wait_ended(&[unreachable.id], LIMIT).await?;
    let running = due_in(prompt("due while it runs"), 7_000);
    let waiting = due_in(prompt("due while it waits"), 8_000);
    stack.submit(&[running.clone(), waiting.clone()]).await?;
    let tracker = stack.wait_ended(&[unreachable.id, running.id, waiting.id], LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Expired, "{job}: {view:?}");
    }
    let failure = tracker.jobs()[&unreachable.id].failure.clone();
    let failure = failure.ok_or_else(|| anyhow::anyhow!("no reason"))?;
    ensure!(failure.field.as_deref() == Some("constraints.deadline_ms"), "{failure:?}");
    let simulator = stack.simulator("local")?;
    let running_there = async {
        while simulator.stats().await?["running_now"].as_u64() != Some(0) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, running_there).await??;
    let audit = stack.audit(&[unreachable.id, running.id, waiting.id], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_workers_is_parked_and_the_fleet_goes_on() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let simulator = fleet.stack.simulator("local")?.clone();
    simulator.set_faults(&json!([{"name": "hang", "times": 1}])).await?;
    let poison = prompt("it kills whoever touches it");
    fleet.stack.submit(std::slice::from_ref(&poison)).await?;
    // Three workers die with it in their hands; the fourth does not touch it any more.
    for delivery in 1..=3 {
        delivered(&fleet.stack, delivery).await?;
        let member = fleet.stack.member("worker-local-1")?;
        member.kill9()?;
        restart(member).await?;
    }
    let tracker = fleet.stack.wait_ended(&[poison.id], LIMIT * 2).await?;
    let view = &tracker.jobs()[&poison.id];
    let code = view.failure.as_ref().map(|failure| failure.code.as_str());
    ensure!(view.state == JobState::Failed && code == Some("poison"), "{view:?}");
    let parked = fleet.stack.broker.jetstream.get_stream("PARKED").await?;
    let parked = parked.direct_get_last_for_subject(format!("argosy.parked.*.poison.{}", poison.id)).await?;
    ensure!(!parked.payload.is_empty(), "it lies in the inbox");
    // What hangs on the GPU, hangs: somebody has to restart the ComfyUI.
    restart(fleet.stack.member("simulator-comfyui-1")?).await?;
    let harmless = prompt("harmless");
    fleet.stack.submit(std::slice::from_ref(&harmless)).await?;
    let tracker = fleet.stack.wait_ended(&[harmless.id], LIMIT).await?;
    ensure!(tracker.jobs()[&harmless.id].state == JobState::Completed, "{tracker:?}");
    Ok(())
}

/// Until the broker has handed out so many assignments for small pictures.
async fn delivered(stack: &Stack, count: u64) -> anyhow::Result<()> {
    let work = stack.broker.jetstream.get_stream("WORK").await?;
    let handed_out = async {
        loop {
            let name = work_consumer(stack, "local-image-small").await?;
            let consumer = work.consumer_info(name).await?;
            if consumer.delivered.consumer_sequence >= count {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(LIMIT, handed_out).await.map_err(|_| anyhow::anyhow!("not {count} deliveries"))?
}
