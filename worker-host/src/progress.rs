//! Progress reports: plain messages, which may be lost.

use schemas::text::cut;
use schemas::{Assignment, Phase, Progress, SCHEMA_VERSION, codec, subjects};

use crate::context::Shared;
use runtime::clock;

/// How much is said: a file's name or a node's class may be long.
const DETAIL_MAX_BYTES: usize = 200;

/// Publishes how far an attempt is: the step and how many there are.
pub(crate) fn publish(
    shared: &Shared,
    assignment: &Assignment,
    phase: Phase,
    (step, steps): (u32, u32),
    detail: Option<&str>,
) {
    let progress = Progress {
        schema_version: SCHEMA_VERSION,
        time_ms: clock::now_ms(),
        job: assignment.job.id,
        attempt: assignment.attempt,
        backend: assignment.backend.clone(),
        worker: shared.worker.clone(),
        phase,
        step,
        steps,
        detail: detail.map(|detail| cut(detail, DETAIL_MAX_BYTES).into_owned()),
    };
    let subject = subjects::progress(&assignment.job.tenant, assignment.job.id);
    let client = shared.broker.client.clone();
    // Publishing only queues; when the queue is full the report is dropped, it is not a fact.
    let publish = async move { client.publish(subject, codec::encode(&progress).into()).await };
    let _ = futures::FutureExt::now_or_never(publish);
}
