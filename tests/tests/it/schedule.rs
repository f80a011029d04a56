//! The schedule decides on all waiting jobs together: a job that can wait does not pay, and `explain` says what that saved.

use anyhow::ensure;
use client::api;
use schemas::api::{ExplainReply, JobRequest};
use schemas::digest::{Digest, DigestJob, DigestKind};
use schemas::{Job, JobId, JobState, codec, subjects};
use std::time::Duration;
use tests::fleet::{LIMIT, TestFleet, change_policy};
use tests::jobs::prompt;

fn patient(number: usize) -> Job {
    let mut job = prompt(&format!("patient {number}"));
    job.constraints.allow_paid = Some(true);
    job.preferences.patience_ms = Some(600_000);
    job
}

async fn reasons(fleet: &TestFleet, jobs: &[JobId]) -> anyhow::Result<Vec<String>> {
    let mut reasons = Vec::new();
    for job in jobs {
        let reply: ExplainReply =
            api::request(&fleet.stack.broker.client, "explain", &JobRequest::of(*job)).await?;
        reasons.extend(reply.decisions.into_iter().map(|decision| decision.reason));
    }
    Ok(reasons)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_wait_does_not_pay_and_hears_what_that_saved() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.gemini = None;
        options.time_scale = 0.2;
        change_policy(options, |policy| policy["scoring"] = "schedule".into());
    })
    .await?;
    let jobs: Vec<Job> = (0..10).map(patient).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let rows = fleet.stack.reader().await?.audit_rows(None, 10_000).await?;
    ensure!(rows.attempts.iter().all(|attempt| attempt.backend.as_str() == "local"), "{:?}", rows.attempts);
    let reasons = reasons(&fleet, &ids).await?;
    let waited = reasons.iter().filter(|reason| {
        reason.starts_with("local: it waited ") && reason.contains(" for a slot of our own, which saved $")
    });
    ensure!(waited.count() >= 5, "{reasons:#?}");
    Ok(())
}

/// A document that does not name a scoring is of before, and means the score.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_before_means_the_weighted_score() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        change_policy(options, |policy| {
            policy.as_object_mut().expect("an object").remove("scoring");
        });
    })
    .await?;
    let job = patient(0);
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    let reasons = reasons(&fleet, &[job.id]).await?;
    ensure!(reasons.iter().all(|reason| reason.contains(" scores ")) && !reasons.is_empty(), "{reasons:?}");
    Ok(())
}

/// A digest of urgent jobs that do not exist delays no job for long.
#[tokio::test(flavor = "multi_thread")]
async fn invented_jobs_of_others_hold_nobody_up() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        change_policy(options, |policy| policy["scoring"] = "schedule".into());
    })
    .await?;
    let ways = vec![("local".parse()?, 0.0, 60_000.0, 90_000.0)];
    let kinds = vec![DigestKind { reference_micro_usd: 1e6, ways, capabilities: Vec::new() }];
    let (tenants, jobs) =
        (vec![tests::jobs::tenant("nobody")], vec![DigestJob(0, 1_000, None, 4.0, 0, 0); 100]);
    let digest = Digest { router: "somebody".to_owned(), tenants, kinds, jobs };
    let client = fleet.stack.broker.client.clone();
    let speaking = async {
        loop {
            client.publish(subjects::FLEET_DIGEST, codec::encode(&digest).into()).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let jobs: Vec<Job> = (0..5).map(patient).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let working = async {
        fleet.stack.submit(&jobs).await?;
        fleet.stack.wait_ended(&ids, LIMIT).await
    };
    let tracker = tokio::select! {
        ended = working => ended?,
        spoken = speaking => {
            let spoken: anyhow::Result<()> = spoken;
            return spoken;
        }
    };
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    Ok(())
}
