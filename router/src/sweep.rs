//! Takes waiting work back from backends that have lost all their workers or are far behind, so that it can
//! run elsewhere.
//!
//! Each assignment becomes a dead letter (`interrupted`, which costs no attempt) and only then leaves
//! the queue. Paid work is claimed first, like any worker does: where the claim is taken, somebody may
//! have called the provider, and the assignment waits for a worker that can find out.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use policy::admit::admit;
use policy::fleet::BackendView;
use policy::overdue::{is_overdue, moves};
use policy::plan::Plan;
use runtime::clock;
use runtime::exit::Fault;
use runtime::metrics;
use schemas::{Assignment, AttemptFacts, Backend, Class, DeadLetter, Failure, FailureCode, Health};

use crate::fleet::{rest, services};
use crate::place::{self, Placing};
use crate::queue::{self, Queued};
use crate::shared::Router;
use crate::unrun;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Assignments taken back from one backend and class at a time.
const SWEEP_MAX: usize = 1_000;

/// Waiting assignments of one backend and class that are looked at for having waited too long.
const OVERDUE_MAX: usize = 100;

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
            let (served, waiting) = router.with_fleet(|fleet| {
                let view = fleet.view(&backend);
                let served =
                    view.is_some_and(|view| is_served(view, &class, policy.offer_max_age_ms, now_ms));
                (served, fleet.backlog(&backend, &class))
            });
            let taken = if served {
                deserted_since.remove(&(backend.clone(), class.clone()));
                if waiting == 0 {
                    continue;
                }
                take_overdue(&router, &backend, &class).await
            } else {
                let since = *deserted_since.entry((backend.clone(), class.clone())).or_insert(now_ms);
                if (now_ms - since).unsigned_abs() < policy.stranded_after_ms
                    || queue::backlog(&router, &backend, &class).await.unwrap_or(0) == 0
                {
                    continue;
                }
                take_stranded(&router, &backend, &class).await
            };
            match taken {
                Ok(0) => {}
                Ok(taken) => {
                    tracing::info!(%backend, %class, assignments = taken, served, "took waiting work back");
                    metrics::ROUTER_TAKEN_BACK.of([backend.to_string().into()]).increment(taken);
                }
                Err(reason) => {
                    tracing::warn!(%backend, %class, error = reason, "taking work back failed, trying again");
                }
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

/// Everything that a backend without workers has; how many.
async fn take_stranded(router: &Router, backend: &Backend, class: &Class) -> Result<u64, String> {
    let work = queue::work(router).await?;
    let (mut next, mut taken) = (1, 0);
    for _ in 0..SWEEP_MAX {
        let Some(queued) = queue::next(&work, backend, class, next).await? else { break };
        next = queued.sequence + 1;
        let words = format!("{backend} lost its workers while the job waited there");
        taken += u64::from(take_back(router, &work, queued, words).await?);
    }
    Ok(taken)
}

/// What has waited too long for a worker of a backend, and would be placed elsewhere now; how many.
async fn take_overdue(router: &Router, backend: &Backend, class: &Class) -> Result<u64, String> {
    let Some(mut next) = queue::undelivered_from(router, backend, class).await else { return Ok(0) };
    let work = queue::work(router).await?;
    let (config, mut taken) = (router.config(), 0);
    for _ in 0..OVERDUE_MAX {
        let Some(queued) = queue::next(&work, backend, class, next).await? else { break };
        next = queued.sequence + 1;
        // Those behind it have waited less.
        if !is_overdue(queued.assignment.time_ms, clock::now_ms(), &config.policy) {
            break;
        }
        let words = format!("{backend} is far behind: the job waited there for too long");
        let letter = taken_back(router, &queued.assignment, words.clone());
        if again(router, &letter).is_some_and(|plan| moves(backend, &plan)) {
            taken += u64::from(take_back(router, &work, queued, words).await?);
        }
    }
    Ok(taken)
}

/// The letter of an assignment that is taken out of its queue.
fn taken_back(router: &Router, assignment: &Assignment, words: String) -> DeadLetter {
    unrun::letter(router, assignment, None, Failure::new(FailureCode::Interrupted, words))
}

/// The plan that would follow a letter; none for a job that would not be admitted any more.
fn again(router: &Router, letter: &DeadLetter) -> Option<Plan> {
    let assignment = &letter.assignment;
    let (job, config) = (&assignment.job, router.config());
    let history: Vec<AttemptFacts> =
        assignment.history.iter().chain(std::iter::once(&letter.ended_attempt)).cloned().collect();
    let admitted = admit(job, &config.catalog, &config.policy, 0, assignment.submitted_at_ms).ok()?;
    let placing = Placing {
        job,
        admitted: &admitted,
        submitted_at_ms: assignment.submitted_at_ms,
        attempt: assignment.attempt + 1,
        counted_attempts: assignment.counted_attempts,
        history: &history,
    };
    Some(place::weigh(router, &placing, &[]))
}

async fn take_back(
    router: &Router,
    work: &Stream<()>,
    queued: Queued,
    words: String,
) -> Result<bool, String> {
    let Queued { sequence, assignment } = queued;
    let failure = Failure::new(FailureCode::Interrupted, words.clone());
    let reserved = assignment.reserved_micro_usd;
    if !unrun::take(router, assignment.id(), &assignment.backend, reserved, &failure).await? {
        return Ok(false);
    }
    unrun::send(router, &taken_back(router, &assignment, words)).await?;
    // Gone already when a worker came back and finished it: then its end stands and the letter finds it.
    let _ = work.delete_message(sequence).await;
    Ok(true)
}
