//! Load is shared: by workers that join by hand, by backends that overflow; a drained worker hands back.

use anyhow::ensure;
use client::follow::{Since, events};
use futures::StreamExt as _;
use schemas::{Fact, Job, JobId, JobState};
use stack::Role;
use std::time::Duration;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{prompt, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_joins_shares_and_leaves() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        (options.runpod, options.gemini) = (None, None);
        options.time_scale = 0.1;
    })
    .await?;
    // Of the two workers one is stopped; its ComfyUI is then free for one that is started by hand.
    let url = fleet.stack.simulators[1].url.clone();
    let status = fleet.stack.member("worker-local-2")?.terminate(Duration::from_secs(20)).await?;
    ensure!(status.success(), "a drained worker ended with {status}");
    let jobs: Vec<Job> = (0..12).map(|n| prompt(&format!("shared {n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let env = [
        ("ARGOSY_COMFYUI__URL", url),
        ("ARGOSY_WORKER__NAME", "by-hand".to_owned()),
        ("ARGOSY_WORKER__SIMULATED", "true".to_owned()),
        ("ARGOSY_COMFYUI__POLL_MIN_MS", "25".to_owned()),
        ("ARGOSY_COMFYUI__POLL_MS", "100".to_owned()),
    ];
    let nats_url = fleet.stack.nats_url();
    let member =
        fleet.stack.options().member(Role::WorkerLocal, true, "by-hand", "worker-local", &nats_url, &env)?;
    fleet.stack.add(member).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let posts: Vec<u64> = {
        let mut posts = Vec::new();
        for simulator in &fleet.stack.simulators {
            posts.push(simulator.stats().await?["posts"].as_u64().unwrap_or_default());
        }
        posts
    };
    ensure!(posts.iter().all(|count| *count >= 2) && posts.iter().sum::<u64>() == 12, "shared as {posts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_may_have_all_slots_but_one_for_each_other() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let env = [
        ("ARGOSY_NULL__BACKEND", "local".to_owned()),
        ("ARGOSY_NULL__RUN_MS", "3000".to_owned()),
        ("ARGOSY_WORKER__SLOTS", "8".to_owned()),
        ("ARGOSY_WORKER__SIMULATED", "true".to_owned()),
    ];
    let nats_url = fleet.stack.nats_url();
    let member =
        fleet.stack.options().member(Role::WorkerLocal, true, "null", "worker-null", &nats_url, &env)?;
    fleet.stack.add(member).await?;
    // Four classes: three slots stay with those that have nothing to do.
    let jobs: Vec<Job> = (0..5).map(|n| prompt(&format!("at once {n}"))).collect();
    fleet.stack.submit(&jobs).await?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let mut events = Box::pin(events(&fleet.stack.broker.jetstream, &ids, Since::Ever).await?);
    let mut running = 0;
    while running < jobs.len() {
        match events.next().await.expect("they run")?.fact {
            Fact::Running { .. } => running += 1,
            Fact::Ended { .. } => anyhow::bail!("one ended when {running} of {} ran", jobs.len()),
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_costs_its_job_no_attempt() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        (options.runpod, options.gemini) = (None, None);
        options.time_scale = 1.0;
        options.grace_ms = 200;
    })
    .await?;
    let jobs: Vec<Job> = (0..2).map(|n| prompt(&format!("interrupted {n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let stats = fleet.stack.simulators[0].clone();
    let working = async {
        while stats.stats().await?["posts"].as_u64() != Some(1) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, working).await??;
    let status = fleet.stack.member("worker-local-1")?.terminate(Duration::from_secs(20)).await?;
    ensure!(status.success(), "a drained worker ended with {status}");
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let interrupted = tracker.jobs().values().filter(|view| view.attempt == 2).count();
    ensure!(interrupted == 1, "{tracker:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_wait_long_for_the_gpus_overflows_to_an_idle_cloud() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.gemini = None;
        options.time_scale = 0.06;
    })
    .await?;
    let job = |n: usize| {
        let mut job = prompt(&format!("one of many {n}"));
        job.tenant = tenant(if n.is_multiple_of(4) { "free-only" } else { "default" });
        job.constraints.allow_paid = (!n.is_multiple_of(4)).then_some(true);
        // Far less than two GPUs take for all of them.
        job.preferences.patience_ms = Some(5_000);
        job
    };
    let jobs: Vec<Job> = (0..200).map(job).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT * 2).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let rows = fleet.stack.reader().await?.audit_rows(None, 10_000).await?;
    let at = |name: &str| rows.attempts.iter().filter(|attempt| attempt.backend.as_str() == name).count();
    // Every fourth job may go nowhere else.
    ensure!(at("local") >= 50 && at("cloud") >= 5, "local {}, cloud {}", at("local"), at("cloud"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_far_behind_gives_waiting_work_back() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.gemini = None;
        options.time_scale = 0.3;
        let mut policy: serde_json::Value = serde_json::from_str(&options.documents.policy).expect("JSON");
        policy["scoring"] = "weighted".into();
        policy["overdue_after_ms"] = 1_500.into();
        policy["patience_ms"] = 600_000.into();
        options.documents.policy = policy.to_string();
    })
    .await?;
    // While the cloud worker is away the one GPU gets everything that it has room for.
    fleet.stack.member("worker-cloud")?.terminate(Duration::from_secs(20)).await?;
    let gone = async {
        loop {
            let reply: schemas::api::BackendsReply =
                client::api::request_empty(&fleet.stack.broker.client, "backends").await?;
            let cloud = reply.backends.iter().find(|backend| backend.backend.as_str() == "cloud");
            if cloud.is_some_and(|cloud| cloud.workers.is_empty()) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(LIMIT, gone).await??;
    let jobs: Vec<Job> = (0..8)
        .map(|n| {
            let mut job = prompt(&format!("behind {n}"));
            job.constraints.allow_paid = Some(true);
            job
        })
        .collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    fleet.stack.member("worker-cloud")?.restart()?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let rows = fleet.stack.reader().await?.audit_rows(None, 10_000).await?;
    let moved = rows.attempts.iter().filter(|attempt| attempt.attempt == 2).count();
    ensure!(moved > 0, "nothing was taken back: {:?}", rows.attempts);
    Ok(())
}
