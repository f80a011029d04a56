//! RunPod's bill: attempts and overhead are all of it, whichever process is killed.

use anyhow::ensure;
use ledger_read::{OverheadRow, Window};
use schemas::{Job, JobId, JobState};
use tests::fleet::{LIMIT, TestFleet, until_claims};
use tests::jobs::{prompt, tenant};

fn paid(number: usize) -> Job {
    let mut job = prompt(&format!("billed {number}"));
    job.tenant = tenant("default");
    job.constraints.allow_paid = Some(true);
    job
}

async fn overhead(fleet: &TestFleet) -> anyhow::Result<Vec<OverheadRow>> {
    let reader = fleet.stack.reader().await?;
    let rows = reader.overhead(Window::default()).await?;
    reader.close().await;
    Ok(rows)
}

/// Only RunPod can make the jobs: the worker is killed while they run, and once more after its provider began to bill
/// idle time. The bill is then asked for again, and booked once.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_and_overhead_are_the_bill_although_the_worker_is_killed() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.gemini = None;
    })
    .await?;
    // Before any paid work: the estimate is there, and held.
    let held = async {
        while !overhead(&fleet).await?.iter().any(|row| row.is_estimated() && row.held_micro_usd > 0) {}
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, held).await??;
    let jobs: Vec<Job> = (0..6).map(paid).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let simulator = fleet.stack.simulators[0].clone();
    let started = async {
        while simulator.workers_up().await? == 0 {}
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, started).await??;
    // A start whose id is not recorded yet would wait for the provider's report for longer than this test.
    until_claims(&fleet, &ids, "started", |claim| claim.provider_id.is_some()).await?;
    fleet.stack.member("worker-cloud")?.kill9()?;
    fleet.stack.member("worker-cloud")?.restart()?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    fleet.stack.member("worker-cloud")?.kill9()?;
    fleet.stack.member("worker-cloud")?.restart()?;

    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let cloud = &audit.per_backend[&"cloud".parse()?];
    let bill = cloud.bill_micro_usd.expect("the simulator has a billing call");
    ensure!(cloud.overhead_micro_usd.0 >= 13 * 190 - 190, "a start and an idle timeout at least: {cloud:?}");
    ensure!(cloud.ledger_micro_usd.0 + cloud.overhead_micro_usd.0 == bill.0, "{cloud:?}");
    ensure!(cloud.ledger_micro_usd.0 % 190 == 0, "whole seconds: {cloud:?}");
    let rows = overhead(&fleet).await?;
    let posted: Vec<&OverheadRow> = rows.iter().filter(|row| !row.is_estimated()).collect();
    ensure!(!posted.is_empty() && posted.iter().all(|row| row.endpoint == "sim-endpoint"), "{rows:?}");
    ensure!(posted.iter().map(|row| row.attempts_micro_usd + row.amount_micro_usd).sum::<i64>() == bill.0);
    Ok(())
}
