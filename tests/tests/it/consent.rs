//! Whose word spends money: the operator's for the tenant, then the job's within it, and one budget for all names that no
//! document lists.

use std::process::Output;

use anyhow::{Context as _, ensure};
use client::api;
use schemas::api::{EstimateReply, EstimateRequest};
use schemas::{Failure, Job, JobState, MicroUsd};
use serde_json::{Value, json};
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::{paid_prompt, prompt, tenant};

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(fleet.argosy(arguments).output().await?)
}

/// A picture for the cloud alone, with the job's own word.
fn at_cloud(owner: &str, allow_paid: Option<bool>) -> Job {
    let mut job = paid_prompt(&format!("a lantern of {owner}"), "cloud");
    (job.tenant, job.constraints.allow_paid) = (tenant(owner), allow_paid);
    job
}

async fn ended(fleet: &TestFleet, job: &Job) -> anyhow::Result<(JobState, Option<Failure>)> {
    fleet.stack.submit(std::slice::from_ref(job)).await?;
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    let view = &tracker.jobs()[&job.id];
    Ok((view.state, view.failure.clone()))
}

/// Waits until every router estimates the job so: a change of a document takes a moment.
async fn until_estimated(
    fleet: &TestFleet,
    job: &Job,
    is_so: fn(&EstimateReply) -> bool,
) -> anyhow::Result<()> {
    let request = EstimateRequest { job: job.clone(), unknown: schemas::UnknownFields::default() };
    look_until("no router changed its mind", async || {
        // Any router answers: one that is asked so often in a row answers at least once.
        for _ in 0..16 {
            let reply: EstimateReply = api::request(&fleet.stack.broker.client, "estimate", &request).await?;
            if !is_so(&reply) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_invented_names_spend_one_default_budget_between_them() -> anyhow::Result<()> {
    // One picture reserves $0.1636 and costs $0.067: one fits, and three of three budgets would be more than one.
    const DAILY_MICRO_USD: i64 = 180_000;
    let fleet = TestFleet::start(|options| {
        let default = json!({ "allow_paid": "when_asked", "daily_micro_usd": DAILY_MICRO_USD });
        options.documents.tenants = json!({ "default": default }).to_string();
        options.runpod = None;
    })
    .await?;
    // Each would rather run at Gemini, and runs for nothing when the money is gone.
    let mut jobs = Vec::new();
    for owner in ["somebody", "somebody-else", "nobody-you-know"] {
        for number in 0..3 {
            let mut job = prompt(&format!("picture {number}"));
            (job.tenant, job.constraints.allow_paid) = (tenant(owner), Some(true));
            job.preferences.backend = Some("gemini".parse()?);
            jobs.push(job);
        }
    }
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let spent = audit.ledger_micro_usd;
    ensure!(spent > MicroUsd::ZERO, "somebody was first");
    ensure!(spent <= MicroUsd(DAILY_MICRO_USD), "three names spent {spent} of one budget");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_word_comes_first_and_a_refusal_names_the_command_that_changes_it() -> anyhow::Result<()>
{
    let fleet = TestFleet::start(|options| {
        // As an older version wrote it, with one entry of today.
        let tenants = json!({ "old": { "allow_paid": true }, "strict": { "allow_paid": "never" } });
        options.documents.tenants =
            json!({ "default": { "allow_paid": false }, "tenants": tenants }).to_string();
        options.comfyui.truncate(1);
        options.gemini = None;
    })
    .await?;
    let shown = argosy(&fleet, &["tenants", "--json"]).await?;
    let shown: Value = serde_json::from_slice(&shown.stdout).with_context(|| format!("{shown:?}"))?;
    ensure!(shown["tenants"]["old"]["allow_paid"] == "always", "{shown}");
    ensure!(shown["default"]["allow_paid"] == "when_asked", "{shown}");

    for (owner, asks) in [("old", None), ("invented", Some(true))] {
        let (state, failure) = ended(&fleet, &at_cloud(owner, asks)).await?;
        ensure!(state == JobState::Completed, "{owner} {asks:?}: {failure:?}");
    }
    for (owner, asks, field, command) in [
        ("old", Some(false), "constraints.allow_paid", "argosy submit --allow-paid"),
        ("invented", None, "constraints.allow_paid", "argosy submit --allow-paid"),
        ("strict", Some(true), "tenant", "argosy tenants set strict --paid when_asked"),
    ] {
        let (state, failure) = ended(&fleet, &at_cloud(owner, asks)).await?;
        let failure = failure.with_context(|| format!("{owner} {asks:?}: {state:?}"))?;
        ensure!(failure.field.as_deref() == Some(field), "{owner} {asks:?}: {failure:?}");
        ensure!(failure.message.ends_with(command), "{owner} {asks:?}: {}", failure.message);
    }
    // Its word is about money: what is free runs, however much the job would rather pay.
    let mut free = prompt("a lantern for nothing");
    (free.tenant, free.constraints.allow_paid) = (tenant("strict"), Some(true));
    free.preferences.backend = Some("cloud".parse()?);
    ensure!(ended(&fleet, &free).await?.0 == JobState::Completed);

    // `estimate` says the same, and the command that it names is the one that changes it.
    let estimated = argosy(
        &fleet,
        &["estimate", "a lantern", "--tenant", "strict", "--allow-paid", "--backend", "cloud"],
    );
    let estimated = String::from_utf8(estimated.await?.stdout)?;
    let words = "the word of tenant strict is never; to allow paid backends: argosy ";
    let command =
        estimated.split(words).nth(1).and_then(|rest| rest.lines().next()).context(estimated.clone())?;
    let changed = argosy(&fleet, &command.split(' ').collect::<Vec<_>>()).await?;
    ensure!(changed.status.success(), "argosy {command}: {changed:?}");
    let asks = at_cloud("strict", Some(true));
    until_estimated(&fleet, &asks, |reply| reply.failure.is_none()).await?;
    let (state, failure) = ended(&fleet, &asks).await?;
    ensure!(state == JobState::Completed, "after `argosy {command}`: {failure:?}");

    // Names that nobody knows are refused where the operator says so, free or not.
    let refused = argosy(&fleet, &["tenants", "default", "--unlisted", "refuse"]).await?;
    ensure!(refused.status.success(), "{refused:?}");
    let mut unknown = prompt("a lantern of whom?");
    unknown.tenant = tenant("invented");
    until_estimated(&fleet, &unknown, |reply| reply.failure.is_some()).await?;
    let (state, failure) = ended(&fleet, &unknown).await?;
    let failure = failure.with_context(|| format!("{state:?}"))?;
    ensure!(failure.field.as_deref() == Some("tenant"), "{failure:?}");
    ensure!(failure.message.contains("argosy tenants set invented --paid never"), "{}", failure.message);
    ensure!(
        ended(&fleet, &at_cloud("strict", Some(true))).await?.0 == JobState::Completed,
        "listed ones are not"
    );
    Ok(())
}
