//! Cancelling: while waiting, while running, after the end, before anybody knows the job.

use anyhow::ensure;
use client::api;
use schemas::api::{CancelReply, JobRequest, StatusReply};
use schemas::{Job, JobId, JobState};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet, weighted};
use tests::jobs::prompt;

async fn cancel(fleet: &TestFleet, job: JobId) -> anyhow::Result<CancelReply> {
    api::request(&fleet.stack.broker.client, "cancel", &JobRequest::of(job)).await
}

async fn wait_state(fleet: &TestFleet, job: JobId, state: JobState) -> anyhow::Result<()> {
    let mut seen = None;
    let looking = async {
        while seen != Some(state) {
            let status: StatusReply =
                api::request(&fleet.stack.broker.client, "status", &JobRequest::of(job)).await?;
            seen = Some(status.state);
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(LIMIT, looking).await {
        Ok(looked) => looked,
        Err(_) => anyhow::bail!("{job} never was {state:?}; last seen {seen:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_job_is_it_can_be_cancelled() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        // One GPU: the first job runs for as long as it is held, the others wait behind it.
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        weighted(options);
    })
    .await?;
    let stack = &fleet.stack;
    stack.simulator("local")?.set_faults(&json!([{"name": "hold"}])).await?;
    let jobs: Vec<Job> = ["running", "waiting", "third"].map(prompt).into();
    let [running, waiting, third] = [jobs[0].id, jobs[1].id, jobs[2].id];
    stack.submit(&jobs[..1]).await?;
    wait_state(&fleet, running, JobState::Running).await?;
    stack.submit(&jobs[1..]).await?;
    wait_state(&fleet, waiting, JobState::Assigned).await?;

    ensure!(cancel(&fleet, waiting).await?.effect.contains("out of its queue"));
    ensure!(cancel(&fleet, running).await?.effect.contains("told to stop"));
    stack.wait_ended(&[running, waiting], LIMIT).await?;
    let early = prompt("cancelled before it is known");
    ensure!(cancel(&fleet, early.id).await?.effect.contains("as soon as"));
    stack.submit(std::slice::from_ref(&early)).await?;

    let ids = [running, waiting, early.id];
    let tracker = stack.wait_ended(&ids, LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Cancelled, "{job}: {:?}", view.state);
    }
    ensure!(cancel(&fleet, waiting).await?.effect.contains("ended before"));
    // The GPU is free again: the job behind the cancelled ones is made.
    stack.simulator("local")?.set_faults(&json!([])).await?;
    let tracker = stack.wait_ended(&[third], LIMIT).await?;
    ensure!(tracker.jobs()[&third].state == JobState::Completed, "{tracker:?}");
    let audit = stack.audit(&[running, waiting, early.id, third], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

/// The schedule binds one job behind the one that runs; the third waits in its router's hands.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_routers_hands_is_cancelled_while_others_run() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let stack = &fleet.stack;
    stack.simulator("local")?.set_faults(&json!([{"name": "hold"}])).await?;
    let jobs: Vec<Job> = ["running", "behind it", "waiting"].map(prompt).into();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    for (job, state) in jobs.iter().zip([JobState::Running, JobState::Assigned, JobState::Submitted]) {
        stack.submit(std::slice::from_ref(job)).await?;
        wait_state(&fleet, job.id, state).await?;
    }
    ensure!(cancel(&fleet, ids[2]).await?.effect.contains("as soon as"));
    let tracker = stack.wait_ended(&ids[2..], LIMIT).await?;
    ensure!(tracker.jobs()[&ids[2]].state == JobState::Cancelled, "{tracker:?}");
    stack.simulator("local")?.set_faults(&json!([])).await?;
    let tracker = stack.wait_ended(&ids, LIMIT).await?;
    ensure!(ids[..2].iter().all(|id| tracker.jobs()[id].state == JobState::Completed), "{tracker:?}");
    let audit = stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_paid_attempt_is_stopped_there_and_booked() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.gemini = None;
        options.time_scale = 0.3;
    })
    .await?;
    let stack = &fleet.stack;
    let job = tests::jobs::paid_prompt("an expensive change of mind", "cloud");
    stack.submit(std::slice::from_ref(&job)).await?;
    wait_state(&fleet, job.id, JobState::Running).await?;
    cancel(&fleet, job.id).await?;
    let tracker = stack.wait_ended(&[job.id], LIMIT).await?;
    ensure!(tracker.jobs()[&job.id].state == JobState::Cancelled, "{tracker:?}");
    let audit = stack.audit(&[job.id], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}
