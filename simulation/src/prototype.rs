//! A planner over all that wait. A prototype that the fleet does not ship: it shows what late binding is worth, beside
//! the shipped router.
//!
//! Jobs wait here and a backend gets what it can start now. At every event the waiting jobs stand in a virtual schedule
//! by due time on the local slots. While money plus the price of lateness falls, the job whose way out helps most moves
//! to a paid backend. What moves to a backend with few workers starts at once; to one with many, at the last moment.
//! It knows what the routers know: expected durations, never the true ones.

use std::collections::BTreeMap;
use std::rc::Rc;

use schemas::{FailureCode, JobState};

use crate::job::price;
use crate::setting::Setting;
use crate::strategy::Strategy;
use crate::world::{Notice, Shared, World};

/// Attempts of a job before it is given up.
const ATTEMPTS_MAX: u32 = 6;
/// A backend with more slots than this has many: its start need not be early.
const MANY_SLOTS: usize = 6;
/// Of an expected duration, the margin before a deadline, and before a last moment.
const MARGIN: f64 = 0.35;
/// What a missed deadline costs, in references.
const WORTH: f64 = 10.0;
/// What crossing one's patience costs at once, in references.
const CROSSING: f64 = 0.15;
/// For how long a server that is out is taken to stay out, milliseconds.
const OUT_MS: f64 = 20_000.0;
/// Ways out that are weighed in one round.
const WEIGHED_MAX: usize = 24;

/// What is expected of a job at one backend.
#[derive(Debug, Clone, Copy)]
struct Way {
    backend: usize,
    run_ms: f64,
    cost: f64,
}

#[derive(Debug, Clone)]
struct Waiting {
    attempt: u32,
    due_ms: f64,
    patience_ms: f64,
    has_deadline: bool,
    reference: f64,
    ways: Vec<Way>,
}

/// The planner.
#[derive(Debug, Default)]
pub struct Prototype {
    waiting: BTreeMap<usize, Waiting>,
    next_wake_ms: Option<i64>,
}

/// A job in a plan.
struct Entry {
    job: usize,
    waiting: Waiting,
    /// The way out that it takes, and what that costs, lateness included.
    out: Option<(Way, f64)>,
}

#[expect(clippy::cast_precision_loss, reason = "times and money of a run are far below 2^53")]
fn float(value: i64) -> f64 {
    value as f64
}

fn expected_ms(world: &World, backend: usize, job: usize) -> Option<u64> {
    let setting = Rc::clone(&world.setting);
    let class = &world.jobs[job].admitted.class;
    let service = setting.service(setting.backends().nth(backend)?, class)?;
    let learned = world.servers.iter().filter(|server| server.backend == backend);
    let learned: Vec<u64> = learned.filter_map(|server| server.learned_ms(class)).collect();
    let mean = learned.iter().sum::<u64>().checked_div(learned.len() as u64);
    Some(mean.unwrap_or(service.startup_ms + service.expected_ms))
}

fn ways(world: &World, job: usize) -> Vec<Way> {
    let setting: &Setting = &world.setting;
    let choices = world.jobs[job].choices.iter().filter_map(|choice| {
        let run_ms = expected_ms(world, choice.backend, job)?;
        let backend = setting.backends().nth(choice.backend)?;
        let service = setting.service(backend, &world.jobs[job].admitted.class)?;
        let cost = float(price(setting, backend, service, run_ms, world.now_ms).0);
        Some(Way { backend: choice.backend, run_ms: float(i64::try_from(run_ms).unwrap_or(i64::MAX)), cost })
    });
    choices.collect()
}

impl Prototype {
    fn admit(&mut self, world: &World, job: usize, attempt: u32) {
        let found = &world.jobs[job];
        let ways = ways(world, job);
        let dearest = ways.iter().map(|way| way.cost).fold(0.0, f64::max);
        let setting: &Setting = &world.setting;
        // For a job that may not pay: what the cheapest paid backend would charge.
        let paid = setting.backends().filter_map(|backend| {
            let service = setting.service(backend, &found.admitted.class)?;
            let cost = price(setting, backend, service, service.expected_ms, world.now_ms).0;
            (cost > 0).then(|| float(cost))
        });
        let reference = if dearest > 0.0 { dearest } else { paid.fold(f64::INFINITY, f64::min).min(1e9) };
        self.waiting.insert(
            job,
            Waiting {
                attempt,
                due_ms: float(found.due_ms),
                patience_ms: float(found.due_ms - found.at_ms).max(1.0),
                has_deadline: found.job.constraints.deadline_ms.is_some(),
                reference,
                ways,
            },
        );
    }
}

