//! A job's life on each backend: picture, events, explanation, ledger row, cost.

use anyhow::{Context as _, ensure};
use client::api;
use runtime::artifacts::{Artifacts, sha256_hex};
use schemas::api::{EstimateReply, EstimateRequest, ExplainReply, JobRequest, StatusReply};
use schemas::{Event, Job, JobId, JobState, Kind, codec};
use serde_json::json;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{paid_prompt, prompt};

fn workflow() -> Job {
    let mut job = prompt("unused");
    job.body.prompt = None;
    job.body.model = None;
    job.body.workflow = Some(json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a quiet harbour", "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 256, "height": 320, "batch_size": 2}},
        "5": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0],
              "latent_image": ["4", 0], "seed": 7, "steps": 5, "cfg": 7.0, "sampler_name": "euler",
              "scheduler": "normal", "denoise": 1.0}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "harbour"}},
    }));
    job
}

fn video() -> Job {
    let mut job = paid_prompt("waves against a pier", "gemini");
    job.body.kind = Kind::Video;
    (job.body.model, job.body.width, job.body.height) = (None, None, None);
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn every_backend_delivers_and_every_cent_is_explained() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|_| {}).await?;
    let stack = &fleet.stack;
    let free = prompt("a lighthouse at dusk");
    let jobs = vec![
        free.clone(),
        workflow(),
        paid_prompt("a paper boat", "cloud"),
        paid_prompt("a brass compass", "gemini"),
        video(),
    ];
    stack.submit(&jobs).await?;
    // Publishing again is publishing once.
    stack.submit(&jobs).await?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let tracker = stack.wait_ended(&ids, LIMIT).await?;
    let artifacts = Artifacts::new(stack.broker.jetstream.clone());
    for (job, view) in tracker.jobs() {
        ensure!(view.state == JobState::Completed, "{job}: {:?} {:?}", view.state, view.failure);
        ensure!(!view.artifacts.is_empty(), "{job}: nothing was made");
        for artifact in &view.artifacts {
            let bytes = artifacts.get(&artifact.at).await?;
            ensure!(sha256_hex(&bytes) == artifact.sha256, "{job}: other bytes than announced");
        }
    }
    let made = &tracker.jobs()[&jobs[1].id].artifacts;
    ensure!(made.len() == 2 && (made[0].width, made[0].height) == (Some(256), Some(320)), "{made:?}");

    let asked = JobRequest::of(free.id);
    let status: StatusReply = api::request(&stack.broker.client, "status", &asked).await?;
    ensure!(status.known && status.state == JobState::Completed, "{:?}", status.state);
    let ends = status.events.iter().filter(|event| event.fact.kind() == "ended").count();
    ensure!(ends == 1, "{ends} ends");
    let explained: ExplainReply = api::request(&stack.broker.client, "explain", &asked).await?;
    let decision = explained.decisions.first().context("a decision")?;
    ensure!(decision.choice == Some("local".parse()?), "{}", decision.reason);
    ensure!(decision.candidates.len() == 3 && decision.consent.contains("tenant"), "{decision:?}");

    let request =
        EstimateRequest { job: paid_prompt("a kite", "cloud"), unknown: schemas::UnknownFields::default() };
    let estimate: EstimateReply = api::request(&stack.broker.client, "estimate", &request).await?;
    let would = estimate.decision.context("an estimate")?;
    ensure!(
        would.choice == Some("cloud".parse()?) && would.candidates[0].expected_micro_usd.0 > 0,
        "{would:?}"
    );

    let audit = stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    ensure!(
        audit.accepted == 5 && audit.ended == 5 && audit.ledger_micro_usd == audit.invoice_micro_usd,
        "{audit:?}"
    );
    ensure!(audit.ledger_micro_usd.0 > 0, "paid work without a cost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_repeated_after_the_window_changes_nothing() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let stack = &fleet.stack;
    let job = prompt("a bell tower");
    stack.submit(std::slice::from_ref(&job)).await?;
    stack.wait_ended(&[job.id], LIMIT).await?;
    // Another message id is what the broker sees when the duplicate window has passed.
    let subject = schemas::subjects::jobs(job.lane, &job.tenant);
    stack.broker.jetstream.publish(subject, codec::encode(&job).into()).await?.await?;
    let after = prompt("a marker behind it");
    stack.submit(std::slice::from_ref(&after)).await?;
    stack.wait_ended(&[after.id], LIMIT).await?;
    let asked = JobRequest::of(job.id);
    let status: StatusReply = api::request(&stack.broker.client, "status", &asked).await?;
    let kinds: Vec<&str> = status.events.iter().map(|event| event.fact.kind()).collect();
    ensure!(
        !kinds.contains(&"assigned") && kinds.contains(&"ended"),
        "placed by its assignment alone: {kinds:?}"
    );
    let explained: ExplainReply = api::request(&stack.broker.client, "explain", &asked).await?;
    ensure!(explained.decisions.len() == 1, "it was placed once: {explained:?}");
    let done = stack.simulator("local")?.stats().await?;
    ensure!(done["posts"] == 2, "the simulator got {} posts for two jobs", done["posts"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fact_carries_its_id_or_an_expectation() -> anyhow::Result<()> {
    use futures::StreamExt as _;
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let jobs: Vec<Job> = (0..3).map(|n| prompt(&format!("told {n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    fleet.stack.wait_ended(&ids, LIMIT).await?;
    let events = fleet.stack.broker.jetstream.get_stream("EVENTS").await?;
    let consumer = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let mut messages = events.create_consumer(consumer).await?.messages().await?;
    let stored = events.cached_info().state.messages;
    ensure!(stored >= 3, "an `ended` event each: {stored}");
    for _ in 0..stored {
        let message = messages.next().await.expect("as many as were stored")?;
        let event: Event = schemas::codec::decode(None, &message.payload)?;
        let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name));
        let (id, expected) = (header("Nats-Msg-Id"), header("Nats-Expected-Last-Subject-Sequence"));
        let is_named = id.is_some_and(|id| id.as_str() == event.id);
        ensure!(is_named != expected.is_some(), "{}: {:?}", event.id, message.headers);
    }
    Ok(())
}
