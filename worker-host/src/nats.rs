//! What all processes' steps need, over the real broker.

use std::sync::Arc;
use std::time::Duration;

use protocol::{
    ClaimError, ClaimStore, Claimed, Held, Note, PortError, Ports, PublishError, Published, Record,
};
use runtime::metrics;
use schemas::{AttemptId, AttemptRecord, JobId, Tenant};

use crate::Backend;
use crate::context::Shared;
use runtime::clock;
use runtime::fleet_config::FleetConfig;
use runtime::publish::Message;

/// The ports of one worker. `worker_ports` has those that only workers need.
#[derive(Clone)]
pub(crate) struct NatsPorts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) backend: Arc<dyn Backend>,
}

impl NatsPorts {
    pub(crate) fn new(shared: &Arc<Shared>, backend: &Arc<dyn Backend>) -> Self {
        Self { shared: Arc::clone(shared), backend: Arc::clone(backend) }
    }
}

impl Ports for NatsPorts {
    type Message = Message;

    fn now_ms(&self) -> i64 {
        clock::now_ms()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn is_stopping(&self) -> bool {
        self.shared.lifecycle.soft.is_cancelled()
    }

    async fn stopping(&self) {
        self.shared.lifecycle.soft.cancelled().await;
    }

    fn is_cancelled(&self, tenant: &Tenant, job: JobId) -> bool {
        self.shared.cancels.contains(tenant, job)
    }

    fn config(&self) -> FleetConfig {
        self.shared.config.borrow().clone()
    }

    fn message(&self, record: Record<'_>) -> Message {
        Message::record(record)
    }

    fn publish(&self, message: &Message) -> impl Future<Output = Result<Published, PublishError>> {
        self.shared.broker.publisher.publish(message)
    }

    fn create_claim(&self, record: AttemptRecord) -> impl Future<Output = Result<Claimed, ClaimError>> {
        self.shared.claims.create(record)
    }

    fn read_claim(&self, attempt: AttemptId) -> impl Future<Output = Result<Option<Held>, ClaimError>> {
        self.shared.claims.read(attempt)
    }

    fn write_claim(
        &self,
        held: &mut Held,
        record: AttemptRecord,
    ) -> impl Future<Output = Result<(), ClaimError>> {
        self.shared.claims.write(held, record)
    }

    fn claim_store(&self) -> impl Future<Output = Result<ClaimStore, PortError>> {
        self.shared.claims.store()
    }

    fn note(&self, note: Note<'_>) {
        match note {
            Note::Unfunded => metrics::WORKER_UNFUNDED.increment(1),
            Note::ClaimsFull => metrics::CLAIMS_REFUSED.increment(1),
            _ => {}
        }
    }
}
