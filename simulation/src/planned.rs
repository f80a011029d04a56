//! The schedule over all that wait (`policy::schedule`) over the simulated world: one planner that sees everything.
//!
//! It knows what routers may know: what jobs ask for, what was seen to run how long, who is idle; never the truth. A job
//! starts when a slot is free for it, so nothing is bound ahead: in this world a slot takes the next at once.

mod learned;

use std::collections::BTreeMap;
use std::rc::Rc;

use policy::schedule::{
    Decision, Pool, Rates, Rules, Run, ScheduleInput, Share, Waiting, Way, multiple, reference, schedule,
};
use schemas::config::BackendConfig;
use schemas::{FailureCode, JobState, Profile};

use self::learned::Learned;
use crate::job::price;
use crate::strategy::Strategy;
use crate::world::{Notice, Shared, World};

/// Attempts of a job before it is given up.
const ATTEMPTS_MAX: u32 = 6;

/// A server that is out is taken to stay out for this, or for as long as it has been out, milliseconds. Too long costs
/// some jobs at the cloud; too short costs as many at the dearest.
const OUT_MS: i64 = 120_000;

/// What runs longer than expected is taken to end after this part of its length.
const OVERRUN: f64 = 0.1;

/// The strategy.
#[derive(Debug)]
pub struct Planned {
    profile: f64,
    rules: Rules,
    /// Jobs that wait, with the attempt that is next.
    waiting: BTreeMap<usize, u32>,
    learned: Learned,
    rates: Rates,
    /// For each server: since when it is out.
    out_since_ms: Vec<Option<i64>>,
    next_wake_ms: Option<i64>,
}

