//! The artifact store is full: nothing is paid twice, nothing is lost, and what costs money is not started.

use anyhow::ensure;
use client::api;
use schemas::api::BackendsReply;
use schemas::topology::bucket;
use schemas::{Job, JobId, JobState, Kind};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet, look_until, until_claims};
use tests::jobs::paid_prompt;

/// Room for everything.
const AMPLE_BYTES: i64 = 4 * 1024 * 1024 * 1024;

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

fn film(words: &str) -> Job {
    let mut job = paid_prompt(words, "gemini");
    (job.body.kind, job.body.model) = (Kind::Video, Some("wan".to_owned()));
    job.body.duration_ms = Some(3_000);
    job
}

/// The store may hold so many bytes from now on.
async fn limit_store(fleet: &TestFleet, max_bytes: i64) -> anyhow::Result<()> {
    let jetstream = &fleet.stack.broker.jetstream;
    let stream = jetstream.get_stream(format!("OBJ_{}", bucket::ARTIFACTS)).await?;
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = max_bytes;
    jetstream.update_stream(config).await?;
    Ok(())
}

/// Waits until all workers of a backend say why they take no work.
async fn until_refused(fleet: &TestFleet, backend: &str) -> anyhow::Result<()> {
    look_until("a worker that says that the store is full", async || {
        let client = &fleet.stack.broker.client;
        let reply: BackendsReply = api::request_empty(client, "backends").await?;
        let row = reply.backends.iter().find(|row| row.backend.as_str() == backend);
        let says =
            |reason: &String| reason.contains("artifact store") && reason.contains("--artifacts-bytes");
        let refused = row.is_some_and(|row| {
            row.workers.iter().all(|offer| offer.health_reason.as_ref().is_some_and(says))
        });
        Ok(refused.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_to_a_full_store_is_kept_through_kills_and_paid_once() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        // Long enough for RunPod's simulator to keep its results meanwhile.
        options.time_scale = 0.1;
    })
    .await?;
    let stack = &mut fleet.stack;
    for simulator in ["simulator-gemini", "simulator-runpod"] {
        stack.member(simulator)?.pause()?;
    }
    let jobs = [
        paid_prompt("a picture that Gemini does not keep", "gemini"),
        paid_prompt("another one", "gemini"),
        film("waves that Gemini keeps"),
        paid_prompt("a picture that RunPod keeps for a while", "cloud"),
        paid_prompt("one more there", "cloud"),
    ];
    stack.submit(&jobs).await?;
    until_claims(&fleet, &ids(&jobs), "made", |_| true).await?;
    // Whatever is under way was started while there was room; there is none when it is delivered.
    limit_store(&fleet, 1).await?;
    for simulator in ["simulator-gemini", "simulator-runpod"] {
        fleet.stack.member(simulator)?.resume()?;
    }
    until_claims(&fleet, &ids(&jobs), "delivered", |claim| claim.delivered.is_some()).await?;
    for worker in ["worker-gemini", "worker-cloud"] {
        let member = fleet.stack.member(worker)?;
        member.kill9()?;
        member.restart()?;
        member.ready(LIMIT).await?;
    }
    until_refused(&fleet, "gemini").await?;
    until_refused(&fleet, "cloud").await?;
    let late = [paid_prompt("not started yet", "gemini"), paid_prompt("nor this one", "cloud")];
    fleet.stack.submit(&late).await?;
    // Asked again, so that the routers have had the jobs in their hands.
    until_refused(&fleet, "gemini").await?;
    for backend in ["gemini", "cloud"] {
        let billed = fleet.stack.simulator(backend)?.invoice().await?.lines.len();
        let made = jobs
            .iter()
            .filter(|job| job.constraints.backends.iter().flatten().any(|b| b.as_str() == backend));
        ensure!(billed == made.count(), "{backend} billed {billed}");
    }
    limit_store(&fleet, AMPLE_BYTES).await?;
    let all: Vec<Job> = jobs.into_iter().chain(late).collect();
    let tracker = fleet.stack.wait_ended(&ids(&all), LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Completed, "{job}: {:?} {:?}", view.state, view.failure);
    }
    let audit = fleet.stack.audit(&ids(&all), LIMIT).await?;
    ensure!(audit.holds() && audit.paid_again == 0, "{:#?}", audit.findings);
    ensure!(audit.possibly_paid_micro_usd.0 == 0, "what was delivered is known to the cent: {audit:?}");
    let rows = fleet.stack.reader().await?.audit_rows(None, 10_000).await?;
    ensure!(rows.attempts.len() == all.len(), "one attempt each: {:?}", rows.attempts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_store_never_takes_is_made_and_charged_once() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.runpod = None;
    })
    .await?;
    let stack = &fleet.stack;
    stack.simulator("gemini")?.set_faults(&json!([{"name": "file_huge"}])).await?;
    let job = film("a film of more than 256 MiB");
    stack.submit(std::slice::from_ref(&job)).await?;
    let tracker = stack.wait_ended(&[job.id], LIMIT).await?;
    let view = &tracker.jobs()[&job.id];
    let code = view.failure.as_ref().map(|failure| failure.code.as_str());
    ensure!(view.state == JobState::Failed && code == Some("not_stored"), "{view:?}");
    let audit = stack.audit(&[job.id], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let (billed, rows) = (
        stack.simulator("gemini")?.invoice().await?.lines.len(),
        stack.reader().await?.audit_rows(None, 10).await?,
    );
    ensure!(billed == 1 && rows.attempts.len() == 1, "{billed} lines, {:?}", rows.attempts);
    Ok(())
}
