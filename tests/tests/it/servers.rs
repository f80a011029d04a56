//! A server of our own that breaks speaks for itself: the others go on, nothing is paid for it, and a job that takes
//! servers down is not handed from one to the next.

use anyhow::{Context as _, ensure};
use client::api;
use client::parked::{self, Filter};
use schemas::api::BackendsReply;
use schemas::{Body, FailureCode, Health, Job, JobId, JobState, Kind};
use serde_json::{Value, json};
use stack::StackOptions;
use tests::fleet::{LIMIT, TestFleet, change_policy};
use tests::jobs::{prompt, tenant};

/// Two servers of our own, and a cloud that everybody may use.
async fn two_servers() -> anyhow::Result<TestFleet> {
    TestFleet::start(|options| {
        options.gemini = None;
        everybody_may_pay(options);
        // Longer than the test: what was out stays out.
        change_policy(options, |policy| policy["breaker_open_ms"] = 600_000.into());
    })
    .await
}

fn everybody_may_pay(options: &mut StackOptions) {
    options.documents.tenants = json!({"default": {"allow_paid": "always"}, "tenants": {}}).to_string();
}

async fn backends(fleet: &TestFleet) -> anyhow::Result<BackendsReply> {
    api::request_empty(&fleet.stack.broker.client, "backends").await
}

/// Its sampler is called as only this job's is.
fn with_sampler(id: &str, words: &str) -> Job {
    let graph = json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": words, "clip": ["4", 1]}},
        id: {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 4, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0],
            "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": [id, 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "picture"}},
    });
    let body = Body { kind: Kind::Image, workflow: Some(graph), ..Body::default() };
    Job { body, ..prompt(words) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_closes_no_other_and_costs_nothing() -> anyhow::Result<()> {
    let fleet = two_servers().await?;
    let broken = fleet.stack.simulators.iter().find(|one| one.backend == "local").context("a server")?;
    broken.set_faults(&json!([{"name": "restart", "times": 1}])).await?;
    let jobs: Vec<Job> = (0..12).map(|number| prompt(&format!("boat {number}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Completed, "{job}: {view:?}");
    }
    let reply = backends(&fleet).await?;
    let local = reply.backends.iter().find(|status| status.backend.as_str() == "local").context("local")?;
    ensure!(local.breaker_open_until_ms.is_none(), "{local:?}");
    let out: Vec<_> = local.workers.iter().filter(|offer| offer.health == Health::Down).collect();
    let [out] = &out[..] else { anyhow::bail!("one of them is out: {local:?}") };
    let reason = out.health_reason.as_deref().unwrap_or_default();
    ensure!(reason.starts_with("this server failed and rests: backend_down: "), "{reason}");
    let breaker = out.breaker.as_ref().context("it tells its breaker")?;
    ensure!(
        breaker.consecutive_failures == 1 && breaker.open_until_ms == out.unavailable_until_ms,
        "{out:?}"
    );
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    ensure!(audit.ledger_micro_usd.0 == 0, "{audit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_servers_down_is_parked_after_two() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.gemini = None;
        everybody_may_pay(options);
        change_policy(options, |policy| policy["breaker_open_ms"] = 1.into());
    })
    .await?;
    for one in fleet.stack.simulators.iter().filter(|one| one.backend == "local") {
        one.set_faults(&json!([{"name": "restart", "node": "killer"}])).await?;
    }
    let killer = Job { tenant: tenant("studio-a"), ..with_sampler("killer", "too much for any server") };
    let others: Vec<Job> = (0..6).map(|number| with_sampler("3", &format!("boat {number}"))).collect();
    fleet.stack.submit(std::slice::from_ref(&killer)).await?;
    let tracker = fleet.stack.wait_ended(&[killer.id], LIMIT).await?;
    let view = &tracker.jobs()[&killer.id];
    ensure!(view.state == JobState::Failed, "{view:?}");
    let failure = view.failure.as_ref().context("why")?;
    ensure!(failure.code == FailureCode::Poison, "{failure:?}");
    ensure!(failure.message.starts_with("2 times a server went away while it ran this job"), "{failure:?}");
    let fired = async || {
        let mut fired = 0;
        for one in fleet.stack.simulators.iter().filter(|one| one.backend == "local") {
            let stats: Value = reqwest::get(format!("{}/_admin/stats", one.url)).await?.json().await?;
            fired += stats["faults_fired"]["restart"].as_u64().unwrap_or_default();
        }
        anyhow::Ok(fired)
    };
    ensure!(fired().await? == 2, "two servers, and no third");
    fleet.stack.submit(&others).await?;
    let ids: Vec<JobId> = others.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let all: Vec<JobId> = ids.into_iter().chain([killer.id]).collect();
    let audit = fleet.stack.audit(&all, LIMIT).await?;
    ensure!(audit.holds() && audit.ledger_micro_usd.0 == 0, "{audit:#?}");
    let poison = Filter { code: Some(FailureCode::Poison.as_str().to_owned()), ..Filter::default() };
    let parked = parked::list(&fleet.stack.broker.jetstream, &poison, 10).await?;
    let [entry] = &parked[..] else { anyhow::bail!("one is parked: {parked:?}") };
    ensure!(entry.job == killer.id.to_string() && entry.tenant == "studio-a", "{entry:?}");
    Ok(())
}
