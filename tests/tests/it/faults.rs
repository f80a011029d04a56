//! Failures of providers and of our own processes: nothing lost, nothing paid twice, ledger = invoices.

use anyhow::ensure;
use client::api;
use schemas::api::BackendsReply;
use schemas::topology::bucket;
use schemas::{Job, JobId, JobState, Kind, MicroUsd};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::{paid_prompt, prompt};

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// Free-only, consenting, and paid-only jobs in turn.
fn mix(count: usize) -> Vec<Job> {
    let job = |n: usize| {
        let words = format!("picture {n}");
        let mut job = match n % 4 {
            0 => prompt(&words),
            1 => {
                let mut job = prompt(&words);
                job.constraints.allow_paid = Some(true);
                job
            }
            2 => paid_prompt(&words, "cloud"),
            _ => paid_prompt(&words, "gemini"),
        };
        // What a lost worker may have paid for may be made again: these tests want every job completed.
        job.constraints.retry_unknown = Some(true);
        job
    };
    (0..count).map(job).collect()
}

async fn all_completed(fleet: &TestFleet, jobs: &[Job]) -> anyhow::Result<()> {
    let tracker = fleet.stack.wait_ended(&ids(jobs), LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Completed, "{job}: {:?} {:?}", view.state, view.failure);
    }
    let audit = fleet.stack.audit(&ids(jobs), LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

/// Waits until so many of our own servers tell of a failure since they last succeeded.
async fn until_remembered(fleet: &TestFleet, expected: fn(usize) -> bool) -> anyhow::Result<()> {
    look_until("the breakers of local", async || {
        let client = &fleet.stack.broker.client;
        let reply: BackendsReply = api::request_empty(client, "backends").await?;
        let local = reply.backends.iter().find(|row| row.backend.as_str() == "local");
        let breakers =
            local.into_iter().flat_map(|row| &row.workers).filter_map(|offer| offer.breaker.as_ref());
        Ok(expected(breakers.filter(|breaker| breaker.reason.is_some()).count()).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_gpus_go_away_consenting_jobs_move_and_the_others_wait() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|_| {}).await?;
    let jobs: Vec<Job> = mix(24).into_iter().filter(|job| job.constraints.backends.is_none()).collect();
    fleet.stack.submit(&jobs).await?;
    for simulator in fleet.stack.simulators.iter().filter(|one| one.backend == "local") {
        simulator.offline(3_000).await?;
    }
    until_remembered(&fleet, |servers| servers > 0).await?;
    all_completed(&fleet, &jobs).await?;
    // What succeeded since closed the breaker of its server.
    until_remembered(&fleet, |servers| servers < 2).await?;
    let reader = fleet.stack.reader().await?;
    let rows = reader.audit_rows(None, 10_000).await?;
    let free_only: Vec<JobId> =
        jobs.iter().filter(|job| job.constraints.allow_paid.is_none()).map(|job| job.id).collect();
    let spent = rows.attempts.iter().filter(|attempt| free_only.contains(&attempt.job));
    for attempt in spent {
        ensure!(
            attempt.backend.as_str() == "local",
            "{} went to {} without consent",
            attempt.job,
            attempt.backend
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_process_may_be_killed_at_any_moment() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| options.time_scale = 0.05).await?;
    let jobs = mix(48);
    fleet.stack.submit(&jobs).await?;
    // The Gemini simulator's picture may be lost with its worker: booked as possibly paid, made again.
    for name in [
        "router-1",
        "worker-gemini",
        "worker-local-1",
        "worker-cloud",
        "ledger",
        "router-2",
        "worker-local-2",
    ] {
        let member = fleet.stack.member(name)?;
        member.kill9()?;
        member.restart()?;
        member.ready(LIMIT).await?;
    }
    fleet.stack.nats.nodes[0].kill9()?;
    fleet.stack.nats.nodes[0].restart().await?;
    fleet.stack.postgres.kill9()?;
    fleet.stack.postgres.restart().await?;
    let tracker = fleet.stack.wait_ended(&ids(&jobs), LIMIT * 2).await?;
    let audit = fleet.stack.audit(&ids(&jobs), LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    ensure!(audit.lost == 0 && audit.paid_twice == 0, "{audit:?}");
    let failed = tracker.jobs().iter().find(|(_, view)| view.state != JobState::Completed);
    ensure!(failed.is_none(), "{failed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_faults_end_well_or_are_told() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|_| {}).await?;
    let stack = &fleet.stack;
    stack.simulator("local")?.set_faults(&json!([{"name": "oom", "times": 1}])).await?;
    stack
        .simulator("cloud")?
        .set_faults(
            &json!([{"name": "http_429", "times": 2}, {"name": "timed_out_after_retries", "times": 1}]),
        )
        .await?;
    stack.simulator("gemini")?.set_faults(&json!([{"name": "http_503", "times": 1}])).await?;
    let jobs = mix(12);
    stack.submit(&jobs).await?;
    all_completed(&fleet, &jobs).await?;
    stack.simulator("gemini")?.set_faults(&json!([{"name": "image_safety", "times": 1}])).await?;
    let refused = paid_prompt("something that may not be shown", "gemini");
    stack.submit(std::slice::from_ref(&refused)).await?;
    let tracker = stack.wait_ended(&[refused.id], LIMIT).await?;
    let view = &tracker.jobs()[&refused.id];
    let code = view.failure.as_ref().map(|failure| failure.code.as_str());
    ensure!(view.state == JobState::Failed && code == Some("content_refused"), "{view:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_after_the_start_is_found_by_the_providers_report() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| options.comfyui.clear()).await?;
    let stack = &fleet.stack;
    stack.simulator("cloud")?.set_faults(&json!([{"name": "lost_run_answer", "times": 1}])).await?;
    stack.simulator("gemini")?.set_faults(&json!([{"name": "lost_answer", "times": 1}])).await?;
    let mut film = paid_prompt("waves", "gemini");
    (film.body.kind, film.body.model) = (Kind::Video, Some("wan".to_owned()));
    film.body.duration_ms = Some(3_000);
    let jobs = [paid_prompt("a picture", "cloud"), film];
    stack.submit(&jobs).await?;
    all_completed(&fleet, &jobs).await?;
    let rows = stack.reader().await?.audit_rows(None, 10_000).await?;
    ensure!(rows.attempts.len() == 2, "one attempt each: {:?}", rows.attempts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_start_is_recorded_though_the_broker_is_away_for_longer_than_one_try() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| options.comfyui.clear()).await?;
    let job = paid_prompt("a picture under way while the broker sleeps", "cloud");
    let stack = &mut fleet.stack;
    // The provider holds its answer until the broker is asleep.
    stack.member("simulator-runpod")?.pause()?;
    stack.submit(std::slice::from_ref(&job)).await?;
    let claims = stack.broker.jetstream.get_key_value(bucket::ATTEMPTS).await?;
    let claimed = async {
        while claims.get(format!("{}.1", job.id)).await?.is_none() {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, claimed).await??;
    let (nodes, _) = stack.nats.parts();
    nodes[0].pause()?;
    stack.member("simulator-runpod")?.resume()?;
    let log = stack.member("worker-cloud")?.log_path().to_owned();
    look_until("the worker tries to write its claim", async || {
        Ok(std::fs::read_to_string(&log)?.contains("the claim may not be written").then_some(()))
    })
    .await?;
    let (nodes, _) = stack.nats.parts();
    nodes[0].resume()?;
    all_completed(&fleet, &[job]).await?;
    let rows = fleet.stack.reader().await?.audit_rows(None, 10_000).await?;
    ensure!(rows.attempts.len() == 1, "one attempt: {:?}", rows.attempts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_can_find_is_booked_and_not_paid_again_without_a_ceiling() -> anyhow::Result<()>
{
    let fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.runpod = None;
    })
    .await?;
    let stack = &fleet.stack;
    stack.simulator("gemini")?.set_faults(&json!([{"name": "lost_answer", "times": 1}])).await?;
    let job = paid_prompt("a picture whose answer is lost", "gemini");
    stack.submit(std::slice::from_ref(&job)).await?;
    let tracker = stack.wait_ended(&[job.id], LIMIT).await?;
    let view = &tracker.jobs()[&job.id];
    let code = view.failure.as_ref().map(|failure| failure.code.as_str());
    ensure!(view.state == JobState::Failed && code == Some("outcome_unknown"), "{view:?}");
    // The provider did send a bill for it: it is within what was booked as possibly paid.
    let audit = stack.audit(&[job.id], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let mut again = paid_prompt("a picture whose answer is lost, with a ceiling", "gemini");
    again.constraints.max_cost_micro_usd = Some(MicroUsd(400_000));
    stack.simulator("gemini")?.set_faults(&json!([{"name": "lost_answer", "times": 1}])).await?;
    stack.submit(std::slice::from_ref(&again)).await?;
    all_completed(&fleet, &[again]).await
}
