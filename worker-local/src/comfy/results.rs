//! From a finished job to its artifacts, or to why there are none.

use runtime::media_type;
use schemas::{Artifact, Failure, FailureCode, Phase};
use worker_host::Attempt;

use crate::comfy::client::Client;
use crate::comfy::graph::Source;
use crate::comfy::outputs::OutputFile;
use crate::comfy::wire::{End, HistoryEntry};
use crate::comfy::{errors, outputs};

/// Fetches what a finished job made, and stores it.
///
/// # Errors
/// The failure to end the attempt with: why there is nothing, or why it was not had.
pub async fn collect(
    client: &Client,
    attempt: &Attempt,
    entry: &HistoryEntry,
    source: Source,
) -> Result<Vec<Artifact>, Failure> {
    let (files, texts) = (outputs::files(&entry.outputs), outputs::texts(&entry.outputs));
    let is_empty = files.is_empty() && texts.is_empty();
    match entry.end() {
        End::Success if is_empty => {
            let message = "the workflow ran and saved no file: add a node that saves, such as SaveImage";
            Err(Failure::invalid("body.workflow", message))
        }
        End::Unclear if is_empty => {
            Err(Failure::new(FailureCode::Transient, "the job ended without saying how"))
        }
        End::Success | End::Unclear => download(client, attempt, &files, texts).await,
        End::Interrupted => {
            Err(Failure::new(FailureCode::Transient, "somebody interrupted the job at the server"))
        }
        End::Error(error) => {
            let failure = errors::raised(&error, source);
            if failure.code == FailureCode::OutOfMemory
                && let Err(error) = client.free().await
            {
                tracing::warn!(%error, "the GPU's memory could not be freed");
            }
            Err(failure)
        }
    }
}

async fn download(
    client: &Client,
    attempt: &Attempt,
    files: &[OutputFile],
    texts: Vec<String>,
) -> Result<Vec<Artifact>, Failure> {
    let total = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let mut artifacts = Vec::with_capacity(files.len());
    for (step, (index, file)) in (0_u32..).zip(files.iter().enumerate()) {
        attempt.progress(Phase::Downloading, step, total, Some(&file.filename));
        let bytes = client.view(file).await.map_err(|error| errors::not_given(&file.filename, &error))?;
        if bytes.is_empty() {
            return Err(errors::is_empty(&file.filename));
        }
        artifacts.push(attempt.save(index, media_type::of_file(&file.filename, &bytes), bytes).await?);
    }
    for (index, text) in (files.len()..).zip(texts) {
        artifacts.push(attempt.save(index, "text/plain", text.into()).await?);
    }
    Ok(artifacts)
}
