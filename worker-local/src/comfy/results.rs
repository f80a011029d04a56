//! From a finished job to its artifacts, or to why there are none.

use runtime::{media_type, png_text};
use schemas::{Artifact, AttemptId, Failure, FailureCode, Phase, SavedAs, workflow};
use serde_json::Value;
use worker_host::Attempt;

use crate::comfy::client::Client;
use crate::comfy::graph::{self, Source};
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
    let keep_previews = attempt.assignment.job.body.keep_previews;
    let (files, texts) = (outputs::files(&entry.outputs, keep_previews), outputs::texts(&entry.outputs));
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

/// What a job's workflow calls a file: the folder of the attempt is ours.
fn saved_as(id: AttemptId, workflow: Option<&Value>, file: &OutputFile) -> SavedAs {
    let folder = file.subfolder.replace('\\', "/");
    let below = folder.strip_prefix(&graph::prefix(id)).map(|below| below.trim_start_matches('/'));
    let saved = SavedAs {
        node: Some(file.node.clone()),
        file_name: file.filename.clone(),
        subfolder: below.unwrap_or(&folder).to_owned(),
        prefix: workflow.and_then(|graph| workflow::asked_prefix(graph, &file.node)).map(str::to_owned),
        preview: file.is_preview(),
    };
    saved.bounded()
}

async fn download(
    client: &Client,
    attempt: &Attempt,
    files: &[OutputFile],
    texts: Vec<String>,
) -> Result<Vec<Artifact>, Failure> {
    let total = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let workflow = &attempt.assignment.job.body.workflow;
    let mut artifacts = Vec::with_capacity(files.len());
    for (step, (index, file)) in (0_u32..).zip(files.iter().enumerate()) {
        attempt.progress(Phase::Downloading, step, total, Some(&file.filename));
        let bytes = client.view(file).await.map_err(|error| errors::not_given(&file.filename, &error))?;
        if bytes.is_empty() {
            return Err(errors::is_empty(&file.filename));
        }
        let bytes = png_text::as_asked(&attempt.assignment.job.body, bytes);
        let media_type = media_type::of_file(&file.filename, &bytes);
        let saved = attempt.save(index, media_type, bytes).await?;
        artifacts.push(Artifact {
            saved: Some(Box::new(saved_as(attempt.id(), workflow.as_ref(), file))),
            ..saved
        });
    }
    for (index, text) in (files.len()..).zip(texts) {
        artifacts.push(attempt.save(index, "text/plain", text.into()).await?);
    }
    Ok(artifacts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_called_what_its_workflow_calls_it() {
        let id = schemas::samples::assignment().id();
        let asked = json!({
            "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "sea/boat"}},
            "12": {"class_type": "SaveImage", "inputs": {"filename_prefix": ["4", 0]}},
        });
        let saved = |node: &str, subfolder: &str| {
            let file = OutputFile {
                node: node.to_owned(),
                filename: "boat_00001_.png".to_owned(),
                subfolder: subfolder.to_owned(),
                kind: "output".to_owned(),
            };
            let saved = saved_as(id, Some(&asked), &file);
            assert_eq!((saved.node.as_deref(), saved.file_name.as_str()), (Some(node), "boat_00001_.png"));
            (saved.subfolder, saved.prefix)
        };
        let own = graph::prefix(id);
        let sea = Some("sea/boat".to_owned());
        assert_eq!(saved("9", &format!("{own}/sea")), ("sea".to_owned(), sea.clone()));
        assert_eq!(saved("9", &format!("{own}\\sea").replace('/', "\\")), ("sea".to_owned(), sea));
        assert_eq!(saved("12", &own), (String::new(), None));
        assert_eq!(saved("7", "of/its/own"), ("of/its/own".to_owned(), None));
    }
}
