//! What is parked: grouped by its cause, sent again where that may help, and discarded with a reason.

use std::process::Output;

use anyhow::ensure;
use client::parked::{self, Filter, Origin};
use schemas::{Body, Job, JobId, JobState, Kind};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(fleet.argosy(arguments).env("USER", "ann").output().await?)
}

fn words(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A job of a node that no server has.
fn with_node(name: &str) -> Job {
    let graph = json!({"1": {"class_type": name, "inputs": {}}});
    Job { body: Body { kind: Kind::Image, workflow: Some(graph), ..Body::default() }, ..prompt("") }
}

/// A job that nothing can run.
fn too_wide(width: u32) -> Job {
    let job = prompt("a wall");
    Job { body: Body { width: Some(width), ..job.body.clone() }, ..job }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_grouped_sent_again_where_that_helps_and_discarded_with_a_reason()
-> anyhow::Result<()> {
    let fleet = TestFleet::start(|_| {}).await?;
    let jobs = [too_wide(1_000_001), too_wide(2_000_002), with_node("NobodyHasThis"), with_node("NorThis")];
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Failed), "{tracker:?}");
    let jetstream = &fleet.stack.broker.jetstream;
    let everything = Filter::default();
    let all = || parked::list(jetstream, &everything, 100);
    let causes = parked::causes(&all().await?);
    let told: Vec<_> = causes.iter().map(|cause| (cause.origin, cause.code.as_str(), cause.count)).collect();
    ensure!(told.last() == Some(&(Origin::Mistake, "invalid_job", 2)), "{causes:?}");
    ensure!(told.iter().map(|(_, _, count)| count).sum::<usize>() == 4, "{causes:?}");
    let table = words(&argosy(&fleet, &["parked", "causes"]).await?);
    ensure!(table.contains("incident  capability_missing") && table.contains("mistake"), "{table}");

    // What fails for certain stays; the others become jobs anew, which are parked again.
    let output = argosy(&fleet, &["parked", "redrive", "--all"]).await?;
    let said = words(&output);
    ensure!(output.status.success() && said.contains("2 would only fail again"), "{said}");
    ensure!(said.matches(" is now ").count() == 2, "{said}");
    let anew: Vec<JobId> =
        said.lines().filter_map(|line| line.split(" is now ").nth(1)?.trim().parse().ok()).collect();
    fleet.stack.wait_ended(&anew, LIMIT).await?;
    let left = all().await?;
    ensure!(
        left.len() == 4 && ids[..2].iter().all(|id| left.iter().any(|entry| entry.job == id.to_string()))
    );

    // Without a reason nothing is discarded.
    for arguments in [&["parked", "discard", "--all"][..], &["parked", "discard", "--all", "--reason", " "]] {
        ensure!(!argosy(&fleet, arguments).await?.status.success(), "{arguments:?}");
        ensure!(all().await?.len() == 4);
    }
    let arguments = ["parked", "discard", "--all", "--code", "invalid_job", "--reason", "told the artist"];
    let output = argosy(&fleet, &arguments).await?;
    ensure!(output.status.success(), "{}", words(&output));
    ensure!(parked::count(jetstream).await? == 2, "the record is not counted");
    let left = all().await?;
    ensure!(left.iter().all(|entry| entry.code == "capability_missing"), "{left:?}");
    let discarded = Filter { code: Some(parked::DISCARDED.to_owned()), ..Filter::default() };
    let records = parked::list(jetstream, &discarded, 10).await?;
    let [record] = &records[..] else { anyhow::bail!("one record: {records:?}") };
    let kept = record.parked.as_ref().map(|parked| parked.failure.message.as_str());
    ensure!(kept == Some("2 of default discarded by ann: told the artist"), "{kept:?}");
    let doctor = words(&argosy(&fleet, &["doctor"]).await?);
    ensure!(doctor.contains("2 messages failed") && !doctor.contains("newest: discarded"), "{doctor}");
    // It is no job, and stays.
    let number = record.sequence.to_string();
    ensure!(!argosy(&fleet, &["parked", "redrive", &number]).await?.status.success());
    argosy(&fleet, &["parked", "discard", "--all", "--reason", "the rest"]).await?;
    ensure!(
        parked::count(jetstream).await? == 0 && parked::list(jetstream, &discarded, 10).await?.len() == 2
    );
    let doctor = words(&argosy(&fleet, &["doctor"]).await?);
    ensure!(doctor.contains("nothing is parked"), "{doctor}");
    Ok(())
}
