//! The Rust example, which uses no crate of ours but `client`: it submits, follows and fetches on a real fleet.

use anyhow::{Context as _, ensure};
use client::{Client, new_job};
use schemas::JobState;
use tests::fleet::{LIMIT, TestFleet, root};
use tests::jobs::{prompt, tenant};

/// The example is to be read at a glance.
const EXAMPLE_MAX_LINES: usize = 40;

async fn free_fleet() -> anyhow::Result<TestFleet> {
    TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_service_gets_its_picture() -> anyhow::Result<()> {
    let lines = std::fs::read_to_string(root().join("examples/rust/src/main.rs"))?.lines().count();
    ensure!(lines < EXAMPLE_MAX_LINES, "the example has {lines} lines");
    let fleet = free_fleet().await?;
    let out = tempfile::tempdir()?;
    let run = tokio::process::Command::new(fleet.stack.options().bin_dir.join("example-rust"))
        .args([&fleet.stack.nats_url(), "a harbour in the morning"])
        .current_dir(out.path())
        .output()
        .await
        .context("run `cargo build --workspace --bins` first")?;
    ensure!(run.status.success(), "{run:?}");
    let said = String::from_utf8(run.stdout)?;
    let name = said.lines().last().context("it prints the file last")?;
    ensure!(said.contains(" is completed\n") && name.ends_with(".png"), "{said}");
    ensure!(std::fs::read(out.path().join(name))?.starts_with(b"\x89PNG"), "{name} is no PNG");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_repeat_follows_the_first() -> anyhow::Result<()> {
    let fleet = free_fleet().await?;
    let client = Client::connect(&fleet.stack.nats_url(), "test").await?;
    let mut first = new_job(tenant("default"), prompt("a gate").body);
    first.idempotency_key = Some("order-1042".to_owned());
    let mut repeat = new_job(first.tenant.clone(), first.body.clone());
    repeat.idempotency_key.clone_from(&first.idempotency_key);
    client.submit(&first).await?;
    let end = tokio::time::timeout(LIMIT, client.follow(first.id).await?.end()).await??;
    ensure!(end.state == JobState::Completed && end.same_as.is_none(), "{end:?}");
    client.submit(&repeat).await?;
    let same = tokio::time::timeout(LIMIT, client.follow(repeat.id).await?.end()).await??;
    ensure!(same == end, "{same:?} is not {end:?}");
    Ok(())
}