impl Waiting {
    /// What it costs to end at a moment.
    fn lateness(&self, ends_ms: f64, run_ms: f64) -> f64 {
        let margin_ms = if self.has_deadline { MARGIN * run_ms } else { 0.0 };
        let over_ms = ends_ms + margin_ms - self.due_ms;
        if over_ms <= 0.0 {
            0.0
        } else if self.has_deadline {
            WORTH * self.reference
        } else {
            self.reference * (CROSSING + over_ms / self.patience_ms)
        }
    }

    fn free_way(&self) -> Option<&Way> {
        self.ways.iter().find(|way| way.cost <= 0.0)
    }
}

/// When each slot of a backend is expected to be free.
fn slots(world: &World, backend: usize, workers_max: usize) -> Vec<f64> {
    let now_ms = float(world.now_ms);
    let mut free = Vec::new();
    for server in world.servers.iter().filter(|server| server.backend == backend) {
        let all = server.spec.slots as usize;
        if !server.is_up() {
            free.extend(std::iter::repeat_n(now_ms + OUT_MS, all));
            continue;
        }
        let busy = server.begun().map(|(job, since_ms)| {
            let run_ms = expected_ms(world, backend, job).unwrap_or(1_000);
            (float(since_ms) + float(i64::try_from(run_ms).unwrap_or(i64::MAX))).max(now_ms + 200.0)
        });
        let busy: Vec<f64> = busy.collect();
        free.extend(std::iter::repeat_n(now_ms, all.saturating_sub(busy.len())));
        free.extend(busy);
    }
    free.sort_by(f64::total_cmp);
    // A provider with fewer workers than our slots: the earliest slots do not exist.
    let surplus = free.len().saturating_sub(workers_max);
    free.drain(..surplus);
    free
}

/// What those that stay cost by being late, in order of due time on these slots; and the place of the last late one.
fn lateness(entries: &[Entry], slots: &[f64]) -> (f64, Option<usize>) {
    let (mut free, mut sum, mut last) = (slots.to_vec(), 0.0, None);
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.out.is_none()) {
        let Some(way) = entry.waiting.free_way() else { continue };
        let first = (0..free.len()).min_by(|one, other| free[*one].total_cmp(&free[*other]));
        let late = match first {
            Some(slot) => {
                free[slot] += way.run_ms;
                entry.waiting.lateness(free[slot], way.run_ms)
            }
            None => WORTH * entry.waiting.reference,
        };
        if late > 0.0 {
            last = Some(place);
        }
        sum += late;
    }
    (sum, last)
}

/// The cheapest way out of a job, its own lateness there included.
fn way_out(entry: &Entry, paid: &BTreeMap<usize, Vec<f64>>, now_ms: f64) -> Option<(Way, f64)> {
    let out = entry.waiting.ways.iter().filter(|way| way.cost > 0.0).map(|way| {
        let begins_ms = paid.get(&way.backend).and_then(|slots| slots.first()).copied().unwrap_or(now_ms);
        (*way, way.cost + entry.waiting.lateness(begins_ms.max(now_ms) + way.run_ms, way.run_ms))
    });
    out.min_by(|one, other| one.1.total_cmp(&other.1))
}

fn take(paid: &mut BTreeMap<usize, Vec<f64>>, way: &Way, now_ms: f64) {
    if let Some(slots) = paid.get_mut(&way.backend)
        && let Some(first) = slots.first_mut()
    {
        *first = first.max(now_ms) + way.run_ms;
        slots.sort_by(f64::total_cmp);
    }
}

impl Strategy for Prototype {
    fn notice(&mut self, world: &Shared, notice: Notice) {
        match notice {
            Notice::Arrived(job) => self.admit(&world.borrow(), job, 1),
            Notice::Failed(failed) => {
                let (job, attempt) = (failed.binding.job, failed.binding.attempt);
                match failed.failure.code {
                    FailureCode::Expired => world.borrow_mut().end(job, JobState::Expired),
                    _ if attempt >= ATTEMPTS_MAX => world.borrow_mut().end(job, JobState::Failed),
                    _ => self.admit(&world.borrow(), job, attempt + 1),
                }
            }
            Notice::Succeeded { .. } | Notice::Woken(_) => {}
        }
    }

    fn decide(&mut self, world: &Shared) {
        let mut world = world.borrow_mut();
        let now_ms = float(world.now_ms);
        let over: Vec<usize> = self.over(now_ms);
        for job in over {
            self.waiting.remove(&job);
            world.end(job, JobState::Expired);
        }
        let backends = world.setting.backends().count();
        let workers = |world: &World, backend| world.workers_max(backend);
        let local = self.free_backend();
        let local_slots = local.map_or_else(Vec::new, |backend| slots(&world, backend, usize::MAX));
        let mut paid: BTreeMap<usize, Vec<f64>> = (0..backends)
            .filter(|backend| Some(*backend) != local)
            .map(|backend| (backend, slots(&world, backend, workers(&world, backend))))
            .collect();
        let mut entries: Vec<Entry> = self
            .waiting
            .iter()
            .map(|(job, waiting)| Entry { job: *job, waiting: waiting.clone(), out: None })
            .collect();
        entries.sort_by(|one, other| one.waiting.due_ms.total_cmp(&other.waiting.due_ms));
        choose(&mut entries, &local_slots, &mut paid, now_ms);
        self.bind(&mut world, &entries, local);
    }
}

