//! Breakers of providers: one for each model and kind of failure, known to routers that start, and closed by a person.

use anyhow::{Context as _, ensure};
use client::{api, breakers};
use schemas::api::BackendsReply;
use schemas::breaker::{BreakerKind, BreakerRecord};
use schemas::{JobState, Kind};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::paid_prompt;

async fn records(fleet: &TestFleet) -> anyhow::Result<Vec<BreakerRecord>> {
    let all = breakers::list(&fleet.stack.broker.jetstream).await?;
    Ok(all.into_iter().map(|(record, _)| record).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_one_model_keeps_only_that_one_out_until_a_person_closes_it() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.runpod = None;
    })
    .await?;
    let gemini = fleet.stack.simulator("gemini")?;
    gemini.set_faults(&json!([{"name": "http_429_day", "times": 1}])).await?;
    let first = paid_prompt("one too many today", "gemini");
    fleet.stack.submit(std::slice::from_ref(&first)).await?;
    let quota = look_until("the quota is written", async || {
        Ok(records(&fleet).await?.into_iter().find(|record| record.open_until_ms.is_some()))
    })
    .await?;
    ensure!(quota.kind == BreakerKind::Quota && quota.backend.as_str() == "gemini", "{quota:?}");
    ensure!(quota.model.as_deref() == Some("gemini-3.1-flash-image"), "{quota:?}");
    ensure!(quota.by.starts_with("router-") && quota.why.is_none(), "{quota:?}");
    ensure!(quota.reason.as_deref().is_some_and(|words| words.starts_with("quota_exhausted: ")), "{quota:?}");

    // Films are another model's.
    let mut film = paid_prompt("waves", "gemini");
    (film.body.kind, film.body.model) = (Kind::Video, Some("wan".to_owned()));
    film.body.duration_ms = Some(3_000);
    fleet.stack.submit(std::slice::from_ref(&film)).await?;
    let tracker = fleet.stack.wait_ended(&[film.id], LIMIT).await?;
    ensure!(tracker.jobs()[&film.id].state == JobState::Completed, "{tracker:?}");

    // Routers that start know it.
    for name in ["router-1", "router-2"] {
        fleet.stack.member(name)?.kill9()?;
    }
    for name in ["router-1", "router-2"] {
        fleet.stack.member(name)?.restart()?;
        fleet.stack.member(name)?.ready(LIMIT).await?;
    }
    let reply: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
    let status = reply.backends.iter().find(|status| status.backend == quota.backend).context("gemini")?;
    let [known] = &status.breakers[..] else { anyhow::bail!("one is open: {status:?}") };
    ensure!(known.model == quota.model && known.open_until_ms == quota.open_until_ms, "{known:?}");
    ensure!(status.breaker_open_until_ms == quota.open_until_ms, "{status:?}");
    let behind = paid_prompt("behind it", "gemini");
    fleet.stack.submit(std::slice::from_ref(&behind)).await?;

    // A person says that it is over, and why.
    let argosy = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(fleet.stack.options().bin_dir.join("argosy"));
        command.args(arguments).env("ARGOSY_NATS__URL", fleet.stack.nats_url());
        let output = command.output().await?;
        anyhow::Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let (code, text) = argosy(&["breakers", "list"]).await?;
    ensure!(code == Some(0) && text.contains("quota") && text.contains("open for"), "{text}");
    let reset = ["breakers", "reset", "gemini", "--why", "the quota was raised", "--by", "ada"];
    let (code, text) = argosy(&reset).await?;
    ensure!(code == Some(0) && text.contains("closed") && text.contains("ada"), "{text}");
    let tracker = fleet.stack.wait_ended(&[behind.id], LIMIT).await?;
    ensure!(tracker.jobs()[&behind.id].state == JobState::Completed, "{tracker:?}");
    let closed = records(&fleet).await?.into_iter().find(|record| record.key() == quota.key());
    let closed = closed.context("it is kept")?;
    ensure!(closed.open_until_ms.is_none() && closed.by == "ada", "{closed:?}");
    ensure!(closed.why.as_deref() == Some("the quota was raised"), "{closed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_closes_the_breaker_of_our_own_server_too() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        tests::fleet::change_policy(options, |policy| policy["breaker_open_ms"] = 3_600_000.into());
    })
    .await?;
    let local = fleet.stack.simulator("local")?;
    local.set_faults(&json!([{"name": "restart", "times": 1}])).await?;
    let job = tests::jobs::prompt("a boat");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    let is_at_rest = async || {
        let reply: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
        let mut offers = reply.backends.iter().flat_map(|status| &status.workers);
        anyhow::Ok(offers.any(|offer| offer.unavailable_until_ms.is_some()))
    };
    look_until("the server rests", async || Ok(is_at_rest().await?.then_some(()))).await?;
    let reset = breakers::Reset {
        backend: "local".parse()?,
        model: None,
        by: "ada".to_owned(),
        why: "the cable is in again".to_owned(),
        time_ms: runtime::clock::now_ms(),
    };
    ensure!(breakers::reset(&fleet.stack.broker.jetstream, &reset).await?.is_empty(), "no provider's");
    look_until("it works again", async || Ok((!is_at_rest().await?).then_some(()))).await?;
    let next = tests::jobs::prompt("another boat");
    fleet.stack.submit(std::slice::from_ref(&next)).await?;
    let tracker = fleet.stack.wait_ended(&[next.id], LIMIT).await?;
    ensure!(tracker.jobs()[&next.id].state == JobState::Completed, "{tracker:?}");
    Ok(())
}
