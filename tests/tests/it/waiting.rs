//! What waits says what it waits for, whichever router is asked; what lies in the lanes is counted.

use std::time::Instant;

use anyhow::{bail, ensure};
use client::api;
use runtime::lanes::{self, Lying, Search};
use schemas::api::{BackendsReply, CancelReply, ExplainReply, JobRequest, JobWait, StatusReply};
use schemas::{Job, JobId, Lane, MicroUsd, TenantConfig};
use serde_json::Value;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{paid_prompt, prompt, tenant};

async fn status(fleet: &TestFleet, job: JobId) -> anyhow::Result<StatusReply> {
    api::request(&fleet.stack.broker.client, "status", &JobRequest::of(job)).await
}

/// Asks until the job waits for something that has the words in it.
async fn waits_for(fleet: &TestFleet, job: JobId, words: &str) -> anyhow::Result<JobWait> {
    let since = Instant::now();
    loop {
        let reply = status(fleet, job).await?;
        match reply.waiting {
            Some(wait) if wait.sentence.contains(words) => return Ok(wait),
            waiting if since.elapsed() > LIMIT => bail!("{words}: {waiting:?}, {:?}", reply.state),
            _ => {}
        }
    }
}

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = fleet.argosy(arguments).output().await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_budget_says_so_in_the_same_words_whichever_router_is_asked() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        let mut tenants: schemas::TenantsConfig =
            serde_json::from_str(&options.documents.tenants).expect("the document");
        let broke = TenantConfig { daily_micro_usd: Some(MicroUsd(30)), ..tenants.default.clone() };
        tenants.tenants.insert(tenant("studio"), broke);
        options.documents.tenants = serde_json::to_string(&tenants).expect("json");
    })
    .await?;
    let job = Job { tenant: tenant("studio"), ..paid_prompt("no money for it", "cloud") };
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    let first =
        waits_for(&fleet, job.id, "daily budget of studio: $0.00 of $0.00003 used, until 00:00 UTC").await?;
    ensure!(first.next_look_ms.is_some_and(|next_ms| next_ms > first.since_ms), "{first:?}");
    ensure!(first.lane == Some(Lane::Standard) && first.sentence.contains("looked at next at"), "{first:?}");
    // Two routers, and the broker picks either.
    for _ in 0..8 {
        let again = waits_for(&fleet, job.id, "daily budget").await?;
        ensure!((again.waits_for, again.since_ms) == (first.waits_for.clone(), first.since_ms), "{first:?}");
        let explained: ExplainReply =
            api::request(&fleet.stack.broker.client, "explain", &JobRequest::of(job.id)).await?;
        let explained = explained.waiting.map(|wait| wait.waits_for);
        ensure!(explained.as_ref() == Some(&first.waits_for), "{explained:?}");
    }
    let (code, text) = argosy(&fleet, &["explain", &job.id.to_string()]).await?;
    ensure!(code == Some(0) && text.contains("waits: ") && text.contains("daily budget of studio"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_lanes_is_counted_and_says_its_place() -> anyhow::Result<()> {
    // More than two routers hold.
    const FLOOD: usize = 2_400;
    let mut fleet = TestFleet::start(|options| {
        // Nobody makes anything: what is accepted waits.
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    fleet.stack.member("worker-local-1")?.terminate(LIMIT).await?;
    let flood: Vec<Job> = (0..FLOOD).map(|number| prompt(&format!("wave {number}"))).collect();
    fleet.stack.submit(&flood).await?;
    let since = Instant::now();
    loop {
        let reply: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
        let standard = reply.lanes.iter().find(|status| status.lane == Lane::Standard);
        let seen = standard.map(|status| (status.jobs, status.oldest_age_ms.is_some()));
        if seen == Some((FLOOD as u64, true)) {
            break;
        }
        ensure!(since.elapsed() < LIMIT, "{standard:?}");
    }
    // Most are behind all that routers hold and look at.
    let mut lying = None;
    while lying.is_none() {
        for (place, job) in flood.iter().enumerate().rev() {
            let waiting = status(&fleet, job.id).await?.waiting;
            lying = lying.or(waiting
                .filter(|wait| wait.sentence.contains("in lane standard, "))
                .map(|wait| (place, wait)));
            if lying.is_some() {
                break;
            }
        }
        ensure!(since.elapsed() < LIMIT, "every job is in a router's hand");
    }
    let (place, wait) = lying.expect("just found");
    ensure!(wait.ahead == Some(place as u64) && wait.sentence.contains(", since "), "{place}: {wait:?}");
    // What is in a router's hand says what it lacks.
    waits_for(&fleet, flood[0].id, "no worker").await?;
    let (code, listed) = argosy(&fleet, &["--json", "jobs", "--limit", "5000"]).await?;
    ensure!(code == Some(0) && listed.lines().count() == FLOOD, "{}", listed.lines().count());
    let (_, doctor) = argosy(&fleet, &["--json", "doctor"]).await?;
    let doctor: Value = serde_json::from_str(doctor.lines().next().unwrap_or_default())?;
    let queue = doctor["findings"].as_array().into_iter().flatten().find(|row| row["check"] == "queue");
    let seen = queue.and_then(|row| row["seen"].as_str()).unwrap_or_default();
    ensure!(seen.starts_with(&format!("{FLOOD} jobs wait")) && seen.contains("no worker"), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_more_than_is_looked_at_a_job_is_found_by_its_ids_time_and_no_other_is_known()
-> anyhow::Result<()> {
    // As many as one request to the broker brings.
    const LOOKED_AT_MAX: usize = 500;
    const AHEAD: usize = 700;
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini, options.routers) = (None, None, 1);
    })
    .await?;
    fleet.stack.member("router-1")?.pause()?;
    let before: Vec<Job> = (0..AHEAD).map(|number| prompt(&format!("before {number}"))).collect();
    fleet.stack.submit(&before).await?;
    let other = Job { lane: Lane::Interactive, ..prompt("in another lane") };
    fleet.stack.submit(std::slice::from_ref(&other)).await?;
    let job = prompt("behind them");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    let after: Vec<Job> = (0..AHEAD).map(|number| prompt(&format!("after {number}"))).collect();
    fleet.stack.submit(&after).await?;
    let client = &fleet.stack.broker.client;
    let find = async |id: JobId| {
        let is_it = |lying: &Lying| lying.id() == Some(id);
        lanes::find_job(client, id.time_ms(), LOOKED_AT_MAX, is_it).await
    };
    let ahead = |search: Search| match search {
        Search::Found(lying) => Some((lying.lane, lying.ahead, lying.is_counted)),
        Search::Absent | Search::NotFound { .. } => None,
    };
    ensure!(ahead(find(before[3].id).await?) == Some((Lane::Standard, 3, true)));
    ensure!(ahead(find(job.id).await?) == Some((Lane::Standard, LOOKED_AT_MAX as u64, false)));
    ensure!(ahead(find(other.id).await?) == Some((Lane::Interactive, 0, false)));
    let without_time: JobId = "00000000-0000-4000-8000-000000000001".parse()?;
    let far = JobId::from_parts(1 << 47, [9; 10]);
    for strange in [JobId::from_parts(1_700_000_000_000, [7; 10]), JobId::new(), without_time, far] {
        ensure!(matches!(find(strange).await?, Search::NotFound { .. }), "{strange}");
    }
    // Where all is looked at it is certain.
    let is_it = |lying: &Lying| lying.id() == Some(without_time);
    ensure!(matches!(lanes::find_job(client, None, 20_000, is_it).await?, Search::Absent));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_nobody_knows_is_unknown_to_every_command() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let strange = JobId::new();
    ensure!(!status(&fleet, strange).await?.known);
    let cancelled: CancelReply =
        api::request(&fleet.stack.broker.client, "cancel", &JobRequest::of(JobId::new())).await?;
    ensure!(!cancelled.known, "{cancelled:?}");
    for command in ["status", "explain", "cancel", "watch"] {
        let (code, text) = argosy(&fleet, &[command, &strange.to_string()]).await?;
        ensure!(code == Some(1) && text.contains("unknown"), "{command}: {code:?} {text}");
    }
    let job = prompt("a known one");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    ensure!(status(&fleet, job.id).await?.known);
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    for command in ["status", "explain", "watch"] {
        let (code, text) = argosy(&fleet, &[command, &job.id.to_string()]).await?;
        ensure!(code == Some(0) && !text.contains("unknown"), "{command}: {code:?} {text}");
    }
    Ok(())
}
