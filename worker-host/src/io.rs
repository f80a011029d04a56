//! The host's [`AttemptIo`]: claims, artifact store and progress on the real broker.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::topology::bucket;
use schemas::{
    Artifact, Assignment, AttemptId, AttemptRecord, AttemptState, DeliveredResult, Failure, FailureCode,
    Input, Phase, Progress, SCHEMA_VERSION, WorkerId, codec, subjects,
};
use tokio::sync::Mutex;

use crate::AttemptIo;
use crate::attempt::{Made, too_large};
use crate::claim::Held;
use crate::host::Shared;
use crate::machine;
use crate::spool::Spooled;
use runtime::artifacts::{self, ArtifactError};
use runtime::clock;

/// One attempt's way to the broker.
pub(crate) struct HostIo {
    pub(crate) shared: Arc<Shared>,
    /// The claim that guards the attempt; none for free work.
    pub(crate) held: Arc<Mutex<Option<Held>>>,
}

#[async_trait]
impl AttemptIo for HostIo {
    async fn started(&self, attempt: AttemptId, provider_id: &str) -> Result<(), Failure> {
        let mut held = self.held.lock().await;
        let Some(claim) = held.as_mut() else { return Ok(()) };
        let record = AttemptRecord {
            state: AttemptState::Started,
            started_at_ms: Some(clock::now_ms()),
            provider_id: Some(provider_id.to_owned()),
            ..AttemptRecord::clone(&claim.record)
        };
        let Err(error) = self.shared.claims.write_patiently(claim, record).await else { return Ok(()) };
        // The provider's own report was quicker, or only the broker's answer was lost: it is recorded.
        if let Ok(Some(current)) = self.shared.claims.read(attempt).await
            && current.record.provider_id.as_deref() == Some(provider_id)
        {
            *claim = current;
            return Ok(());
        }
        tracing::error!(job = %attempt.job, attempt = attempt.attempt, provider_id, %error, "the provider's id could not be recorded");
        let message = format!("started at the provider as {provider_id}, which could not be recorded");
        Err(Failure::new(FailureCode::OutcomeUnknown, message))
    }

    async fn still_ours(&self, attempt: AttemptId) -> bool {
        let mut held = self.held.lock().await;
        let Some(claim) = held.as_mut() else { return true };
        let now_ms = clock::now_ms();
        if machine::is_young(&claim.record, now_ms) {
            return true;
        }
        // Older than a moment: say again that we are at it, which fails if somebody took the claim over.
        let record = AttemptRecord { claimed_at_ms: now_ms, ..AttemptRecord::clone(&claim.record) };
        let renewed = self.shared.claims.write(claim, record).await;
        if let Err(error) = &renewed {
            tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "not started: the claim could not be renewed");
        }
        renewed.is_ok()
    }

    async fn size(&self, input: &Input) -> Result<u64, Failure> {
        self.shared.artifacts.size(&input.artifact).await.map_err(|error| unloadable(input, &error))
    }

    async fn load(&self, input: &Input) -> Result<Bytes, Failure> {
        // The router has looked at the key as well, by the job's tenant; this holds whoever published the assignment.
        if input.artifact.bucket != bucket::ARTIFACTS {
            let words = format!(
                "input `{}` is in bucket {}, which holds no jobs' files",
                input.name, input.artifact.bucket
            );
            return Err(Failure::invalid("body.inputs", words));
        }
        self.shared.artifacts.get(&input.artifact).await.map_err(|error| unloadable(input, &error))
    }

    async fn delivered(&self, attempt: AttemptId, delivered: &DeliveredResult) {
        let mut held = self.held.lock().await;
        let Some(claim) = held.as_mut() else { return };
        let record = delivered_record(&claim.record, delivered);
        // Not written, it is still in the spool or at the provider: a later delivery finds out.
        if let Err(error) = self.shared.claims.write_patiently(claim, record).await {
            tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "the claim does not say what was delivered");
        }
    }

    async fn spool(
        &self,
        attempt: AttemptId,
        delivered: &DeliveredResult,
        files: &[Made],
    ) -> Option<WorkerId> {
        let worker = self.shared.worker.clone();
        let delivered = DeliveredResult { spooled_by: Some(worker.clone()), ..delivered.clone() };
        let spooled = Spooled { delivered, files: files.to_vec() };
        let shared = Arc::clone(&self.shared);
        let written = tokio::task::spawn_blocking(move || shared.spool.write(attempt, &spooled)).await;
        match written.map_err(std::io::Error::other).flatten() {
            Ok(()) => Some(worker),
            Err(error) => {
                let dir = self.shared.spool.dir().display();
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, path = %dir, "not spooled: kept in memory only");
                None
            }
        }
    }

    async fn save(
        &self,
        attempt: AttemptId,
        index: usize,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Artifact, Failure> {
        let artifact = artifacts::describe(bucket::ARTIFACTS, attempt, index, media_type, &bytes);
        let stored = self.shared.artifacts.put(&artifact.at, &bytes).await;
        stored.map_err(|error| match error {
            ArtifactError::TooLarge(bytes) => too_large(bytes),
            error => Failure::new(FailureCode::Transient, error.to_string()),
        })?;
        Ok(artifact)
    }

    fn progress(&self, assignment: &Assignment, phase: Phase, step: u32, steps: u32, detail: Option<&str>) {
        let progress = Progress {
            schema_version: SCHEMA_VERSION,
            time_ms: clock::now_ms(),
            job: assignment.job.id,
            attempt: assignment.attempt,
            backend: assignment.backend.clone(),
            worker: self.shared.worker.clone(),
            phase,
            step,
            steps,
            detail: detail.map(str::to_owned),
        };
        let subject = subjects::progress(&assignment.job.tenant, assignment.job.id);
        let client = self.shared.broker.client.clone();
        // Publishing only queues; when the queue is full the report is dropped, it is not a fact.
        let publish = async move { client.publish(subject, codec::encode(&progress).into()).await };
        let _ = futures::FutureExt::now_or_never(publish);
    }
}

/// The failure of an attempt whose input cannot be had.
fn unloadable(input: &Input, error: &ArtifactError) -> Failure {
    match error {
        ArtifactError::Missing { .. } => Failure::invalid(
            "body.inputs",
            format!("input `{}`: {error}; store the file before publishing the job", input.name),
        ),
        ArtifactError::TooLarge(_) => Failure::invalid("body.inputs", error.to_string()),
        ArtifactError::Store(_) => Failure::new(FailureCode::Transient, error.to_string()),
    }
}

/// A claim that says what was delivered. Its work began when it was claimed where nothing tells better.
pub(crate) fn delivered_record(record: &AttemptRecord, delivered: &DeliveredResult) -> AttemptRecord {
    AttemptRecord {
        started_at_ms: record.started_at_ms.or(Some(record.claimed_at_ms)),
        delivered: Some(delivered.clone()),
        ..record.clone()
    }
}
