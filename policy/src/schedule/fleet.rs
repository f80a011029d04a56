//! The pools of a schedule as a router sees its fleet: for each configured backend one for all workers that are alike.

use std::collections::BTreeMap;

use schemas::config::BackendConfig;
use schemas::{Capability, Catalog, Class, Health, PolicyConfig};

use super::input::Pool;
use crate::fleet::{BackendView, Fleet, Known};
use crate::plan::learned_ms;

/// What runs longer than expected is taken to end after this part of its length.
const OVERRUN_PART: u64 = 10;

/// A worker that fell silent, or is not well, is taken to be out for so many times the patience of document `policy`, or
/// for as long as it has been out. Too long costs some jobs at the cloud; too short costs as many at the dearest.
const OUT_PATIENCES: u64 = 2;

/// A worker that has been silent for longer than so many patiences is taken to be gone.
const GONE_PATIENCES: u64 = 10;

/// Jobs that are bound ahead for a slot at most, however short.
const AHEAD_MAX: usize = 512;

/// Jobs of a class in a queue that are reckoned with.
const QUEUED_MAX: usize = 1_024;

/// Pools, and where each of them is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pools {
    /// The pools.
    pub pools: Vec<Pool>,
    /// For each pool its place.
    pub places: Vec<Place>,
}

/// Where a pool is: the workers of a backend that take work from the same queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which backend of document `policy`.
    pub backend: usize,
    /// Which of its workers: those of this capability, or those without one.
    pub capability: Option<Capability>,
}

/// The pools of each backend of the document, in its order: one for all its workers that are alike, at least one. What runs
/// on a worker, and what waits at the backend beyond that, takes slots; workers that are out have slots when they are
/// expected back.
///
/// `ahead_ms` is the work that is bound ahead for each slot of our own, milliseconds; at least one job is, and what waits
/// there already counts. Without it a slot of short jobs would idle between two schedules.
#[must_use]
pub fn pools(fleet: &Fleet, policy: &PolicyConfig, catalog: &Catalog, ahead_ms: u64, now_ms: i64) -> Pools {
    let mut found = Pools::default();
    for (backend, config) in policy.backends.iter().enumerate() {
        let parts = fleet.view(&config.backend).map_or_else(Vec::new, parts);
        if parts.is_empty() {
            found.pools.push(Pool { is_paid: config.paid, free_at_ms: Vec::new(), ahead: 0 });
            found.places.push(Place { backend, capability: None });
        }
        for (capability, part) in parts {
            found.pools.push(part.pool(config, policy, catalog, ahead_ms, now_ms));
            found.places.push(Place { backend, capability });
        }
    }
    found
}

/// The workers of a backend that take work from the same queues, and what waits or runs there.
struct Part<'a> {
    view: &'a BackendView,
    offers: Vec<&'a Known>,
    backlog: BTreeMap<&'a Class, u64>,
}

/// The parts of a backend; none where no worker is known.
fn parts(view: &BackendView) -> Vec<(Option<Capability>, Part<'_>)> {
    let mut parts: BTreeMap<Option<Capability>, Part<'_>> = BTreeMap::new();
    for known in &view.offers {
        let new = || Part { view, offers: Vec::new(), backlog: BTreeMap::new() };
        parts.entry(known.capability).or_insert_with(new).offers.push(known);
    }
    for (queue, jobs) in &view.backlog {
        // All workers read a queue without a capability.
        let read = parts
            .iter_mut()
            .filter(|(capability, _)| queue.capability.is_none() || queue.capability == **capability);
        for (_, part) in read {
            *part.backlog.entry(&queue.class).or_default() += jobs;
        }
    }
    parts.into_iter().collect()
}

