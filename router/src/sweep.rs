//! Takes waiting work back from backends that have lost all their workers, so that it can run elsewhere.
//!
//! Each assignment becomes a dead letter (`interrupted`, which costs no attempt) and only then leaves
//! the queue. Paid work is claimed first, like any worker does: where the claim is taken, somebody may
//! have called the provider, and the assignment waits for a worker that can find out.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use policy::fleet::BackendView;
use runtime::clock;
use runtime::exit::Fault;
use runtime::telemetry;
use schemas::topology::stream;
use schemas::{Assignment, Backend, Class, Failure, FailureCode, Health, codec, subjects};

use crate::fleet::{backlog, rest, services};
use crate::shared::Router;
use crate::unrun;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Assignments taken back from one backend and class at a time.
const SWEEP_MAX: usize = 1_000;

/// Sweeps until stopped.
///
/// # Errors
/// Never.
pub async fn run(router: Router) -> Result<(), Fault> {
    // Since when a backend has had no worker for a class, as this router saw it.
    let mut deserted_since: HashMap<(Backend, Class), i64> = HashMap::new();
    while !router.soft.is_cancelled() {
        let policy = router.config().policy;
        for (backend, class) in services(&router) {
            let now_ms = clock::now_ms();
            let served = router.with_fleet(|fleet| {
                fleet
                    .view(&backend)
                    .is_some_and(|view| is_served(view, &class, policy.offer_max_age_ms, now_ms))
            });
            if served {
                deserted_since.remove(&(backend, class));
                continue;
            }
            let since = *deserted_since.entry((backend.clone(), class.clone())).or_insert(now_ms);
            let waited_ms = (now_ms - since).unsigned_abs();
            if waited_ms < policy.stranded_after_ms
                || backlog(&router, &backend, &class).await.unwrap_or(0) == 0
            {
                continue;
            }
            if let Err(reason) = take_back(&router, &backend, &class).await {
                tracing::warn!(%backend, %class, reason, "taking work back failed, trying again");
            }
        }
        rest(&router, LOOK_EVERY).await;
    }
    Ok(())
}

/// Some worker that is alive serves the class; one that drains still finishes what it has.
fn is_served(view: &BackendView, class: &Class, max_age_ms: u64, now_ms: i64) -> bool {
    let oldest = now_ms - i64::try_from(max_age_ms).unwrap_or(i64::MAX / 2);
    view.offers.iter().any(|offer| {
        offer.time_ms >= oldest
            && offer.health == Health::Healthy
            && offer.classes.iter().any(|offered| offered.class == *class)
    })
}

async fn take_back(router: &Router, backend: &Backend, class: &Class) -> Result<(), String> {
    let work = router.broker.jetstream.get_stream(stream::WORK).await;
    let work = work.map_err(|error| telemetry::chain(&error))?;
    let filter = subjects::work_filter(backend, class);
    let (mut next, mut taken) = (1, 0u64);
    for _ in 0..SWEEP_MAX {
        let message = match work.direct_get_next_for_subject(filter.clone(), Some(next)).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(telemetry::chain(&error)),
        };
        next = message.sequence + 1;
        // Unreadable assignments are parked by the next worker that gets them.
        let Ok(assignment) = codec::decode::<Assignment>(None, &message.payload) else { continue };
        taken += u64::from(take_one_back(router, &work, message.sequence, assignment).await?);
    }
    if taken > 0 {
        tracing::info!(%backend, %class, taken, "took waiting work back");
        metrics::counter!("argosy_router_taken_back_total", "backend" => backend.to_string())
            .increment(taken);
    }
    Ok(())
}

async fn take_one_back(
    router: &Router,
    work: &Stream,
    sequence: u64,
    assignment: Assignment,
) -> Result<bool, String> {
    let backend = assignment.backend.clone();
    let failure = Failure::new(
        FailureCode::Interrupted,
        format!("{backend} lost its workers while the job waited there"),
    );
    let reserved = assignment.reserved_micro_usd;
    if !unrun::take(router, assignment.id(), &backend, reserved, &failure).await? {
        return Ok(false);
    }
    unrun::send(router, &assignment, None, failure).await?;
    // Gone already when a worker came back and finished it: then its end stands and the letter finds it.
    let _ = work.delete_message(sequence).await;
    Ok(true)
}
