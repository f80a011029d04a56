//! What only a worker's steps need, over the real broker, disk and provider.

use std::sync::Arc;

use async_nats::HeaderValue;
use async_nats::jetstream::{AckKind, Message as Delivered};
use protocol::worker::{Found, NoRoom, Preparation, Ran, SpoolPorts, StoredFiles, Unreadable, WorkerPorts};
use protocol::{Answer, PortError};
use schemas::codec::{self, CONTENT_TYPE};
use schemas::topology::bucket;
use schemas::{Assignment, AttemptId, AttemptRecord, Class, FailureCode, JobId, Outcome, Phase, WorkerId};

use crate::attempt::{Attempt, Made, Stopper};
use crate::io::HostIo;
use crate::manifest;
use crate::nats::NatsPorts;
use crate::progress;
use crate::room::{Reserved, Waiting};
use crate::spool::Spooled;
use runtime::artifacts;
use runtime::clock;

impl SpoolPorts for NatsPorts {
    type Spooled = Spooled;

    fn spooled_attempts(&self) -> Vec<AttemptId> {
        self.shared.spool.attempts()
    }

    async fn take_spooled(&self, attempt: AttemptId) -> Option<Spooled> {
        let shared = Arc::clone(&self.shared);
        let taken = tokio::task::spawn_blocking(move || shared.spool.take(attempt)).await;
        match taken.map_err(std::io::Error::other).flatten() {
            Ok(spooled) => spooled,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                tracing::error!(job = %attempt.job, attempt = attempt.attempt, %error, "a spooled result is damaged and thrown away");
                self.shared.spool.discard(attempt);
                None
            }
            Err(error) => {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, %error, "a spooled result cannot be read now");
                None
            }
        }
    }

    async fn store_spooled(&self, attempt: AttemptId, spooled: &Spooled) -> Result<StoredFiles, PortError> {
        let tenant = spooled.tenant.as_ref();
        let store = |index, Made { media_type, bytes }| async move {
            let artifact =
                artifacts::describe(bucket::ARTIFACTS, tenant, attempt, index, &media_type, &bytes);
            match self.shared.artifacts.put(&artifact.at, &bytes).await {
                Ok(()) => Ok(artifact),
                Err(error) => Err(PortError::Refused { what: "the artifact store", source: error.into() }),
            }
        };
        manifest::store_all(&spooled.files, store).await
    }

    fn release_spooled(&self, attempt: AttemptId) {
        self.shared.spool.release(attempt);
        self.shared.kept_claims.release(attempt);
    }

    fn remove_spooled(&self, attempt: AttemptId) {
        self.shared.spool.remove(attempt);
    }

    async fn keep_claim(&self, record: &AttemptRecord) {
        let (shared, kept) = (Arc::clone(&self.shared), record.clone());
        let written = tokio::task::spawn_blocking(move || {
            shared.spool.make_dir()?;
            shared.kept_claims.write(&kept)
        });
        if let Err(error) = written.await.map_err(std::io::Error::other).flatten() {
            let dir = self.shared.spool.dir().display();
            tracing::error!(job = %record.job, attempt = record.attempt, %error, path = %dir, "the provider's id is in memory only");
        }
    }

    fn kept_claims(&self) -> Vec<AttemptRecord> {
        self.shared.kept_claims.all()
    }

    fn forget_claim(&self, attempt: AttemptId) {
        self.shared.kept_claims.remove(attempt);
    }
}

impl WorkerPorts for NatsPorts {
    type Delivered = Delivered;
    type Attempt = Attempt;
    type Room = Reserved;
    type Waiting = Waiting;

    fn worker(&self) -> &WorkerId {
        &self.shared.worker
    }

    fn is_simulated(&self) -> bool {
        self.shared.simulated
    }

    async fn hard_stopping(&self) {
        self.shared.lifecycle.hard.cancelled().await;
    }

    fn open(&self, delivered: &mut Delivered) -> Result<Arc<Assignment>, Box<Unreadable>> {
        let header = delivered.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
        let content_type = header.map(HeaderValue::as_str);
        let assignment = codec::decode(content_type, &delivered.payload).map_err(|error| {
            Box::new(Unreadable {
                error,
                subject: delivered.subject.to_string(),
                content_type: content_type.map(str::to_owned),
                payload: delivered.payload.to_vec(),
                sequence: sequence(delivered),
            })
        })?;
        // Not needed again: what is in hand is small.
        delivered.message.headers = None;
        Ok(Arc::new(assignment))
    }

    fn stored_at_ms(&self, delivered: &Delivered) -> i64 {
        // A message of a stream always says it; one that does not is taken for the oldest.
        delivered.info().map_or(0, |info| clock::ms_of_ns(info.published.unix_timestamp_nanos()))
    }