impl Part<'_> {
    fn pool(
        &self,
        config: &BackendConfig,
        policy: &PolicyConfig,
        catalog: &Catalog,
        ahead_ms: u64,
        now_ms: i64,
    ) -> Pool {
        let expected_ms = |class: &Class| {
            let learned = learned_ms(self.offers.iter().map(|known| &***known), class);
            let learned =
                learned.or_else(|| learned_ms(self.view.offers.iter().map(|known| &**known), class));
            let service = || {
                catalog
                    .service(&config.backend, class)
                    .map(|service| service.startup_ms + service.expected_ms)
            };
            learned.or_else(service).unwrap_or(1_000)
        };
        let works = |known: &Known| known.is_fresh(policy.offer_max_age_ms, now_ms) && is_well(known, now_ms);
        let (well, out_now): (Vec<&Known>, Vec<&Known>) = self.offers.iter().partition(|known| works(known));
        let mut free_at_ms = Vec::new();
        let mut running = running(&well, &self.backlog, &expected_ms, now_ms);
        let begun = running.len();
        let slots: usize = well.iter().map(|known| known.slots as usize).sum();
        running.truncate(slots);
        free_at_ms.extend(running);
        free_at_ms.resize(slots, now_ms);
        free_at_ms.sort_unstable();
        let queued = queue(&self.backlog, begun, &mut free_at_ms, &expected_ms, now_ms);
        let here = free_at_ms.len();
        free_at_ms.extend(out_now.iter().flat_map(|known| out(known, policy, now_ms)));
        // Nothing begins there before its breaker closes.
        if let Some(until_ms) =
            self.view.breakers.open(None, now_ms).and_then(|breaker| breaker.open_until_ms)
        {
            free_at_ms.iter_mut().for_each(|at_ms| *at_ms = (*at_ms).max(until_ms));
        }
        free_at_ms.sort_unstable();
        let most = if config.paid { 0 } else { here * ahead(ahead_ms, shortest_ms(&well, &expected_ms)) };
        Pool { is_paid: config.paid, free_at_ms, ahead: most.saturating_sub(queued) }
    }
}

/// Jobs that are bound ahead for each slot.
fn ahead(ahead_ms: u64, shortest_ms: u64) -> usize {
    usize::try_from(ahead_ms / shortest_ms.max(1)).unwrap_or(AHEAD_MAX).clamp(1, AHEAD_MAX)
}

/// How long the shortest class takes that workers have learned, milliseconds.
fn shortest_ms(well: &[&Known], expected_ms: &dyn Fn(&Class) -> u64) -> u64 {
    let classes = well.iter().flat_map(|known| &known.classes);
    let learned = classes.filter(|class| class.learned_ms.is_some());
    learned.map(|class| expected_ms(&class.class)).min().unwrap_or(u64::MAX)
}

fn is_well(known: &Known, now_ms: i64) -> bool {
    known.health == Health::Healthy && known.unavailable_until_ms.is_none_or(|until_ms| until_ms <= now_ms)
}

/// When the slots of a worker that is out are expected back. One that drains does not come back, one that is stopped waits
/// for a person.
fn out(known: &Known, policy: &PolicyConfig, now_ms: i64) -> impl Iterator<Item = i64> + use<> {
    let silent_ms = known.age_ms(now_ms);
    let patiences = |count: u64| policy.patience_ms.saturating_mul(count);
    let is_gone =
        silent_ms > patiences(GONE_PATIENCES) || matches!(known.health, Health::Draining | Health::Stopped);
    let back_ms = now_ms.saturating_add_unsigned(silent_ms.max(patiences(OUT_PATIENCES)));
    let back_ms = known.unavailable_until_ms.map_or(back_ms, |until_ms| until_ms.max(now_ms));
    std::iter::repeat_n(back_ms, if is_gone { 0 } else { known.slots as usize })
}

/// When what runs on workers is expected to end, the last first. What they say is a moment old: what has left its queue
/// since then runs no more.
fn running(
    well: &[&Known],
    backlog: &BTreeMap<&Class, u64>,
    expected_ms: &dyn Fn(&Class) -> u64,
    now_ms: i64,
) -> Vec<i64> {
    let mut ends: Vec<(i64, &Class)> = Vec::new();
    for known in well {
        let age_ms = known.age_ms(now_ms);
        ends.extend(known.running.iter().map(|attempt| {
            let run_ms = expected_ms(&attempt.class);
            let left_ms =
                run_ms.saturating_sub(attempt.running_ms + age_ms).max(run_ms / OVERRUN_PART).max(1);
            (now_ms.saturating_add_unsigned(left_ms), &attempt.class)
        }));
    }
    ends.sort_unstable_by_key(|(ends_ms, _)| std::cmp::Reverse(*ends_ms));
    let mut counted: BTreeMap<&Class, u64> = BTreeMap::new();
    ends.retain(|(_, class)| {
        let count = counted.entry(class).or_default();
        *count += 1;
        backlog.get(class).is_none_or(|jobs| *count <= *jobs)
    });
    ends.into_iter().map(|(ends_ms, _)| ends_ms).collect()
}

/// What waits at workers beyond what runs takes the slots that are free first; how many of it have to wait for one.
fn queue(
    backlog: &BTreeMap<&Class, u64>,
    mut running: usize,
    free_at_ms: &mut [i64],
    expected_ms: &dyn Fn(&Class) -> u64,
    now_ms: i64,
) -> usize {
    let mut queued = 0;
    for (class, jobs) in backlog {
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
