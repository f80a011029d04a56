//! The host's [`AttemptIo`]: claims, artifact store and progress on the real broker.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::worker::{SharedClaim, claim};
use schemas::topology::bucket;
use schemas::{
    Artifact, Assignment, AttemptId, DeliveredResult, Failure, FailureCode, Input, Phase, Tenant, WorkerId,
};

use crate::AttemptIo;
use crate::attempt::{Made, too_large};
use crate::nats::NatsPorts;
use crate::progress;
use crate::spool::Spooled;
use runtime::artifacts::{self, ArtifactError};
use runtime::clock;

/// One attempt's way to the broker.
pub(crate) struct HostIo {
    pub(crate) ports: NatsPorts,
    pub(crate) held: SharedClaim,
    /// When the job was submitted, Unix milliseconds.
    pub(crate) submitted_at_ms: i64,
}

#[async_trait]
impl AttemptIo for HostIo {
    async fn started(&self, attempt: AttemptId, provider_id: &str) -> Result<(), Failure> {
        claim::record_started(&self.ports, &self.held, attempt, provider_id).await
    }

    async fn still_ours(&self, attempt: AttemptId) -> bool {
        claim::is_still_ours(&self.ports, &self.held, attempt).await
    }

    async fn size(&self, input: &Input) -> Result<u64, Failure> {
        self.ports
            .shared
            .artifacts
            .size(&input.artifact)
            .await
            .map_err(|error| self.unloadable(input, &error))
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
        self.ports.shared.artifacts.get(&input.artifact).await.map_err(|error| self.unloadable(input, &error))
    }

    async fn delivered(&self, attempt: AttemptId, delivered: &DeliveredResult) {
        claim::record_delivered(&self.ports, &self.held, attempt, delivered).await;
    }

    async fn spool(
        &self,
        tenant: &Tenant,
        attempt: AttemptId,
        delivered: &DeliveredResult,
        files: &[Made],
    ) -> Option<WorkerId> {
        let worker = self.ports.shared.worker.clone();
        let delivered = DeliveredResult { spooled_by: Some(worker.clone()), ..delivered.clone() };
        let spooled = Spooled { tenant: Some(tenant.clone()), delivered, files: files.to_vec() };
        let shared = Arc::clone(&self.ports.shared);
        let written = tokio::task::spawn_blocking(move || shared.spool.write(attempt, &spooled)).await;
        match written.map_err(std::io::Error::other).flatten() {
            Ok(()) => Some(worker),
            Err(error) => {
                let dir = self.ports.shared.spool.dir().display();
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, path = %dir, "not spooled: kept in memory only");
                None
            }
        }
    }

    async fn save(
        &self,
        tenant: &Tenant,
        attempt: AttemptId,
        index: usize,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Artifact, Failure> {
        let artifact =
            artifacts::describe(bucket::ARTIFACTS, Some(tenant), attempt, index, media_type, &bytes);
        let stored = self.ports.shared.artifacts.put(&artifact.at, &bytes).await;
        stored.map_err(|error| match error {
            ArtifactError::TooLarge(bytes) => too_large(bytes),
            error => Failure::new(FailureCode::Transient, error.to_string()),
        })?;
        Ok(artifact)
    }

    fn progress(&self, assignment: &Assignment, phase: Phase, step: u32, steps: u32, detail: Option<&str>) {
        progress::publish(&self.ports.shared, assignment, phase, (step, steps), detail);
    }
}

impl HostIo {
    /// The failure of an attempt whose input cannot be had.
    fn unloadable(&self, input: &Input, error: &ArtifactError) -> Failure {
        match error {
            ArtifactError::Missing { bucket, key } => {
                let kept_ms = self.ports.shared.room.store_age_ms();
                let at = format!("{bucket}/{key}");
                policy::inputs::missing(&input.name, &at, self.submitted_at_ms, kept_ms, clock::now_ms())
            }
            ArtifactError::TooLarge(_) => Failure::invalid("body.inputs", error.to_string()),
            ArtifactError::Away { .. } | ArtifactError::Unreadable { .. } => {
                Failure::new(FailureCode::Transient, error.to_string())
            }
        }
    }
}