    fn deliveries(&self, delivered: &Delivered) -> i64 {
        delivered.info().map_or(1, |info| info.delivered)
    }

    async fn answer(&self, delivered: &Delivered, answer: Answer) -> Result<(), PortError> {
        let answered = match answer {
            Answer::Acknowledge => delivered.ack().await,
            Answer::HandBack(rest) => delivered.ack_with(AckKind::Nak(rest)).await,
            Answer::Extend => delivered.ack_with(AckKind::Progress).await,
        };
        answered.map_err(unanswered)
    }

    async fn acknowledge_confirmed(&self, delivered: &Delivered) -> Result<(), PortError> {
        delivered.double_ack().await.map_err(unanswered)
    }

    async fn acknowledge_late(&self, delivered: &Delivered) {
        let Some(reply) = delivered.reply.clone() else { return };
        self.shared.broker.acknowledger.acknowledge(sequence(delivered), reply).await;
    }

    fn bills(&self) -> bool {
        self.backend.is_paid()
    }

    fn reports(&self, assignment: &Assignment) -> bool {
        let catalog = Arc::clone(&self.shared.config.borrow().catalog);
        let service = catalog.service(&assignment.backend, &assignment.class);
        service.is_some_and(|service| self.report_url(assignment, service).is_some())
    }

    fn attempt(&self, preparation: Preparation<'_>) -> Attempt {
        let Preparation { assignment, catalog, service, resume_id, delivered, held } = preparation;
        let report_url = self.report_url(assignment, &service);
        let kept_ms = self.backend.kept_ms(&service);
        let io = Arc::new(HostIo { ports: self.clone(), held, submitted_at_ms: assignment.submitted_at_ms });
        let (assignment, stopper) = (Arc::clone(assignment), Stopper::default());
        let learned_ms = self.shared.learned(&assignment.class);
        let attempt = Attempt::new(assignment, catalog, service, resume_id, io, stopper);
        attempt.reporting_to(report_url).expecting(learned_ms).keeping(kept_ms, delivered)
    }

    fn register(&self, attempt: &Attempt) {
        self.shared.stoppers.running(&attempt.assignment.job, attempt.stopper());
        self.shared.runs(&attempt.assignment);
        self.shared.figures.attempts_running.increment(1.0);
    }

    fn unregister(&self, job: JobId) {
        self.shared.stoppers.ended(job);
        self.shared.ran(job);
        self.shared.figures.attempts_running.decrement(1.0);
    }

    async fn run(&self, attempt: &Attempt) -> Outcome {
        manifest::bounded(attempt, self.backend.run(attempt).await).await
    }

    async fn find(&self, attempt: &Attempt) -> Found {
        self.backend.find(attempt).await
    }

    async fn abandon(&self, attempt: &Attempt) {
        self.backend.abandon(attempt).await;
    }

    fn progress(&self, assignment: &Assignment, phase: Phase, detail: Option<&str>) {
        progress::publish(&self.shared, assignment, phase, (0, 0), detail);
    }

    fn learn(&self, ran: Ran<'_>) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one run")]
        self.shared
            .figures
            .run_seconds(ran.failure.map(|failure| failure.code))
            .record(ran.run_ms as f64 / 1000.0);
        self.shared.note_for_server(ran.job, ran.failure);
        match ran.failure.map(|failure| failure.code) {
            None => {
                self.shared.room.learn(ran.class, ran.stored_bytes);
                self.shared.learn(ran.class, ran.run_ms);
            }
            Some(FailureCode::BackendDown | FailureCode::ProviderStopped | FailureCode::QuotaExhausted) => {
                self.shared.discover_now.notify_one();
            }
            Some(_) => {}
        }
    }

    fn expected_bytes(&self, class: &Class) -> u64 {
        let catalog = Arc::clone(&self.shared.config.borrow().catalog);
        self.shared.room.expected(class, &catalog)
    }

    fn reserve_room(&self, bytes: u64) -> Result<Reserved, NoRoom> {
        self.shared.room.reserve(bytes)
    }

    fn wait_for_room(&self, bytes: u64) -> Waiting {
        self.shared.room.wait(bytes)
    }

    fn room_changed(&self, waiting: &mut Waiting) -> impl Future<Output = ()> {
        waiting.changed()
    }
}

impl NatsPorts {
    /// Where the provider may report the attempt, if it can.
    fn report_url(&self, assignment: &Assignment, service: &schemas::Service) -> Option<String> {
        let reports = assignment.is_paid() && self.backend.reports(service);
        let address = self.shared.reports.as_ref().filter(|_| reports)?;
        Some(address.of(assignment.id()))
    }
}

fn sequence(delivered: &Delivered) -> u64 {
    delivered.info().map_or(0, |info| info.stream_sequence)
}

fn unanswered(source: async_nats::Error) -> PortError {
    PortError::Away { what: "acknowledging", source }
}