impl Planned {
    /// Every job with one profile.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self::with_rules(profile, Rules::default())
    }

    /// With other numbers of the rule.
    #[must_use]
    pub fn with_rules(profile: Profile, rules: Rules) -> Self {
        Self {
            profile: multiple(profile),
            rules,
            waiting: BTreeMap::new(),
            learned: Learned::default(),
            rates: Rates::default(),
            out_since_ms: Vec::new(),
            next_wake_ms: None,
        }
    }

    fn run(&self, world: &World, backend: usize, job: usize) -> Run {
        let setting = &world.setting;
        let class = &world.jobs[job].admitted.class;
        let service = setting.backends().nth(backend).and_then(|name| setting.service(name, class));
        let catalog_ms = service.map_or(1_000, |service| service.startup_ms + service.expected_ms);
        self.learned.run(backend, class, catalog_ms)
    }

    fn job(&self, world: &World, job: usize, tenants: &[&str]) -> Waiting {
        let found = &world.jobs[job];
        let way = |backend: usize| {
            let run = self.run(world, backend, job);
            Way { pool: backend, cost_micro_usd: cost(world, backend, job, &run), run }
        };
        let ways: Vec<Way> = found.choices.iter().map(|choice| way(choice.backend)).collect();
        let all = (0..world.setting.backends().count()).map(|backend| way(backend).cost_micro_usd);
        let cheapest_paid = all.filter(|cost| *cost > 0.0).min_by(f64::total_cmp);
        let ceiling = found.job.constraints.max_cost_micro_usd.map(|ceiling| float(ceiling.0));
        Waiting {
            since_ms: found.at_ms,
            patience_ms: world.setting.patience_ms(&found.job),
            deadline_ms: found.job.constraints.deadline_ms,
            reference_micro_usd: reference(&ways, ceiling, cheapest_paid),
            profile: self.profile,
            tenant: tenants.iter().position(|name| *name == found.job.tenant.as_str()).unwrap_or_default(),
            ways,
        }
    }

    fn note_outages(&mut self, world: &World) {
        self.out_since_ms.resize(world.servers.len(), None);
        for (server, since_ms) in world.servers.iter().zip(&mut self.out_since_ms) {
            *since_ms = if server.is_up() { None } else { since_ms.or(Some(world.now_ms)) };
        }
    }

    fn pool(&self, world: &World, backend: usize, config: &BackendConfig) -> Pool {
        let now_ms = world.now_ms;
        let mut free_at_ms: Vec<i64> = Vec::new();
        let servers = world.servers.iter().zip(&self.out_since_ms);
        for (server, out_since_ms) in servers.filter(|(server, _)| server.backend == backend) {
            let slots = server.spec.slots as usize;
            if let Some(since_ms) = out_since_ms {
                free_at_ms.extend(std::iter::repeat_n(now_ms + OUT_MS.max(now_ms - since_ms), slots));
                continue;
            }
            let busy = server.begun().map(|(job, since_ms)| {
                let run = self.run(world, backend, job);
                let left_ms = (float(since_ms - now_ms) + run.p50_ms).max(run.p50_ms * OVERRUN);
                now_ms + whole(left_ms).max(1)
            });
            free_at_ms.extend(busy);
            free_at_ms.extend(std::iter::repeat_n(now_ms, slots.saturating_sub(server.running())));
        }
        free_at_ms.sort_unstable();
        // A provider with fewer workers than our slots: the earliest slots do not exist.
        let surplus = free_at_ms.len().saturating_sub(world.workers_max(backend));
        free_at_ms.drain(..surplus);
        Pool { is_paid: config.paid, free_at_ms, ahead: 0 }
    }

    /// Jobs whose deadline has passed end.
    fn expire(&mut self, world: &mut World) {
        let now_ms = world.now_ms;
        let is_over =
            |job: &usize| world.jobs[*job].job.constraints.deadline_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let over: Vec<usize> = self.waiting.keys().copied().filter(is_over).collect();
        for job in over {
            self.waiting.remove(&job);
            world.end(job, JobState::Expired);
        }
    }

    fn wake(&mut self, world: &mut World, at_ms: i64) {
        let at_ms = at_ms.max(world.now_ms + 1);
        let is_planned =
            self.next_wake_ms.is_some_and(|planned_ms| world.now_ms < planned_ms && planned_ms <= at_ms);
        if !is_planned {
            self.next_wake_ms = Some(at_ms);
            world.wake_at(at_ms, 0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times and money of a run are far below 2^53")]
const fn float(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a time of the run")]
const fn whole(value: f64) -> i64 {
    value as i64
}

fn cost(world: &World, backend: usize, job: usize, run: &Run) -> f64 {
    let setting = &world.setting;
    let name = setting.backends().nth(backend);
    let Some((name, service)) =
        name.and_then(|name| Some((name, setting.service(name, &world.jobs[job].admitted.class)?)))
    else {
        return 0.0;
    };
    float(price(setting, name, service, whole(run.p50_ms).unsigned_abs(), world.now_ms).0)
}

fn is_free(world: &World, job: usize, backend: usize) -> bool {
    world.jobs[job].choice(backend).is_some_and(|choice| choice.cost.0 == 0)
}

impl Strategy for Planned {
    fn notice(&mut self, world: &Shared, notice: Notice) {
        match notice {
            Notice::Arrived(job) => {
                let world = world.borrow();
                let found = &world.jobs[job];
                if let Some(own) = found.choices.iter().find(|choice| choice.cost.0 == 0) {
                    let run_ms = self.run(&world, own.backend, job).p50_ms;
                    self.rates.arrived(float(found.due_ms - found.at_ms), run_ms, world.now_ms);
                }
                self.waiting.insert(job, 1);
            }
            Notice::Failed(failed) => {
                let (job, attempt) = (failed.binding.job, failed.binding.attempt);
                match failed.failure.code {
                    FailureCode::Expired => world.borrow_mut().end(job, JobState::Expired),
                    _ if attempt >= ATTEMPTS_MAX => world.borrow_mut().end(job, JobState::Failed),
                    _ => {
                        self.waiting.insert(job, attempt + 1);
                    }
                }
            }
            Notice::Succeeded { job, backend, run_ms } => {
                let world = world.borrow();
                self.learned.add(backend, &world.jobs[job].admitted.class, run_ms);
                if is_free(&world, job, backend) {
                    let run_ms = float(i64::try_from(run_ms).unwrap_or(i64::MAX));
                    self.rates.used(world.jobs[job].job.tenant.as_str(), run_ms, world.now_ms);
                }
            }
            Notice::Woken(_) => {}
        }
    }

    fn decide(&mut self, world: &Shared) {
        let mut world = world.borrow_mut();
        let now_ms = world.now_ms;
        self.note_outages(&world);
        self.expire(&mut world);
        if self.waiting.is_empty() {
            return;
        }
        let backends = world.setting.config.policy.backends.iter().enumerate();
        let pools: Vec<Pool> = backends.map(|(backend, config)| self.pool(&world, backend, config)).collect();
        let jobs = std::sync::Arc::clone(&world.jobs);
        let mut tenants: Vec<&str> = self.waiting.keys().map(|job| jobs[*job].job.tenant.as_str()).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let config =
            |tenant: &str| Some(world.setting.config.tenants.of(&tenant.parse().ok()?).config.share());
        let share = |tenant: &&str| Share {
            weight: config(tenant).unwrap_or(1.0),
            used_ms: self.rates.used_by(tenant, now_ms),
        };
        let shares: Vec<Share> = tenants.iter().map(share).collect();
        let places: Vec<usize> = self.waiting.keys().copied().collect();
        let waiting: Vec<Waiting> = places.iter().map(|job| self.job(&world, *job, &tenants)).collect();
        let slots = pools.iter().filter(|pool| !pool.is_paid).map(|pool| pool.free_at_ms.len()).sum();
        let expected = self.rates.expected(slots, now_ms);
        let found = schedule(&ScheduleInput {
            now_ms,
            waiting: &waiting,
            pools: &pools,
            tenants: &shares,
            expected: &expected,
            rules: &self.rules,
        });
        for (job, decision) in places.iter().zip(&found.decisions) {
            let Decision::Start { pool } = decision else { continue };
            let Some(attempt) = self.waiting.remove(job) else { continue };
            let setting = Rc::clone(&world.setting);
            let class = &jobs[*job].admitted.class;
            let service = setting.backends().nth(*pool).and_then(|name| setting.service(name, class));
            let timeout_ms = service.map_or(u64::MAX / 4, |service| service.timeout_ms);
            world.bind(*job, attempt, *pool, timeout_ms, None);
        }
        let deadlines = self.waiting.keys().filter_map(|job| jobs[*job].job.constraints.deadline_ms);
        if let Some(at_ms) = deadlines.chain(found.look_again_ms()).min() {
            self.wake(&mut world, at_ms);
        }
    }
}
