//! What jobs made, from the artifact store to files.

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use runtime::artifacts::{Artifacts, ending_of, sha256_hex};
use schemas::{Artifact, JobId};
use std::path::{Path, PathBuf};

use crate::follow::JobView;

/// The name of a downloaded file: `<job>-<index>.<ending>`.
#[must_use]
pub fn name_of(job: JobId, artifact: &Artifact) -> String {
    let last = artifact.at.key.rsplit('/').next().unwrap_or_default();
    let index = last.split('.').next().unwrap_or_default();
    format!("{job}-{index}.{}", ending_of(&artifact.media_type))
}

/// Fetches one artifact's bytes and holds them against its hash.
///
/// # Errors
/// It is not in the store, or not what was announced.
pub async fn fetch(jetstream: &jetstream::Context, artifact: &Artifact) -> anyhow::Result<bytes::Bytes> {
    let bytes = Artifacts::new(jetstream.clone()).get(&artifact.at).await?;
    let found = sha256_hex(&bytes);
    if found != artifact.sha256 {
        bail!("{} has sha256 {found}, announced was {}", artifact.at.key, artifact.sha256);
    }
    Ok(bytes)
}

/// All that a job made, as far as its view tells: a list that is too long for the event is a file.
///
/// # Errors
/// As [`fetch`]; the list cannot be read.
pub async fn all(jetstream: &jetstream::Context, view: &JobView) -> anyhow::Result<Vec<Artifact>> {
    let Some(manifest) = &view.manifest else { return Ok(view.artifacts.clone()) };
    let list = fetch(jetstream, &manifest.file).await.context("the list of the job's files")?;
    serde_json::from_slice(&list).context("the list of the job's files")
}

/// Downloads one artifact into a folder and returns the file.
///
/// # Errors
/// As [`fetch`]; the folder cannot be written.
pub async fn download(
    jetstream: &jetstream::Context,
    job: JobId,
    artifact: &Artifact,
    dir: &Path,
) -> anyhow::Result<PathBuf> {
    let bytes = fetch(jetstream, artifact).await?;
    let path = dir.join(name_of(job, artifact));
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&path, &bytes))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
