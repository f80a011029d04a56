//! Input files that go by their age while jobs wait: the job says so in time, and ends with that reason.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use client::api;
use schemas::api::{JobRequest, StatusReply};
use schemas::topology::bucket;
use schemas::{Input, Job, JobId, JobState};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::{prompt, tenant};

/// A fleet whose only worker is off, so that jobs wait.
async fn without_workers() -> anyhow::Result<TestFleet> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    fleet.stack.member("worker-local-1")?.terminate(LIMIT).await?;
    Ok(fleet)
}

/// Uploads a picture of this width.
async fn upload(fleet: &TestFleet, width: u32) -> anyhow::Result<Input> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(256_u32.to_be_bytes());
    let jetstream = &fleet.stack.broker.jetstream;
    client::submit::input(jetstream, &tenant("default"), "photo.png", &bytes).await
}

fn with_input(input: Input) -> Job {
    let mut job = prompt("unused");
    (job.body.prompt, job.body.width, job.body.height) = (None, None, None);
    job.body.workflow = Some(json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }));
    job.body.inputs = vec![input];
    job
}

/// Files are kept for this time from now on.
async fn keep_files_for(fleet: &TestFleet, age: Duration) -> anyhow::Result<()> {
    let jetstream = &fleet.stack.broker.jetstream;
    let stream = jetstream.get_stream(format!("OBJ_{}", bucket::ARTIFACTS)).await?;
    let mut config = stream.cached_info().config.clone();
    // The broker wants message ids remembered for no longer than messages are kept.
    (config.max_age, config.duplicate_window) = (age, config.duplicate_window.min(age));
    jetstream.update_stream(config).await?;
    Ok(())
}

async fn status(fleet: &TestFleet, job: JobId) -> anyhow::Result<StatusReply> {
    api::request(&fleet.stack.broker.client, "status", &JobRequest { job, tenant: None }).await
}

async fn until_waiting(fleet: &TestFleet, job: JobId, words: &str) -> anyhow::Result<()> {
    look_until(words, async || {
        let reply = status(fleet, job).await?;
        Ok(reply.waiting.is_some_and(|wait| wait.sentence.contains(words)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_ends_before_its_input_goes() -> anyhow::Result<()> {
    let mut fleet = without_workers().await?;
    let (goes, renewed) = (upload(&fleet, 320).await?, upload(&fleet, 448).await?);
    // Jobs end a minute before.
    keep_files_for(&fleet, Duration::from_secs(72)).await?;
    let (ends, stays) = (with_input(goes), with_input(renewed));
    fleet.stack.submit(&[ends.clone(), stays.clone()]).await?;
    until_waiting(&fleet, ends.id, "input `photo.png` is kept until ").await?;
    // The other's file is uploaded again until the first job has ended.
    look_until("the job whose input goes has ended", async || {
        upload(&fleet, 448).await?;
        Ok(status(&fleet, ends.id).await?.state.is_terminal().then_some(()))
    })
    .await?;
    let tracker = fleet.stack.wait_ended(&[ends.id], LIMIT).await?;
    keep_files_for(&fleet, Duration::from_secs(3_600)).await?;
    let view = &tracker.jobs()[&ends.id];
    let failure = view.failure.as_ref().context("it failed")?;
    ensure!(view.state == JobState::Failed && failure.field.as_deref() == Some("body.inputs"), "{view:?}");
    for words in ["input `photo.png` was uploaded at ", "is kept until ", "--artifacts-days"] {
        ensure!(failure.message.contains(words), "{failure:?}");
    }
    // Its job waits on, and is made.
    fleet.stack.member("worker-local-1")?.restart()?;
    let tracker = fleet.stack.wait_ended(&[stays.id], LIMIT).await?;
    ensure!(tracker.jobs()[&stays.id].state == JobState::Completed, "{:?}", tracker.jobs()[&stays.id]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_until_when_an_input_was_kept_and_does_not_try_again() -> anyhow::Result<()> {
    let mut fleet = without_workers().await?;
    let input = upload(&fleet, 320).await?;
    let key = input.artifact.key.clone();
    let job = with_input(input);
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    until_waiting(&fleet, job.id, "no worker").await?;
    keep_files_for(&fleet, Duration::from_secs(1)).await?;
    let store = fleet.stack.broker.jetstream.get_object_store(bucket::ARTIFACTS).await?;
    look_until("the file is gone by its age", async || Ok(store.info(&key).await.err().map(drop))).await?;
    fleet.stack.member("worker-local-1")?.restart()?;
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    let view = &tracker.jobs()[&job.id];
    let words = view.failure.as_ref().map_or("", |failure| failure.message.as_str());
    ensure!(view.state == JobState::Failed && words.contains("was kept until "), "{view:?}");
    ensure!(words.contains(&key) && words.contains("--artifacts-days"), "{words}");
    let rows = fleet.stack.reader().await?.audit_rows(None, 100).await;
    ensure!(rows.is_ok_and(|rows| rows.attempts.len() <= 1), "it is tried once");
    Ok(())
}
