//! The bucket of claims is full: nothing is paid twice, what was paid is booked as it was billed, and nothing new is started.

use anyhow::ensure;
use client::api;
use protocol::{ClaimError, Claimed};
use runtime::claims::Claims;
use schemas::api::BackendsReply;
use schemas::topology::{DAY_MS, bucket};
use schemas::{AttemptRecord, Job, JobId, JobState, samples};
use tests::fleet::{LIMIT, TestFleet, look_until, until_claims};
use tests::jobs::paid_prompt;

/// Room for everything.
const AMPLE_BYTES: i64 = 64 * 1024 * 1024;

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// The bucket of claims may hold so many bytes from now on.
async fn limit_claims(fleet: &TestFleet, max_bytes: i64) -> anyhow::Result<()> {
    let jetstream = &fleet.stack.broker.jetstream;
    let stream = jetstream.get_stream(format!("KV_{}", bucket::ATTEMPTS)).await?;
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = max_bytes;
    jetstream.update_stream(config).await?;
    Ok(())
}

/// Waits until all workers of a backend say that there is no room for claims.
async fn until_refused(fleet: &TestFleet, backend: &str) -> anyhow::Result<()> {
    look_until("a worker that says that the bucket of claims is full", async || {
        let reply: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
        let row = reply.backends.iter().find(|row| row.backend.as_str() == backend);
        let says = |reason: &String| reason.contains("bucket ATTEMPTS") && reason.contains("--max-bytes");
        let refused = row.is_some_and(|row| {
            row.workers.iter().all(|offer| offer.health_reason.as_ref().is_some_and(says))
        });
        Ok(refused.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_while_the_bucket_of_claims_is_full_is_paid_and_booked_once() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.gemini = None;
        // Long enough for RunPod's simulator to keep its results meanwhile.
        options.time_scale = 0.1;
    })
    .await?;
    // The provider's answers come when no claim can be written any more.
    fleet.stack.member("simulator-runpod")?.pause()?;
    let jobs = ["one", "another", "a third"].map(|words| paid_prompt(words, "cloud"));
    fleet.stack.submit(&jobs).await?;
    until_claims(&fleet, &ids(&jobs), "made", |_| true).await?;
    limit_claims(&fleet, 1).await?;
    fleet.stack.member("simulator-runpod")?.resume()?;
    let log = fleet.stack.member("worker-cloud")?.log_path().to_owned();
    look_until("workers that go on without having written the ids", async || {
        let said = std::fs::read_to_string(&log)?;
        let of = |job: &Job| {
            said.lines()
                .any(|line| line.contains("not in the claim yet") && line.contains(&job.id.to_string()))
        };
        Ok(jobs.iter().all(of).then_some(()))
    })
    .await?;
    until_claims(&fleet, &ids(&jobs), "as they were", |claim| claim.provider_id.is_none()).await?;
    // Whatever it had in memory is gone; the ids lie on its disk.
    let member = fleet.stack.member("worker-cloud")?;
    member.kill9()?;
    member.restart()?;
    member.ready(LIMIT).await?;
    until_refused(&fleet, "cloud").await?;
    let late = paid_prompt("not started yet", "cloud");
    fleet.stack.submit(std::slice::from_ref(&late)).await?;
    until_refused(&fleet, "cloud").await?;
    let billed = fleet.stack.simulator("cloud")?.invoice().await?.lines.len();
    ensure!(billed <= jobs.len(), "{billed} lines: nothing new is started, and nothing twice");
    limit_claims(&fleet, AMPLE_BYTES).await?;
    let all: Vec<Job> = jobs.into_iter().chain([late]).collect();
    let tracker = fleet.stack.wait_ended(&ids(&all), LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Completed, "{job}: {:?} {:?}", view.state, view.failure);
    }
    let audit = fleet.stack.audit(&ids(&all), LIMIT).await?;
    ensure!(audit.holds() && audit.paid_again == 0, "{:#?}", audit.findings);
    ensure!(audit.possibly_paid_micro_usd.0 == 0, "what was billed is known to the cent: {audit:?}");
    let rows = fleet.stack.reader().await?.audit_rows(None, 10_000).await?;
    ensure!(rows.attempts.len() == all.len(), "one attempt each: {:?}", rows.attempts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_is_told_from_an_absent_broker_and_its_age_is_the_brokers_word() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let jetstream = &fleet.stack.broker.jetstream;
    let claims = Claims::new(jetstream.get_key_value(bucket::ATTEMPTS).await?);
    let record = |job| AttemptRecord { job, ..samples::attempt_record() };
    let Claimed::Granted(mut held) = claims.create(record(JobId::new())).await? else {
        anyhow::bail!("there is none before it");
    };
    limit_claims(&fleet, 1).await?;
    let created = claims.create(record(JobId::new())).await;
    ensure!(matches!(created, Err(ClaimError::Full { .. })), "{created:?}");
    let (before, again) = (held.revision, AttemptRecord::clone(&held.record));
    let written = claims.write(&mut held, again.clone()).await;
    ensure!(matches!(written, Err(ClaimError::Full { .. })) && held.revision == before, "{written:?}");
    let there = claims.create(again.clone()).await?;
    ensure!(matches!(there, Claimed::AlreadyClaimed(_)), "one that is there is found: {there:?}");
    limit_claims(&fleet, AMPLE_BYTES).await?;
    claims.write(&mut held, again).await?;
    // An operator changes the age under the running fleet.
    let applied = claims.store().await?.kept_ms;
    ensure!(applied == Some(i64::try_from(14 * DAY_MS)?), "{applied:?}");
    let mut config = jetstream.get_stream("KV_ATTEMPTS").await?.cached_info().config.clone();
    let created_at_ms = claims.store().await?.created_at_ms;
    for (age_ms, kept_ms) in [(2 * DAY_MS, Some(i64::try_from(2 * DAY_MS)?)), (0, None)] {
        config.max_age = std::time::Duration::from_millis(age_ms);
        jetstream.update_stream(config.clone()).await?;
        let store = claims.store().await?;
        ensure!((store.kept_ms, store.created_at_ms) == (kept_ms, created_at_ms), "{store:?}");
    }
    Ok(())
}
