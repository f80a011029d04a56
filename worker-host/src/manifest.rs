//! A long list of files becomes a file: an outcome is told in messages, which have a length.

use bytes::Bytes;
use schemas::{Manifest, Outcome};

use crate::Attempt;

/// What a manifest is.
const MEDIA_TYPE: &str = "application/json";

/// An outcome that names no more files than a message can: of more, the whole list is stored beside them, under the next
/// index. One that cannot be stored ends the attempt as its files would.
pub(crate) async fn bounded(attempt: &Attempt, outcome: Outcome) -> Outcome {
    if outcome.artifacts.len() <= Manifest::INLINE_MAX {
        return outcome;
    }
    let (count, bytes) = (outcome.artifacts.len(), outcome.artifacts.iter().map(|file| file.bytes).sum());
    let list = serde_json::to_vec(&outcome.artifacts).unwrap_or_default();
    match attempt.save(count, MEDIA_TYPE, Bytes::from(list)).await {
        Ok(file) => {
            let mut outcome = outcome;
            outcome.artifacts.truncate(Manifest::INLINE_MAX);
            Outcome { manifest: Some(Manifest { file, count: count as u64, bytes }), ..outcome }
        }
        Err(failure) => Outcome { artifacts: Vec::new(), failure: Some(failure), ..outcome },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::{Artifact, samples};

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
}
