//! What a router does not know: fields that may guard money are refused before anything is spent, all others are named
//! in the job's events, and a job of a newer schema waits for a newer router.

use anyhow::{Context as _, ensure};
use client::api;
use schemas::api::{ExplainReply, JobRequest};
use schemas::topology::{self, stream};
use schemas::{Encoding, Event, Fact, FailureCode, Job, JobId, JobState, Parked, codec, subjects};
use serde_json::{Value, json};
use stack::Role;
use std::process::Output;
use std::time::Duration;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{paid_prompt, prompt};

/// A fleet with one free worker and no other.
async fn free_fleet(env: &[(&str, &str)]) -> anyhow::Result<TestFleet> {
    let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
        options.env = env;
    })
    .await
}

fn changed(job: &Job, change: impl FnOnce(&mut Value)) -> Value {
    let mut job = serde_json::to_value(job).expect("plain data");
    change(&mut job);
    job
}

/// Publishes as any client does; returns when the broker stored it, Unix milliseconds.
async fn publish(fleet: &TestFleet, encoding: Encoding, job: &Value) -> anyhow::Result<()> {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(codec::CONTENT_TYPE, encoding.content_type());
    headers.insert("Nats-Msg-Id", job["id"].as_str().context("an id")?);
    let subject = "argosy.jobs.standard.default";
    let jetstream = &fleet.stack.broker.jetstream;
    jetstream.publish_with_headers(subject, headers, encoding.encode(job).into()).await?.await?;
    Ok(())
}

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(fleet.argosy(arguments).output().await?)
}

