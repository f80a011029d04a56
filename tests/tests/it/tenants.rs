//! Requests answer for their own tenant: to another a job is unknown, in the same words; the operator's form answers for
//! all. What a tenant asks to be cancelled is no other's job, and what is removed from the bucket is forgotten.

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::kv;
use client::api;
use runtime::cancels::Cancels;
use runtime::lifecycle::Lifecycle;
use schemas::api::{
    BackendsReply, CancelReply, EstimateReply, EstimateRequest, ExplainReply, JobRequest, StatusReply,
};
use schemas::topology::{Topology, bucket};
use schemas::{CancelRequest, Job, JobId, JobState, Tenant, UnknownFields, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::fleet::{LIMIT, TestFleet, look_until, root, weighted};
use tests::jobs::{prompt, tenant};
use tokio::task::JoinSet;

/// Asks as a tenant or as the operator; the answer without the id that was asked for.
async fn ask<R: DeserializeOwned + Serialize>(
    fleet: &TestFleet,
    whose: Option<&Tenant>,
    endpoint: &str,
    request: &JobRequest,
) -> anyhow::Result<Value> {
    let reply: R = api::request_as(&fleet.stack.broker.client, whose, endpoint, request).await?;
    let text = serde_json::to_string(&reply)?.replace(&request.job.to_string(), "the job");
    Ok(serde_json::from_str(&text)?)
}

async fn cancels(fleet: &TestFleet) -> anyhow::Result<kv::Store> {
    Ok(fleet.stack.broker.jetstream.get_key_value(bucket::CANCELS).await?)
}

async fn argosy(fleet: &TestFleet, arguments: &[&str], tenant: Option<&str>) -> anyhow::Result<Option<i32>> {
    let mut command = tokio::process::Command::new(fleet.stack.options().bin_dir.join("argosy"));
    command.args(arguments).env("ARGOSY_NATS__URL", fleet.stack.nats_url());
    if let Some(tenant) = tenant {
        command.env("ARGOSY_TENANT", tenant);
    }
    Ok(command.output().await?.status.code())
}

/// A request that a router refuses, in its words.
async fn refused(
    fleet: &TestFleet,
    whose: Option<&Tenant>,
    endpoint: &str,
    question: &impl Serialize,
) -> anyhow::Result<String> {
    let asked = api::request_as::<_, Value>(&fleet.stack.broker.client, whose, endpoint, question).await;
    match asked {
        Ok(answer) => bail!("{endpoint} was answered: {answer}"),
        Err(error) => Ok(error.downcast::<api::Refused>()?.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_answers_for_its_own_tenant() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        // One GPU: the first job runs while all is asked, the others wait behind it.
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        // Both that wait are bound to it: a schedule would bind one of them.
        weighted(options);
    })
    .await?;
    let local = fleet.stack.simulator("local")?;
    local.set_faults(&json!([{"name": "hold"}])).await?;
    // A tenant may be called as an endpoint is.
    let (own, other) = (tenant("status"), tenant("studio-z"));
    let of_own = |words: &str| Job { tenant: own.clone(), ..prompt(words) };
    let jobs: Vec<Job> = ["running", "waiting", "by an old key"].map(of_own).into();
    let [running, waiting, by_old_key] = [jobs[0].id, jobs[1].id, jobs[2].id];
    // One after the other: which of several at once comes first is open.
    for (some, job, state) in
        [(&jobs[..1], running, JobState::Running), (&jobs[1..], waiting, JobState::Assigned)]
    {
        fleet.stack.submit(some).await?;
        let look = async || Ok((fleet.state_of(job).await? == state).then_some(()));
        look_until(state.as_str(), look).await?;
    }

    let to = |whose: Option<&Tenant>, endpoint: &'static str, job| {
        let (fleet, whose) = (&fleet, whose.cloned());
        async move {
            let request = JobRequest::of(job);
            match endpoint {
                "status" => ask::<StatusReply>(fleet, whose.as_ref(), endpoint, &request).await,
                "explain" => ask::<ExplainReply>(fleet, whose.as_ref(), endpoint, &request).await,
                _ => ask::<CancelReply>(fleet, whose.as_ref(), endpoint, &request).await,
            }
        }
    };
    let unknown = JobId::new();
    for endpoint in ["status", "explain", "cancel"] {
        let answer = to(Some(&other), endpoint, unknown).await?;
        ensure!(answer["known"] == Value::Bool(false), "{endpoint}: {answer}");
        for job in [running, waiting] {
            ensure!(to(Some(&other), endpoint, job).await? == answer, "{endpoint}: as an unknown one");
        }
        ensure!(to(None, endpoint, JobId::new()).await?["known"] == Value::Bool(false), "{endpoint}");
    }
    for endpoint in ["status", "explain"] {
        let answer = to(Some(&own), endpoint, running).await?;
        ensure!(answer["known"] == Value::Bool(true), "{endpoint}: {answer}");
        let operators = to(None, endpoint, running).await?;
        ensure!(operators["known"] == Value::Bool(true), "{endpoint}: {operators}");
        // In the operator's form the body may confine the answer.
        let confined = JobRequest { job: running, tenant: Some(other.clone()) };
        let confined = refused(&fleet, Some(&own), endpoint, &confined).await?;
        ensure!(confined.contains("argosy.api.studio-z.…"), "{confined}");
        let confined = JobRequest { job: running, tenant: Some(other.clone()) };
        let confined: Value = api::request(&fleet.stack.broker.client, endpoint, &confined).await?;
        ensure!(confined["known"] == Value::Bool(false), "{endpoint}: {confined}");
    }
    // The other's cancels cancelled nothing.
    for job in [running, waiting] {
        ensure!(!fleet.state_of(job).await?.is_terminal(), "{job}");
    }

    let estimate = EstimateRequest { job: of_own("what would it cost"), unknown: UnknownFields::default() };
    for whose in [Some(&own), None] {
        let reply: EstimateReply =
            api::request_as(&fleet.stack.broker.client, whose, "estimate", &estimate).await?;
        ensure!(reply.decision.is_some(), "{reply:?}");
    }
    let words = refused(&fleet, Some(&other), "estimate", &estimate).await?;
    ensure!(words.starts_with("job.tenant: it is status and the subject names studio-z"), "{words}");
    let words = refused(&fleet, Some(&own), "backends", &JobRequest::of(running)).await?;
    ensure!(words.contains("ask argosy.api.backends"), "{words}");
    let fleet_view: BackendsReply = api::request_empty(&fleet.stack.broker.client, "backends").await?;
    ensure!(!fleet_view.backends.is_empty());
    let question = codec::encode(&JobRequest::of(running));
    let answer = fleet.stack.broker.client.request("argosy.api.ACME.status", question.into()).await?;
    let words = answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error"));
    ensure!(words.is_some_and(|words| words.as_str().contains("`ACME`")), "{answer:?}");

    let id = running.to_string();
    for command in ["status", "explain", "cancel", "watch"] {
        ensure!(argosy(&fleet, &[command, &id, "--tenant", "studio-z"], None).await? == Some(1), "{command}");
        ensure!(argosy(&fleet, &[command, &id], Some("studio-z")).await? == Some(1), "{command}");
    }
    ensure!(argosy(&fleet, &["status", &id, "--tenant", "status"], None).await? == Some(0));

    // Its own tenant cancels it, under both keys.
    let answer = to(Some(&own), "cancel", waiting).await?;
    ensure!(answer["known"] == Value::Bool(true), "{answer}");
    let stored = cancels(&fleet).await?;
    for (key, value) in (CancelRequest { tenant: Some(own.clone()), job: waiting }).entries() {
        ensure!(stored.get(&key).await?.as_deref() == Some(value.as_bytes()), "{key}");
    }
    // As a router of release 0.1.0 writes it.
    stored.put(by_old_key.to_string(), "cancel".into()).await?;
    local.set_faults(&json!([])).await?;
    let tracker = fleet.stack.wait_ended(&[running, waiting, by_old_key], LIMIT).await?;
    for (job, view) in tracker.jobs() {
        let expected = if *job == running { JobState::Completed } else { JobState::Cancelled };
        ensure!(view.state == expected, "{job}: {:?}", view.state);
    }
    let made = tracker.jobs()[&running].artifacts.first().context("a picture")?;
    ensure!(made.at.key.starts_with(&format!("out/status/{running}/1/")), "{}", made.at.key);
    let audit = fleet.stack.audit(&[running, waiting, by_old_key], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_known_to_its_tenant_and_cancels_of_no_job_are_not_kept() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        // No worker runs it: it stays in its lane, in a router's hands.
        options.comfyui.clear();
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let (own, other) = (tenant("studio-a"), tenant("studio-z"));
    let job = Job { tenant: own.clone(), ..prompt("nobody to run it") };
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    let client = &fleet.stack.broker.client;
    let request = JobRequest::of(job.id);
    for _ in 0..8 {
        // Each router gets some of these.
        let reply: StatusReply = api::request_as(client, Some(&own), "status", &request).await?;
        ensure!(reply.known && reply.waiting.is_some(), "{reply:?}");
        let reply: StatusReply = api::request_as(client, Some(&other), "status", &request).await?;
        ensure!(!reply.known && reply.waiting.is_none(), "{reply:?}");
    }
    // Ids that are old, or bear no time, and of which nothing is known: no job of theirs can still come.
    let hour_ago = runtime::clock::now_ms() - 3_600_000;
    let strange = [JobId::from_parts(hour_ago, [3; 10]), "00000000-0000-4000-8000-000000000001".parse()?];
    for job in strange {
        for whose in [None, Some(&own), Some(&other)] {
            let reply: CancelReply = api::request_as(client, whose, "cancel", &JobRequest::of(job)).await?;
            ensure!(!reply.known && reply.effect.ends_with("nothing was done"), "{reply:?}");
        }
    }
    ensure!(cancels(&fleet).await?.status().await?.values() == 0, "nothing is kept");
    let service = client::Client::connect(&fleet.stack.nats_url(), "tenants").await?;
    ensure!(!service.status(&other, job.id).await?.known && service.status(&own, job.id).await?.known);
    ensure!(service.cancel(&own, job.id).await?.known);
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    ensure!(tracker.jobs()[&job.id].state == JobState::Cancelled);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_removed_is_forgotten() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let nats =
        servers::NatsServer::start(&servers::Found::load(&root())?, servers::NatsOptions::new(dir.path()))
            .await?;
    let config =
        runtime::config::NatsConfig { url: nats.url().into(), ..runtime::config::NatsConfig::default() };
    let broker = runtime::broker::Broker::connect(&config, "tenants").await?;
    runtime::topology::apply(&broker.jetstream, &Topology::new(1)).await?;
    let store = broker.jetstream.get_key_value(bucket::CANCELS).await?;
    let (own, other, stop) = (tenant("studio-a"), tenant("studio-z"), Lifecycle::default().soft);
    let known = Cancels::default();
    let mut following = JoinSet::new();
    following.spawn(known.clone().follow(broker.jetstream.clone(), stop.clone()));
    let is = async |tenant: &Tenant, job, expected: bool| {
        look_until("the request", async || Ok((known.contains(tenant, job) == expected).then_some(()))).await
    };
    let (by_tenant, by_job) = (JobId::new(), JobId::new());
    for (key, value) in (CancelRequest { tenant: Some(own.clone()), job: by_tenant }).entries() {
        store.put(key, value.into()).await?;
    }
    store.put(by_job.to_string(), "cancel".into()).await?;
    is(&own, by_tenant, true).await?;
    is(&own, by_job, true).await?;
    ensure!(known.contains(&other, by_job) && !known.contains(&other, by_tenant));
    store.delete(by_job.to_string()).await?;
    is(&own, by_job, false).await?;
    store.purge(format!("{own}.{by_tenant}")).await?;
    is(&own, by_tenant, false).await?;
    stop.cancel();
    following.join_next().await.context("it follows")??.map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
    Ok(())
}
