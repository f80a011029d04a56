//! Submits a prompt, follows the job until it ends, and saves its pictures in the current folder:
//!
//! `cargo run -p example-rust -- nats://127.0.0.1:4222 "a lighthouse at dusk"`

use anyhow::{Context as _, bail};
use client::Client;
use client::schemas::{Body, JobState};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, prompt] = arguments.as_slice() else { bail!("usage: example-rust URL PROMPT") };
    let client = Client::connect(url, "example").await?;

    let body = Body { prompt: Some(prompt.clone()), ..Body::default() };
    let job = client::new_job("default".parse()?, body);
    client.submit(&job).await?; // From here on the job is never lost.

    let mut following = client.follow(job.id).await?;
    while let Some(view) = following.next().await? {
        println!("{} is {}", job.id, view.state.as_str());
    }
    let end = following.view();
    if end.state != JobState::Completed {
        bail!("{:?}", end.failure.as_ref().context("the job did not complete")?);
    }
    for artifact in &end.artifacts {
        let name = client::files::name_of(job.id, artifact);
        std::fs::write(&name, client.fetch(artifact).await?)?;
        println!("{name}");
    }
    Ok(())
}
