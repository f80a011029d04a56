//! Results that a provider hands over in other shapes than expected, through the real binaries: each job is one paid
//! run, whatever comes of it.

use anyhow::ensure;
use schemas::{FailureCode, Input, Job, JobId, JobState};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::paid_prompt;

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

async fn cloud_only() -> anyhow::Result<TestFleet> {
    TestFleet::start(|options| {
        options.comfyui.clear();
        options.gemini = None;
    })
    .await
}

async fn paid_runs(fleet: &TestFleet) -> anyhow::Result<u64> {
    Ok(fleet.stack.simulator("cloud")?.stats().await?["posts"].as_u64().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_results_are_one_paid_run_each_and_the_books_agree() -> anyhow::Result<()> {
    let fleet = cloud_only().await?;
    let stack = &fleet.stack;
    let cloud = stack.simulator("cloud")?;
    let readable = ["shape_message_base64", "shape_list", "shape_string", "shape_gifs", "shape_partial"];
    let unusable = ["completed_without_output", "shape_status_error", "shape_words", "result_elsewhere"];
    let mut all = Vec::new();
    for (faults, state) in [(&readable[..], JobState::Completed), (&unusable[..], JobState::Failed)] {
        let armed: Vec<_> = faults.iter().map(|name| json!({"name": name, "times": 1})).collect();
        cloud.set_faults(&json!(armed)).await?;
        let jobs: Vec<Job> = faults.iter().map(|name| paid_prompt(name, "cloud")).collect();
        stack.submit(&jobs).await?;
        let tracker = stack.wait_ended(&ids(&jobs), LIMIT).await?;
        for (job, view) in tracker.jobs() {
            ensure!(view.state == state, "{job}: {view:?}");
            let code = view.failure.as_ref().map(|failure| failure.code);
            let expected = (state == JobState::Failed).then_some(FailureCode::UnusableResult);
            ensure!(code == expected && view.attempt == 1, "{job}: {view:?}");
        }
        all.extend(jobs);
    }
    ensure!(paid_runs(&fleet).await? == all.len() as u64, "one run for each job");
    let audit = stack.audit(&ids(&all), LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_too_large_together_are_refused_before_the_paid_call() -> anyhow::Result<()> {
    let fleet = cloud_only().await?;
    let stack = &fleet.stack;
    let mut job = paid_prompt("eight times the same", "cloud");
    let input =
        client::submit::input(&stack.broker.jetstream, &job.tenant, "a.png", &vec![7; 3_000_000]).await?;
    job.body.inputs = (0..8).map(|n| Input { name: format!("{n}.png"), ..input.clone() }).collect();
    stack.submit(std::slice::from_ref(&job)).await?;
    let tracker = stack.wait_ended(&[job.id], LIMIT).await?;
    let failure = tracker.jobs()[&job.id].failure.clone();
    let field = failure.as_ref().and_then(|failure| failure.field.as_deref());
    ensure!(field == Some("body.inputs"), "{failure:?}");
    ensure!(failure.is_some_and(|failure| failure.message.contains("32000000 bytes as base64")), "the sum");
    ensure!(paid_runs(&fleet).await? == 0, "nothing was started");
    Ok(())
}