/// Moves jobs out while the sum falls.
fn choose(entries: &mut [Entry], local: &[f64], paid: &mut BTreeMap<usize, Vec<f64>>, now_ms: f64) {
    for entry in entries.iter_mut().filter(|entry| entry.waiting.free_way().is_none()) {
        entry.out = way_out(entry, paid, now_ms);
        if let Some((way, _)) = &entry.out {
            take(paid, way, now_ms);
        }
    }
    loop {
        let (base, Some(last)) = lateness(entries, local) else { return };
        let stays = entries[..=last].iter().enumerate().filter(|(_, entry)| entry.out.is_none());
        let mut outs: Vec<(usize, Way, f64)> = stays
            .filter_map(|(place, entry)| way_out(entry, paid, now_ms).map(|(way, cost)| (place, way, cost)))
            .collect();
        outs.sort_by(|one, other| one.2.total_cmp(&other.2));
        outs.truncate(WEIGHED_MAX);
        let mut best: Option<(f64, usize, Way, f64)> = None;
        for (place, way, cost) in outs {
            entries[place].out = Some((way, cost));
            let sum = lateness(entries, local).0 + cost;
            entries[place].out = None;
            if sum < base && best.as_ref().is_none_or(|best| sum < best.0) {
                best = Some((sum, place, way, cost));
            }
        }
        let Some((_, place, way, cost)) = best else { return };
        entries[place].out = Some((way, cost));
        take(paid, &way, now_ms);
    }
}

impl Prototype {
    /// Jobs whose deadline has passed.
    fn over(&self, now_ms: f64) -> Vec<usize> {
        let over =
            self.waiting.iter().filter(|(_, waiting)| waiting.has_deadline && waiting.due_ms <= now_ms);
        over.map(|(job, _)| *job).collect()
    }

    fn free_backend(&self) -> Option<usize> {
        self.waiting.values().find_map(|waiting| waiting.free_way()).map(|way| way.backend)
    }

    /// Binds what starts now, and asks to be woken for what starts at its last moment.
    fn bind(&mut self, world: &mut World, entries: &[Entry], local: Option<usize>) {
        let now_ms = float(world.now_ms);
        let mut wake_ms = f64::INFINITY;
        let mut free: BTreeMap<usize, usize> = BTreeMap::new();
        for entry in entries {
            let to = match (&entry.out, local) {
                (Some((way, _)), _) => {
                    let last_ms = entry.waiting.due_ms - way.run_ms * (1.0 + MARGIN);
                    let waits = entry.waiting.free_way().is_some() && last_ms > now_ms;
                    if world.workers_max(way.backend) > MANY_SLOTS && waits {
                        wake_ms = wake_ms.min(last_ms);
                        None
                    } else {
                        Some(way.backend)
                    }
                }
                (None, Some(backend)) => Some(backend),
                (None, None) => None,
            };
            let Some(backend) = to else { continue };
            let slots = free.entry(backend).or_insert_with(|| world.free_slots(backend));
            if *slots > 0 {
                *slots -= 1;
                self.waiting.remove(&entry.job);
                let class = world.jobs[entry.job].admitted.class.clone();
                let setting = Rc::clone(&world.setting);
                let service = setting.backends().nth(backend).and_then(|name| setting.service(name, &class));
                let timeout_ms = service.map_or(u64::MAX / 4, |service| service.timeout_ms);
                world.bind(entry.job, entry.waiting.attempt, backend, timeout_ms, None);
            }
        }
        let deadlines = self.waiting.values().filter(|waiting| waiting.has_deadline).map(|one| one.due_ms);
        let wake_ms = deadlines.fold(wake_ms, f64::min);
        self.wake(world, wake_ms);
    }

    #[expect(clippy::cast_possible_truncation, reason = "a moment of the run")]
    fn wake(&mut self, world: &mut World, at_ms: f64) {
        if !at_ms.is_finite() {
            return;
        }
        let at_ms = (at_ms.ceil() as i64).max(world.now_ms + 1);
        let is_planned =
            self.next_wake_ms.is_some_and(|planned_ms| world.now_ms < planned_ms && planned_ms <= at_ms);
        if !is_planned {
            self.next_wake_ms = Some(at_ms);
            world.wake_at(at_ms, 0);
        }
    }
}
