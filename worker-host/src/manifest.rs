//! A long list of files becomes a file: an outcome is told in messages, which have a length.

use bytes::Bytes;
use protocol::worker::StoredFiles;
use schemas::{Artifact, Manifest, Outcome};

use crate::attempt::{Attempt, Made, with_short_id};

/// What a manifest is.
const MEDIA_TYPE: &str = "application/json";

/// An outcome that names no more files than a message can: of more, the whole list is stored beside them, under the next
/// index. One that cannot be stored ends the attempt as its files would.
pub(crate) async fn bounded(attempt: &Attempt, outcome: Outcome) -> Outcome {
    let outcome = with_short_id(outcome);
    if outcome.artifacts.len() <= Manifest::INLINE_MAX {
        return outcome;
    }
    let list = list_of(&outcome.artifacts);
    match attempt.save(outcome.artifacts.len(), MEDIA_TYPE, list).await {
        Ok(file) => {
            let StoredFiles { artifacts, manifest } = listed(outcome.artifacts, file);
            Outcome { artifacts, manifest, ..outcome }
        }
        Err(failure) => Outcome { artifacts: Vec::new(), failure: Some(failure), ..outcome },
    }
}

/// Stores all files of a spooled result, and where they are many their list, as an attempt that goes on would.
///
/// # Errors
/// The store's, of the first file that it does not take.
pub(crate) async fn store_all<E, F: Future<Output = Result<Artifact, E>>>(
    files: &[Made],
    store: impl Fn(usize, Made) -> F,
) -> Result<StoredFiles, E> {
    let mut artifacts = Vec::with_capacity(files.len());
    for (index, made) in files.iter().enumerate() {
        artifacts.push(store(index, made.clone()).await?);
    }
    if artifacts.len() <= Manifest::INLINE_MAX {
        return Ok(StoredFiles { artifacts, manifest: None });
    }
    let list = Made { media_type: MEDIA_TYPE.to_owned(), bytes: list_of(&artifacts) };
    let file = store(artifacts.len(), list).await?;
    Ok(listed(artifacts, file))
}

/// The whole list as it is stored.
fn list_of(artifacts: &[Artifact]) -> Bytes {
    serde_json::to_vec(artifacts).unwrap_or_default().into()
}

/// What a message names of files whose list is stored as `file`.
fn listed(mut artifacts: Vec<Artifact>, file: Artifact) -> StoredFiles {
    let (count, bytes) = (artifacts.len() as u64, artifacts.iter().map(|file| file.bytes).sum());
    artifacts.truncate(Manifest::INLINE_MAX);
    StoredFiles { artifacts, manifest: Some(Manifest { file, count, bytes }) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::samples;

    use super::*;
    use crate::conformance::MemoryIo;
    use crate::{AttemptIo, Stopper};

    fn attempt(io: &Arc<MemoryIo>) -> Attempt {
        let catalog = Arc::new(policy::defaults::catalog());
        let service = catalog.services[0].clone();
        let outside: Arc<dyn AttemptIo> = Arc::<MemoryIo>::clone(io);
        Attempt::new(samples::assignment(), catalog, service, None, outside, Stopper::default())
    }

    fn made(count: usize) -> Outcome {
        let one = samples::artifact();
        Outcome { artifacts: vec![Artifact { bytes: 7, ..one }; count], ..Outcome::default() }
    }

    #[tokio::test]
    async fn a_list_that_is_too_long_for_a_message_is_a_file_and_a_short_one_is_not() {
        let io = Arc::new(MemoryIo::default());
        let attempt = attempt(&io);
        for count in [0, 1, Manifest::INLINE_MAX] {
            assert_eq!(bounded(&attempt, made(count)).await, made(count));
        }
        assert!(io.files.lock().expect("no panic").is_empty());
        for count in [Manifest::INLINE_MAX + 1, 5_760] {
            let outcome = bounded(&attempt, made(count)).await;
            let manifest = outcome.manifest.expect("a manifest");
            assert_eq!((manifest.count, manifest.bytes), (count as u64, 7 * count as u64));
            assert_eq!(outcome.artifacts.len(), Manifest::INLINE_MAX);
            let files = io.files.lock().expect("no panic");
            let listed: Vec<Artifact> =
                serde_json::from_slice(&files[&manifest.file.at.key]).expect("a list");
            assert_eq!(listed, made(count).artifacts);
        }
    }

    #[tokio::test]
    async fn an_id_of_a_provider_that_is_too_long_gets_into_no_record_and_no_message() {
        for (length, fits) in [(1, true), (512, true), (513, false), (400_000, false)] {
            let io = Arc::new(MemoryIo::default());
            let attempt = attempt(&io);
            let id = "i".repeat(length);
            let started = attempt.started(&id).await;
            assert_eq!(started.is_ok(), fits, "{length}");
            let recorded = io.started.lock().expect("no panic").remove(&attempt.id());
            assert_eq!(recorded, fits.then(|| id.clone()));
            if let Err(failure) = started {
                assert_eq!(failure.code, schemas::FailureCode::OutcomeUnknown, "it may be paid");
                assert!(failure.message.contains(&format!("{length} bytes")), "{}", failure.message);
            }
            let outcome = Outcome { provider_id: Some(id.clone()), ..made(1) };
            let told = bounded(&attempt, outcome.clone()).await.provider_id.expect("an id");
            assert!(told.len() <= 512 && (told == id) == fits, "{length}");
            let kept = attempt.keep(Vec::new(), outcome).await.provider_id.expect("an id");
            assert_eq!(kept, told);
            let delivered = io.delivered.lock().expect("no panic").remove(&attempt.id());
            assert_eq!(delivered.expect("it is noted").provider_id, Some(told));
        }
    }

    #[tokio::test]
    async fn a_spooled_result_of_many_files_is_stored_as_an_attempt_stores_it() {
        let owner = samples::job().tenant;
        for count in [0, 1, Manifest::INLINE_MAX, Manifest::INLINE_MAX + 1, 2_500] {
            let io = MemoryIo::default();
            let id = samples::assignment().id();
            let (io, owner) = (&io, &owner);
            let store = |index, made: Made| async move {
                io.save(owner, id, index, &made.media_type, made.bytes).await
            };
            let file = Made { media_type: "image/png".to_owned(), bytes: Bytes::from_static(b"7 bytes") };
            let stored = store_all(&vec![file; count], store).await.expect("it is stored");
            assert_eq!(stored.artifacts.len(), count.min(Manifest::INLINE_MAX));
            let files = io.files.lock().expect("no panic");
            let Some(manifest) = stored.manifest else {
                assert!(count <= Manifest::INLINE_MAX && files.len() == count, "{count}");
                continue;
            };
            assert_eq!((manifest.count, manifest.bytes), (count as u64, 7 * count as u64));
            assert!(manifest.file.at.key.ends_with(&format!("/{count}.json")), "{}", manifest.file.at.key);
            let listed: Vec<Artifact> =
                serde_json::from_slice(&files[&manifest.file.at.key]).expect("a list");
            assert_eq!((listed.len(), &listed[..Manifest::INLINE_MAX]), (count, &stored.artifacts[..]));
        }
    }
}
