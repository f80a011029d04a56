//! `argosy submit` on a real fleet: a workflow is filled, a series is different pictures, and what is refused was
//! never published.

use anyhow::{Context as _, ensure};
use runtime::artifacts::sha256_hex;
use schemas::JobId;
use schemas::topology::stream;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tests::fleet::{LIMIT, TestFleet, root};

const SD15: &str = "ops/workflows/sd15_txt2img.json";

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(fleet.stack.options().bin_dir.join("argosy"));
    command.args(["--json", "submit"]).args(arguments).current_dir(root());
    command.stdin(std::process::Stdio::null());
    Ok(command.env("ARGOSY_NATS__URL", fleet.stack.nats_url()).output().await?)
}

/// One picture of a series.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    seed: u64,
    size: (u64, u64),
    sha256: String,
}

/// Submits, waits, and reads what came of each job, by seed.
async fn made(fleet: &TestFleet, arguments: &[&str], out: &Path) -> anyhow::Result<Vec<Made>> {
    let folder = out.display().to_string();
    let output = argosy(fleet, &[arguments, &["--wait", "--out", &folder]].concat()).await?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (submitted, ended): (Vec<&Value>, Vec<&Value>) = lines
        .iter()
        .filter(|line| line["job"].is_string() && line["state"].is_string())
        .partition(|line| line["state"] == "submitted");
    let mut all = Vec::new();
    for job in submitted {
        let end = ended.iter().find(|end| end["job"] == job["job"] && end["files"].is_array());
        let end = end.with_context(|| format!("{job} did not end: {text}"))?;
        let file = end["files"][0].as_str().with_context(|| format!("no file: {end}"))?;
        let artifact = &end["artifacts"][0];
        all.push(Made {
            seed: job["seed"].as_u64().with_context(|| format!("no seed: {job}"))?,
            size: (artifact["width"].as_u64().unwrap_or(0), artifact["height"].as_u64().unwrap_or(0)),
            sha256: sha256_hex(&std::fs::read(file)?),
        });
    }
    all.sort_by_key(|made| made.seed);
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_of_a_workflow_is_different_pictures_of_the_prompt() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let out = tempfile::tempdir()?;
    let words = ["--workflow", SD15, "a red hat", "--seed", "5", "--steps", "4", "--width", "256"];
    let series = made(&fleet, &[&words[..], &["--count", "3"]].concat(), out.path()).await?;
    ensure!(series.iter().map(|made| made.seed).eq(5..8), "{series:?}");
    ensure!(series.iter().all(|made| made.size == (256, 512)), "{series:?}");
    let mut hashes: Vec<&String> = series.iter().map(|made| &made.sha256).collect();
    hashes.sort_unstable();
    hashes.dedup();
    ensure!(hashes.len() == 3, "the same picture more than once: {series:?}");
    // The same seed is the same picture, another prompt is another one: both have arrived in the workflow.
    let again = made(&fleet, &words, out.path()).await?;
    ensure!(again.len() == 1 && again[0] == series[0], "{again:?} {series:?}");
    let other =
        made(&fleet, &["--workflow", SD15, "a blue hat", "--seed", "5", "--width", "256"], out.path())
            .await?;
    ensure!(other[0].seed == 5 && other[0].sha256 != series[0].sha256, "{other:?} {series:?}");
    // A prompt is counted as well.
    let prompts =
        made(&fleet, &["a red hat", "--model", "sd15", "--seed", "9", "--count", "2"], out.path()).await?;
    ensure!(prompts.len() == 2 && prompts[0].sha256 != prompts[1].sha256, "{prompts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_was_never_published() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let published = async || -> anyhow::Result<u64> {
        let mut jobs = fleet.stack.broker.jetstream.get_stream(stream::JOBS).await?;
        Ok(jobs.info().await?.state.last_sequence)
    };
    let before = published().await?;
    let refusals: [(&[&str], i32, &str); 4] = [
        (&["--workflow", "ops/workflows/flux_txt2img.json", "--negative", "dogs"], 2, "--negative"),
        (&["--workflow", "ops/workflows/img2img.json", "--height", "640"], 2, "--height"),
        // Found with the fleet's catalog and limits, so only after connecting.
        (&["--workflow", SD15, "--model", "flux"], 2, "--model flux"),
        (&["--workflow", SD15, "--width", "100000"], 1, "body.width"),
    ];
    for (arguments, code, text) in refusals {
        let output = argosy(&fleet, arguments).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code) && said.contains(text), "{arguments:?}: {output:?}");
    }
    ensure!(published().await? == before, "something was published");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_with_a_key_twice_is_one_series() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..2 {
        let output = argosy(&fleet, &["--workflow", SD15, "--key", "order 7", "--count", "2"]).await?;
        ensure!(output.status.success(), "{output:?}");
        for line in String::from_utf8(output.stdout)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            ids.push(line["job"].as_str().context("an id")?.parse()?);
        }
    }
    ensure!(ids.len() == 4, "{ids:?}");
    fleet.stack.wait_ended(&ids, LIMIT).await?;
    let mut posts = 0;
    for simulator in &fleet.stack.simulators {
        posts += simulator.stats().await?["posts"].as_u64().unwrap_or_default();
    }
    ensure!(posts == 2, "two jobs of one series ran {posts} times");
    Ok(())
}
