//! Files of tenants and texts of prompts, through the real processes.

use anyhow::{Context as _, ensure};
use schemas::{Input, Job, JobState};
use serde_json::{Value, json};
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{prompt, tenant};

const THEIRS_PX: u32 = 320;
const OWN_PX: u32 = 448;

/// The head of a picture, which is all that the simulator reads.
fn picture(width: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(256_u32.to_be_bytes());
    bytes
}

fn workflow_of(name: &str, graph: Value, inputs: Vec<Input>) -> Job {
    let mut job = prompt("unused");
    job.tenant = tenant(name);
    (job.body.prompt, job.body.width, job.body.height) = (None, None, None);
    (job.body.workflow, job.body.inputs) = (Some(graph), inputs);
    job
}

fn loads(image: &Value) -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_never_gets_another_tenant_s_picture() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let jetstream = &fleet.stack.broker.jetstream;
    let input = async |name: &str, width| {
        client::submit::input(jetstream, &tenant(name), "photo.png", &picture(width)).await
    };
    let (theirs, own) = (input("studio-a", THEIRS_PX).await?, input("studio-b", OWN_PX).await?);
    let first = workflow_of("studio-a", loads(&json!("photo.png")), vec![theirs.clone()]);
    fleet.stack.submit(std::slice::from_ref(&first)).await?;
    let tracker = fleet.stack.wait_ended(&[first.id], LIMIT).await?;
    let made = &tracker.jobs()[&first.id];
    ensure!(made.artifacts.first().and_then(|made| made.width) == Some(THEIRS_PX), "{made:?}");
    let result = made.artifacts[0].at.clone();

    let mut forms: Vec<Value> = [
        "photo.png",
        "photo.png [input]",
        "photo.png[input]",
        "pasted/photo.png",
        "clipspace\\photo.png [input]",
        "./photo.png",
    ]
    .map(|form| json!(form))
    .to_vec();
    forms.extend([json!({"__value__": "photo.png"}), json!({"__value__": "pasted/photo.png"})]);
    let bringing: Vec<Job> =
        forms.iter().map(|form| workflow_of("studio-b", loads(form), vec![own.clone()])).collect();
    let mut refused: Vec<Job> =
        forms.iter().map(|form| workflow_of("studio-b", loads(form), Vec::new())).collect();
    for form in ["photo.png [output]", "photo.png [temp]", "argosy/x.1/0-photo.png"] {
        refused.push(workflow_of("studio-b", loads(&json!(form)), vec![own.clone()]));
    }
    // Another tenant's upload, another tenant's result, an unrelated bucket.
    let named = |bucket: &str, key: &str| {
        let artifact = schemas::ArtifactRef::new(bucket, key);
        Input { artifact, ..own.clone() }
    };
    for (bucket, key) in [
        ("ARTIFACTS", theirs.artifact.key.as_str()),
        ("ARTIFACTS", result.key.as_str()),
        ("ARTIFACTS", "secrets/photo.png"),
        ("OTHER", own.artifact.key.as_str()),
    ] {
        refused.push(workflow_of("studio-b", loads(&json!("photo.png")), vec![named(bucket, key)]));
    }
    // The tenant's own result is an input like any other.
    let again = workflow_of("studio-a", loads(&json!("photo.png")), vec![named("ARTIFACTS", &result.key)]);
    let all: Vec<Job> = bringing.iter().chain(&refused).chain([&again]).cloned().collect();
    fleet.stack.submit(&all).await?;
    let ids: Vec<_> = all.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    let view = |job: &Job| &tracker.jobs()[&job.id];
    for job in &bringing {
        let widths: Vec<_> = view(job).artifacts.iter().map(|made| made.width).collect();
        ensure!(widths == [Some(OWN_PX)], "{:?}: {:?}", job.body.workflow, view(job));
    }
    for job in &refused {
        let failure = view(job).failure.as_ref().with_context(|| format!("{:?}: it ran", job.body))?;
        let cure = ["body.inputs", "in/studio-b/"].iter().any(|word| failure.message.contains(word));
        ensure!(view(job).artifacts.is_empty() && cure, "{failure:?}");
    }
    let widths: Vec<_> = view(&again).artifacts.iter().map(|made| made.width).collect();
    ensure!(widths == [Some(THEIRS_PX)], "its own result: {:?}", view(&again));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_looks_like_a_file_runs_for_free() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.gemini = None;
    })
    .await?;
    let shipped: Value = serde_json::from_str(include_str!("../../../ops/workflows/sd15_txt2img.json"))
        .context("a workflow")?;
    let texts = [
        "bad hands, embedding:easynegative.safetensors",
        "a shop sign that reads www.sapo.pt",
        "shelves/of/weights.ckpt",
        "<lora:detail.safetensors:0.8>",
    ];
    let jobs: Vec<Job> = texts
        .iter()
        .map(|text| {
            let mut graph = shipped.clone();
            graph["6"]["inputs"]["text"] = json!(text);
            let mut job = workflow_of("default", graph, Vec::new());
            job.constraints.allow_paid = Some(true);
            job
        })
        .collect();
    fleet.stack.submit(&jobs).await?;
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    for (job, text) in jobs.iter().zip(texts) {
        let view = &tracker.jobs()[&job.id];
        ensure!(view.state == JobState::Completed, "{text}: {view:?}");
        ensure!(view.backend.as_ref().is_some_and(|backend| backend.as_str() == "local"), "{text}: {view:?}");
    }
    let invoice = fleet.stack.simulator("cloud")?.invoice().await?;
    ensure!(invoice.total_micro_usd == 0 && invoice.lines.is_empty(), "something was paid: {invoice:?}");
    Ok(())
}