/// Waits until a job lies in the inbox.
async fn parked(fleet: &TestFleet, code: FailureCode, job: JobId) -> anyhow::Result<(u64, Parked)> {
    let stream = fleet.stack.broker.jetstream.get_stream(stream::PARKED).await?;
    let subject = subjects::parked(Some(&"default".parse()?), code, Some(job));
    let looking = async {
        loop {
            if let Ok(message) = stream.get_last_raw_message_by_subject(&subject).await {
                return anyhow::Ok((message.sequence, codec::decode(None, &message.payload)?));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.with_context(|| format!("{subject} never held anything"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_that_nobody_knows_spends_nothing() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| options.comfyui.clear()).await?;
    let stack = &fleet.stack;
    let wishes = [
        (
            json!({"constraints": {"allow_paid": true, "max_cost_usd": 0.001}}),
            "constraints.max_cost_micro_usd",
        ),
        (
            json!({"constraints": {"allow_paid": true}, "constraint": {"max_cost_micro_usd": 0}}),
            "constraint has no effect here: use constraints",
        ),
        (json!({"constraints": {"allow_paid": true, "backend": ["local"]}}), "constraints.backends"),
        (
            json!({"constraints": {"allow_paid": true}, "body": {"budget": 0}}),
            "constraints.max_cost_micro_usd",
        ),
    ];
    for (nth, (wish, words)) in wishes.into_iter().enumerate() {
        let job = prompt("a lighthouse");
        let value = changed(&job, |value| {
            for (part, fields) in wish.as_object().into_iter().flatten() {
                for (name, field) in fields.as_object().into_iter().flatten() {
                    value[part][name] = field.clone();
                }
            }
        });
        publish(&fleet, [Encoding::Json, Encoding::MessagePack][nth % 2], &value).await?;
        let ended = stack.wait_ended(&[job.id], LIMIT).await?;
        let view = &ended.jobs()[&job.id];
        let failure = view.failure.as_ref().context("a failure")?;
        ensure!(view.state == JobState::Failed && failure.code == FailureCode::InvalidJob, "{view:?}");
        ensure!(failure.message.contains(words), "{}", failure.message);
        ensure!(view.backend.is_none(), "it was placed: {view:?}");
    }
    for backend in ["cloud", "gemini"] {
        let stats = stack.simulator(backend)?.stats().await?;
        ensure!(stats["posts"] == 0, "{backend} was asked: {stats}");
    }
    // What is well written is made, and paid.
    let job = paid_prompt("a lighthouse", "cloud");
    publish(&fleet, Encoding::Json, &changed(&job, |_| {})).await?;
    let ended = stack.wait_ended(&[job.id], LIMIT).await?;
    ensure!(ended.jobs()[&job.id].state == JobState::Completed, "{:?}", ended.jobs()[&job.id]);
    let audit = stack.audit(&[job.id], LIMIT).await?;
    ensure!(audit.holds() && audit.ledger_micro_usd == audit.invoice_micro_usd, "{audit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workflow_decides_is_named_in_the_job_s_events() -> anyhow::Result<()> {
    let fleet = free_fleet(&[]).await?;
    let graph: Value = serde_json::from_str(include_str!("../../../ops/workflows/sd15_txt2img.json"))?;
    let mut job = prompt("a fox");
    (job.body.workflow, job.body.model) = (Some(graph), None);
    (job.body.seed, job.body.steps) = (Some(987_654), None);
    publish(&fleet, Encoding::MessagePack, &serde_json::to_value(&job)?).await?;
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    ensure!(tracker.jobs()[&job.id].state == JobState::Completed, "{:?}", tracker.jobs());
    let events = fleet.stack.broker.jetstream.get_stream(stream::EVENTS).await?;
    let subject = subjects::event(&job.tenant, job.id, "ended");
    let ended: Event = codec::decode(None, &events.get_last_raw_message_by_subject(&subject).await?.payload)?;
    let Fact::Ended { facts, .. } = ended.fact else { anyhow::bail!("{ended:?}") };
    let warning = "field body.seed has no effect: body.workflow decides";
    ensure!(facts.warnings.iter().any(|found| found == warning), "{:?}", facts.warnings);
    let asked = JobRequest::of(job.id);
    let explained: ExplainReply = api::request(&fleet.stack.broker.client, "explain", &asked).await?;
    ensure!(explained.warnings == facts.warnings, "{explained:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_guards_nothing_is_named_where_the_job_ends_and_by_the_commands() -> anyhow::Result<()> {
    let fleet = free_fleet(&[]).await?;
    let job = prompt("a fox");
    let value = changed(&job, |job| {
        job["body"]["lora_strength"] = json!(0.5);
        job["trace"] = json!({"parent": "7f"});
    });
    publish(&fleet, Encoding::MessagePack, &value).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    let events = fleet.stack.broker.jetstream.get_stream(stream::EVENTS).await?;
    let subject = subjects::event(&job.tenant, job.id, "ended");
    let ended: Event = codec::decode(None, &events.get_last_raw_message_by_subject(&subject).await?.payload)?;
    let Fact::Ended { facts, state: JobState::Completed, .. } = ended.fact else {
        anyhow::bail!("{ended:?}")
    };
    let warnings = [
        "field trace is not known and has no effect",
        "field body.lora_strength is not known and has no effect",
    ];
    ensure!(facts.warnings == warnings, "{:?}", facts.warnings);

    let asked = JobRequest::of(job.id);
    let explained: ExplainReply = api::request(&fleet.stack.broker.client, "explain", &asked).await?;
    ensure!(explained.warnings == warnings, "{explained:?}");
    for command in ["status", "explain"] {
        let output = argosy(&fleet, &[command, &job.id.to_string()]).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && text.contains(warnings[1]), "{command}: {output:?}");
    }

    // From a file: what guards money is refused before it is published, the other is published and named.
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("jobs.jsonl");
    let submit = async |line: &str| {
        std::fs::write(&file, line)?;
        argosy(&fleet, &["submit", "--file", &file.to_string_lossy()]).await
    };
    let output = submit(r#"{"body":{"kind":"image","prompt":"a cat"},"constraints":{"max_cost":0}}"#).await?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && words.contains("constraints.max_cost_micro_usd"), "{output:?}");
    let output =
        submit(r#"{"body":{"kind":"image","prompt":"a cat","model":"sd15","sampler":"euler"}}"#).await?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && words.contains("body.sampler is not known"), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_newer_schema_is_handed_back_and_then_put_aside_and_does_not_end() -> anyhow::Result<()> {
    const WAIT_MS: i64 = 3_000;
    let fleet = free_fleet(&[("ARGOSY_ROUTER__TOO_NEW_WAIT_MS", "3000")]).await?;
    let stack = &fleet.stack;
    let newer = prompt("a picture of the future");
    // Of a shape that nobody here can read.
    let value = changed(&newer, |job| {
        job["schema_version"] = json!(schemas::SCHEMA_VERSION + 1);
        job["body"] = json!(["made", "of", {"another": "shape"}]);
    });
    let published_ms = runtime::clock::now_ms();
    publish(&fleet, Encoding::Json, &value).await?;
    let lane = topology::intake_consumer_name(newer.lane);
    let jobs = stack.broker.jetstream.get_stream(stream::JOBS).await?;
    let resting = async {
        loop {
            let consumer = jobs
                .get_consumer::<async_nats::jetstream::consumer::pull::Config>(&lane)
                .await
                .map_err(anyhow::Error::from_boxed)?;
            if consumer.cached_info().num_ack_pending == 1 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(LIMIT, resting).await.context("it was never in delivery")??;
    // The lane goes on beside it.
    let others: Vec<Job> = (0..3).map(|nth| prompt(&format!("of today {nth}"))).collect();
    let ids: Vec<JobId> = others.iter().map(|job| job.id).collect();
    stack.submit(&others).await?;
    stack.wait_ended(&ids, LIMIT).await?;

    let (sequence, first) = parked(&fleet, FailureCode::TooNew, newer.id).await?;
    ensure!(first.time_ms >= published_ms + WAIT_MS, "put aside after {} ms", first.time_ms - published_ms);
    ensure!(first.failure.message.contains("argosy parked redrive"), "{}", first.failure.message);
    let output = argosy(&fleet, &["--json", "audit"]).await?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(report["parked"] == 1 && report["lost"] == 0 && output.status.success(), "{report}");
    let explained: ExplainReply =
        api::request(&stack.broker.client, "explain", &JobRequest::of(newer.id)).await?;
    ensure!(explained.state == JobState::Submitted, "{explained:?}");
    ensure!(explained.failure.is_some_and(|failure| failure.code == FailureCode::TooNew));

    // As long as nobody can read it, it comes back to the inbox, with the same bytes.
    let output = argosy(&fleet, &["parked", "redrive", &sequence.to_string()]).await?;
    ensure!(output.status.success(), "{output:?}");
    let (again, second) = parked(&fleet, FailureCode::TooNew, newer.id).await?;
    ensure!(again != sequence && second.payload_base64 == first.payload_base64, "{second:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_as_too_new_runs_under_its_id_once_a_router_can_read_it() -> anyhow::Result<()> {
    // Routers that take nothing of this build's schema yet.
    let old = [("ARGOSY_ROUTER__SCHEMA_VERSION_MAX", "0"), ("ARGOSY_ROUTER__TOO_NEW_WAIT_MS", "1")];
    let mut fleet = free_fleet(&old).await?;
    let job = prompt("a bridge");
    publish(&fleet, Encoding::Json, &changed(&job, |_| {})).await?;
    let (sequence, _) = parked(&fleet, FailureCode::TooNew, job.id).await?;
    for name in ["router-1", "router-2"] {
        fleet.stack.member(name)?.terminate(Duration::from_secs(30)).await?;
    }
    let mut options = fleet.stack.options().clone();
    options.env.clear();
    let upgraded = options.member(Role::Router, false, "router-3", "router", &fleet.stack.nats_url(), &[])?;
    fleet.stack.add(upgraded).await?;
    // `dead` is the former name of the command.
    let output = argosy(&fleet, &["--json", "dead", "redrive", &sequence.to_string()]).await?;
    let line: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(line["job"] == job.id.to_string(), "{line}");
    let ended = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    ensure!(ended.jobs()[&job.id].state == JobState::Completed, "{:?}", ended.jobs()[&job.id]);
    let explained: ExplainReply =
        api::request(&fleet.stack.broker.client, "explain", &JobRequest::of(job.id)).await?;
    ensure!(explained.failure.is_none(), "it was too new once, and is done now: {explained:?}");
    let audit = fleet.stack.audit(&[job.id], LIMIT).await?;
    ensure!(audit.holds() && audit.ended == 1 && audit.parked == 0, "{audit:?}");
    Ok(())
}
