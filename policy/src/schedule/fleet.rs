//! The pools of a schedule as a router sees its fleet: one for each configured backend.

use schemas::{Catalog, Class, PolicyConfig};

use super::input::Pool;
use crate::fleet::{BackendView, Fleet, Known};
use crate::plan::learned_ms;

/// What runs longer than expected is taken to end after this part of its length.
const OVERRUN_PART: u64 = 10;

/// One pool for each backend of the document, in its order. What runs on a worker, and what waits at the backend beyond
/// that, takes slots; workers that are not fresh or not well have none. `ahead` is how many jobs are bound ahead for each
/// slot of our own, what waits there already included.
#[must_use]
pub fn pools(
    fleet: &Fleet,
    policy: &PolicyConfig,
    catalog: &Catalog,
    ahead: usize,
    now_ms: i64,
) -> Vec<Pool> {
    let pool = |config: &schemas::config::BackendConfig| {
        let Some(view) = fleet.view(&config.backend) else {
            return Pool { is_paid: config.paid, free_at_ms: Vec::new(), ahead: 0 };
        };
        let expected_ms = |class: &Class| {
            let learned = learned_ms(view.offers.iter().map(|known| &**known), class);
            let service = || {
                catalog
                    .service(&config.backend, class)
                    .map(|service| service.startup_ms + service.expected_ms)
            };
            learned.or_else(service).unwrap_or(1_000)
        };
        let works = |known: &&Known| {
            known.is_fresh(policy.offer_max_age_ms, now_ms) && known.health == schemas::Health::Healthy
        };
        let mut free_at_ms: Vec<i64> = Vec::new();
        let mut running = 0;
        for known in view.offers.iter().filter(works) {
            let slots = known.slots as usize;
            let age_ms = known.age_ms(now_ms);
            let busy = known.running.iter().take(slots).map(|attempt| {
                let run_ms = expected_ms(&attempt.class);
                let left_ms =
                    run_ms.saturating_sub(attempt.running_ms + age_ms).max(run_ms / OVERRUN_PART).max(1);
                now_ms.saturating_add_unsigned(left_ms)
            });
            let before = free_at_ms.len();
            free_at_ms.extend(busy);
            let busy = free_at_ms.len() - before;
            running += busy;
            free_at_ms.extend(std::iter::repeat_n(now_ms, slots - busy));
        }
        free_at_ms.sort_unstable();
        let queued = queue(view, running, &mut free_at_ms, &expected_ms, now_ms);
        let most = if config.paid { 0 } else { ahead * free_at_ms.len() };
        Pool { is_paid: config.paid, free_at_ms, ahead: most.saturating_sub(queued) }
    };
    policy.backends.iter().map(pool).collect()
}

/// What waits at a backend beyond what runs takes the slots that are free first; how many of it have to wait for one.
fn queue(
    view: &BackendView,
    mut running: usize,
    free_at_ms: &mut [i64],
    expected_ms: &dyn Fn(&Class) -> u64,
    now_ms: i64,
) -> usize {
    let mut queued = 0;
    for (class, jobs) in &view.backlog {
        let jobs = usize::try_from(*jobs).unwrap_or(usize::MAX);
        let begun = jobs.min(running);
        running -= begun;
        for _ in 0..(jobs - begun).min(QUEUED_MAX) {
            let Some(first) = free_at_ms.first_mut() else { return queued };
            queued += usize::from(*first > now_ms);
            *first = first.saturating_add_unsigned(expected_ms(class));
            free_at_ms.sort_unstable();
        }
    }
    queued
}

/// Jobs of a class in a queue that are reckoned with.
const QUEUED_MAX: usize = 1_024;
