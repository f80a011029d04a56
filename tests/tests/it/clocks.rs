//! Processes whose clocks are wrong work as all others do.

use std::time::Instant;

use anyhow::ensure;
use client::api;
use schemas::api::{BackendsReply, Presence};
use serde_json::json;
use stack::Role;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

/// A fleet whose only worker has a clock that is off by `shift_ms`.
async fn with_clock(shift_ms: i64) -> anyhow::Result<TestFleet> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let url = fleet.stack.simulator("local")?.url.clone();
    let env = [
        ("ARGOSY_WORKER__NAME", "wrong".to_owned()),
        ("ARGOSY_WORKER__SPOOL_DIR", fleet.stack.options().dir.join("spool").display().to_string()),
        ("ARGOSY_COMFYUI__URL", url),
        ("ARGOSY_COMFYUI__POLL_MIN_MS", "25".to_owned()),
        ("ARGOSY_COMFYUI__POLL_MS", "25".to_owned()),
        ("ARGOSY_CLOCK__SHIFT_MS", shift_ms.to_string()),
    ];
    let options = fleet.stack.options();
    let nats_url = fleet.stack.nats_url();
    let member = options.member(Role::WorkerLocal, true, "worker-wrong", "worker-local", &nats_url, &env)?;
    fleet.stack.add(member).await?;
    fleet.stack.member("worker-local-1")?.terminate(LIMIT).await?;
    Ok(fleet)
}

async fn presence(fleet: &TestFleet) -> anyhow::Result<Option<Presence>> {
    let reply: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
    let mut all = reply.backends.into_iter().flat_map(|backend| backend.presence);
    Ok(all.find(|presence| presence.worker.to_string() == "wrong"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_behind_gets_jobs_and_its_skew_is_shown() -> anyhow::Result<()> {
    let fleet = with_clock(-12_000).await?;
    let job = prompt("late by twelve seconds");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    ensure!(tracker.jobs()[&job.id].state == schemas::JobState::Completed, "{tracker:?}");
    let seen = presence(&fleet).await?.expect("it is there");
    ensure!(seen.is_fresh && (-12_500..=-11_500).contains(&seen.clock_skew_ms), "{seen:?}");
    let report = fleet.stack.audit(&[job.id], LIMIT).await?;
    ensure!(report.holds(), "{:?}", report.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_an_hour_ahead_that_is_killed_is_dropped_and_its_retries_do_not_wait() -> anyhow::Result<()>
{
    let mut fleet = with_clock(3_600_000).await?;
    // Out of memory once: tried again after a moment, not after an hour.
    fleet.stack.simulator("local")?.set_faults(&json!([{"name": "oom", "times": 1}])).await?;
    let job = prompt("fails once");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    let view = &tracker.jobs()[&job.id];
    ensure!(view.state == schemas::JobState::Completed && view.attempt == 2, "{view:?}");
    fleet.stack.member("worker-wrong")?.kill9()?;
    let killed = Instant::now();
    while presence(&fleet).await?.is_some_and(|presence| presence.is_fresh) {
        ensure!(killed.elapsed() < std::time::Duration::from_secs(20), "it still counts as present");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_at_the_bound_is_tolerated_on_either_side() -> anyhow::Result<()> {
    // As far as is tolerated, but for the error of a measurement.
    let bound_ms = i64::try_from(policy::clocks::SKEW_MAX_MS)? - 200;
    for shift_ms in [-bound_ms, bound_ms] {
        let fleet = with_clock(shift_ms).await?;
        fleet.stack.simulator("local")?.set_faults(&json!([{"name": "oom", "times": 1}])).await?;
        let jobs = [prompt("fails once"), prompt("goes well")];
        let ids = [jobs[0].id, jobs[1].id];
        fleet.stack.submit(&jobs).await?;
        let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
        let attempts: u32 = tracker.jobs().values().map(|view| view.attempt).sum();
        let is_done = |view: &client::follow::JobView| view.state == schemas::JobState::Completed;
        ensure!(tracker.jobs().values().all(is_done) && attempts == 3, "{shift_ms}: {tracker:?}");
        let seen = presence(&fleet).await?.expect("it is there");
        ensure!((seen.clock_skew_ms - shift_ms).abs() < 200, "{shift_ms}: {seen:?}");
        ensure!(seen.is_fresh && policy::clocks::is_tolerated(seen.clock_skew_ms), "{shift_ms}: {seen:?}");
        let report = fleet.stack.audit(&ids, LIMIT).await?;
        ensure!(report.holds(), "{shift_ms}: {:?}", report.findings);
    }
    Ok(())
}
