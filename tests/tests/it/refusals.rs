//! What is no job: parked with its bytes and a reason that names field and cure, told as `refused` where
//! tenant and job can be known, and never acknowledged away.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use futures::StreamExt as _;
use schemas::topology::stream;
use schemas::{Encoding, Event, Fact, Parked, codec, subjects};
use serde_json::{Value, json};
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

/// What is published, with the words that the refusal must have.
fn cases() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let with = |pointer: &str, value: Value| {
        let mut job = serde_json::to_value(prompt("a fox")).expect("plain data");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        job.pointer_mut(parent).expect("a parent")[key] = value;
        job
    };
    vec![
        ("unknown kind", with("/body/kind", json!("hologram")), &["body.kind", "image", "video"]),
        ("no prompt, no workflow", with("/body/prompt", Value::Null), &["body.prompt", "prompt", "workflow"]),
        (
            "editor format",
            with("/body/workflow", json!({"nodes": [], "links": []})),
            &["body.workflow", "Export (API)"],
        ),
        ("too wide", with("/body/width", json!(100_000)), &["body.width", "100000"]),
        (
            "negative ceiling",
            with("/constraints/max_cost_micro_usd", json!(-1)),
            &["constraints.max_cost_micro_usd"],
        ),
        ("past deadline", with("/constraints/deadline_ms", json!(1)), &["constraints.deadline_ms"]),
        ("unheard-of model", with("/body/model", json!("sd99")), &["body.model", "sd99", "sdxl"]),
        ("wrong type", with("/body/width", json!("wide")), &["body.width"]),
        ("other tenant", with("/tenant", json!("somebody")), &["tenant", "argosy.jobs.standard.somebody"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_and_kept() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let jetstream = &fleet.stack.broker.jetstream;
    let mut told = fleet.stack.broker.client.subscribe("argosy.events.default.*.refused").await?;
    for (case, job, words) in cases() {
        let bytes = serde_json::to_vec(&job)?;
        publish(jetstream, "application/json", bytes.clone()).await?;
        let event = tokio::time::timeout(LIMIT, told.next()).await.context(case)?.context(case)?;
        let event: Event = codec::decode(None, &event.payload)?;
        let Fact::Refused { failure } = event.fact else { anyhow::bail!("{case}: {event:?}") };
        let field = failure.field.clone().unwrap_or_default();
        let text = format!("{field}: {}", failure.message);
        for word in words {
            ensure!(text.contains(word), "{case}: `{word}` is missing in `{text}`");
        }
        let parked =
            parked(jetstream, &subjects::parked(None, failure.code, None).replace("unknown", "*")).await?;
        ensure!(parked.failure == failure, "{case}: parked for {:?}", parked.failure);
        ensure!(original(&parked)? == bytes, "{case}: other bytes than published");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_kept_byte_for_byte() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let jetstream = &fleet.stack.broker.jetstream;
    let junk: [(&str, &[u8]); 3] = [
        ("application/msgpack", b"\xc1\xc1\xc1"),
        ("text/plain", b"a fox, please"),
        ("application/json", b"{"),
    ];
    for (content_type, bytes) in junk {
        publish(jetstream, content_type, bytes.to_vec()).await?;
        let parked = parked_with(jetstream, bytes).await?;
        ensure!(parked.content_type.as_deref() == Some(content_type), "{parked:?}");
        ensure!(parked.subject == "argosy.jobs.standard.default", "{parked:?}");
    }
    // The lane goes on behind them.
    let job = prompt("after the junk");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    Ok(())
}

async fn publish(
    jetstream: &async_nats::jetstream::Context,
    content_type: &str,
    bytes: Vec<u8>,
) -> anyhow::Result<()> {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(schemas::codec::CONTENT_TYPE, content_type);
    let subject = "argosy.jobs.standard.default";
    jetstream.publish_with_headers(subject, headers, bytes.into()).await?.await?;
    Ok(())
}

async fn parked(jetstream: &async_nats::jetstream::Context, filter: &str) -> anyhow::Result<Parked> {
    let stream = jetstream.get_stream(stream::PARKED).await?;
    let filter = filter.replace("unknown", "*");
    let message = stream.get_last_raw_message_by_subject(&filter).await.context(filter)?;
    Ok(Encoding::MessagePack.decode(&message.payload)?)
}

/// Waits until the bytes lie in the inbox.
async fn parked_with(jetstream: &async_nats::jetstream::Context, bytes: &[u8]) -> anyhow::Result<Parked> {
    let looking = async {
        loop {
            if let Ok(found) = parked(jetstream, "argosy.parked.*.*.*").await
                && original(&found).is_ok_and(|kept| kept == bytes)
            {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.context("the bytes never lay in PARKED")
}

fn original(parked: &Parked) -> anyhow::Result<Vec<u8>> {
    Ok(base64::engine::general_purpose::STANDARD.decode(&parked.payload_base64)?)
}
