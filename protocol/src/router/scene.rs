//! What a schedule is made from: the fleet as pools, those that wait with their ways, what tenants have had.

use policy::plan::{Choice, ways};
use policy::schedule::{
    Place, Pools, Rates, Rules, Run, Schedule, ScheduleInput, Share, Waiting, Way, multiple, patience_ms,
    pools, reference, schedule,
};
use schemas::digest::{Digest, DigestJob, DigestKind};
use schemas::{Backend, Job, Tenant};

use crate::router::job::Placement;
use crate::router::view::View;

/// Work that is bound for each slot of our own beyond what runs there, milliseconds, at least one job: a router looks every
/// 100 ms.
const AHEAD_MS: u64 = 500;

/// Jobs that a schedule is made for, those of other routers included.
const STANDING_MAX: usize = 4_096;

/// No price and no time is as large as this, micro-dollars and milliseconds.
const SOUND_MAX: f64 = 1e12;

/// What a schedule is made from.
pub(crate) struct Scene<'a> {
    view: View<'a>,
    pools: Pools,
    waiting: Vec<Waiting>,
    tenants: Vec<Tenant>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(view: View<'a>) -> Self {
        let pools = pools(view.fleet, &view.config.policy, &view.config.catalog, AHEAD_MS, view.now_ms);
        Self { view, pools, waiting: Vec::new(), tenants: Vec::new() }
    }

    /// One more that waits; its place.
    pub(crate) fn stand(&mut self, placement: &Placement<'_>, refused: &[(Backend, String)]) -> usize {
        let input = self.view.input(placement, refused, Choice::Waits { why: "" });
        let found = ways(&input, &self.pools.places);
        let ceiling = placement.job.constraints.max_cost_micro_usd.map(|ceiling| ceiling.0 as f64);
        let reference = reference(&found.ways, ceiling, found.cheapest_paid_micro_usd);
        self.push(placement.job, placement.submitted_at_ms, found.ways, reference)
    }

    /// One more, whose ways are those of another.
    pub(crate) fn stand_like(&mut self, other: usize, placement: &Placement<'_>) -> usize {
        let Waiting { ways, reference_micro_usd, .. } = &self.waiting[other];
        let (ways, reference) = (ways.clone(), *reference_micro_usd);
        self.push(placement.job, placement.submitted_at_ms, ways, reference)
    }

    fn push(&mut self, job: &Job, since_ms: i64, ways: Vec<Way>, reference_micro_usd: f64) -> usize {
        let tenant = self.tenant(&job.tenant);
        self.waiting.push(Waiting {
            since_ms,
            patience_ms: patience_ms(job, &self.view.config.policy),
            deadline_ms: job.constraints.deadline_ms,
            reference_micro_usd,
            profile: multiple(job.preferences.profile),
            tenant,
            ways,
        });
        self.waiting.len() - 1
    }

    fn tenant(&mut self, tenant: &Tenant) -> usize {
        self.tenants.iter().rposition(|known| known == tenant).unwrap_or_else(|| {
            self.tenants.push(tenant.clone());
            self.tenants.len() - 1
        })
    }

    /// What waits in another router's hands. What cannot be is left out: anybody on the broker may have said it.
    pub(crate) fn stand_others(&mut self, digest: &Digest) {
        let kind = |kind: &DigestKind| {
            let is_sound = (0.0..SOUND_MAX).contains(&kind.reference_micro_usd);
            is_sound.then(|| (kind.reference_micro_usd, self.ways_told(kind)))
        };
        let kinds: Vec<_> = digest.kinds.iter().map(kind).collect();
        for DigestJob(since_ms, patience_ms, deadline_ms, profile, tenant, kind) in &digest.jobs {
            let found = kinds.get(*kind as usize).and_then(Option::as_ref);
            let (Some((reference_micro_usd, ways)), Some(tenant)) =
                (found, digest.tenants.get(*tenant as usize))
            else {
                continue;
            };
            if self.waiting.len() >= STANDING_MAX || !(0.0..SOUND_MAX).contains(profile) {
                continue;
            }
            let tenant = self.tenant(tenant);
            self.waiting.push(Waiting {
                since_ms: *since_ms,
                patience_ms: *patience_ms,
                deadline_ms: *deadline_ms,
                reference_micro_usd: *reference_micro_usd,
                profile: *profile,
                tenant,
                ways: ways.clone(),
            });
        }
    }

    /// The ways of a kind of another router's jobs.
    fn ways_told(&self, kind: &DigestKind) -> Vec<Way> {
        let mut ways: Vec<Way> = Vec::new();
        for (nth, (backend, cost_micro_usd, p50_ms, p90_ms)) in kind.ways.iter().enumerate() {
            let is_sound =
                [cost_micro_usd, p50_ms, p90_ms].iter().all(|value| (0.0..SOUND_MAX).contains(*value));
            let capability = kind.capabilities.get(nth);
            for (pool, place) in self.pools.places.iter().enumerate() {
                let is_meant = self.backend(pool) == backend
                    && capability.is_none_or(|capability| *capability == place.capability);
                if is_sound && is_meant && ways.iter().all(|way| way.pool != pool) {
                    let run = Run { p50_ms: p50_ms.max(1.0), p90_ms: p90_ms.max(*p50_ms) };
                    ways.push(Way { pool, cost_micro_usd: *cost_micro_usd, run });
                }
            }
        }
        ways
    }

    /// What the first so many that stand here look like to other routers.
    pub(crate) fn digest(&self, router: &str, count: usize) -> Digest {
        let mut digest =
            Digest { router: router.to_owned(), tenants: self.tenants.clone(), ..Digest::default() };
        for waiting in self.waiting.iter().take(count) {
            let way = |way: &Way| {
                let Run { p50_ms, p90_ms } = way.run;
                (self.backend(way.pool).clone(), way.cost_micro_usd, p50_ms, p90_ms)
            };
            let reference_micro_usd = waiting.reference_micro_usd;
            let told = |way: &Way| self.pools.places[way.pool].capability;
            let mut capabilities: Vec<_> = waiting.ways.iter().map(told).collect();
            if capabilities.iter().all(Option::is_none) {
                capabilities.clear();
            }
            let ways = waiting.ways.iter().map(way).collect();
            let kind = DigestKind { reference_micro_usd, ways, capabilities };
            let place = digest.kinds.iter().rposition(|known| *known == kind).unwrap_or_else(|| {
                digest.kinds.push(kind);
                digest.kinds.len() - 1
            });
            let Waiting { since_ms, patience_ms, deadline_ms, profile, .. } = *waiting;
            let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
            let (tenant, kind) = (number(waiting.tenant), number(place));
            digest.jobs.push(DigestJob(since_ms, patience_ms, deadline_ms, profile, tenant, kind));
        }
        digest
    }

    /// Decides for all that stand here, in their order.
    pub(crate) fn schedule(&self, rates: &Rates) -> Schedule {
        let config = &self.view.config;
        let share = |tenant: &Tenant| Share {
            weight: config.tenants.of(tenant).config.share(),
            used_ms: rates.used_by(tenant.as_str(), self.view.now_ms),
        };
        let tenants: Vec<Share> = self.tenants.iter().map(share).collect();
        let own = self.pools.pools.iter().filter(|pool| !pool.is_paid);
        let slots = own.map(|pool| pool.free_at_ms.len()).sum();
        schedule(&ScheduleInput {
            now_ms: self.view.now_ms,
            waiting: &self.waiting,
            pools: &self.pools.pools,
            tenants: &tenants,
            expected: &rates.expected(slots, self.view.now_ms),
            rules: &Rules::of(&config.policy),
        })
    }

    /// How many stand here.
    pub(crate) const fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) const fn now_ms(&self) -> i64 {
        self.view.now_ms
    }

    pub(crate) fn backend(&self, pool: usize) -> &Backend {
        &self.view.config.policy.backends[self.pools.places[pool].backend].backend
    }

    /// Where a pool is.
    pub(crate) fn place(&self, pool: usize) -> Place {
        self.pools.places[pool]
    }

    pub(crate) fn waiting(&self, place: usize) -> &Waiting {
        &self.waiting[place]
    }

    /// No backend may run it.
    pub(crate) fn is_nowhere(&self, place: usize) -> bool {
        self.waiting[place].ways.is_empty()
    }

    pub(crate) fn is_paid(&self, pool: usize) -> bool {
        self.pools.pools[pool].is_paid
    }

    /// How long it runs in a pool, if that is our own, milliseconds.
    pub(crate) fn own_run_ms(&self, place: usize, pool: usize) -> Option<f64> {
        let way = self.waiting[place].ways.iter().find(|way| way.pool == pool)?;
        (!self.is_paid(pool)).then_some(way.run.p50_ms)
    }

    /// The shortest time that it takes a slot of our own, if it may use one, milliseconds.
    pub(crate) fn own_ms(&self, place: usize) -> Option<f64> {
        let own = self.waiting[place].ways.iter().filter(|way| !self.is_paid(way.pool));
        own.map(|way| way.run.p50_ms).min_by(f64::total_cmp)
    }

    /// The cheapest paid way: where, and for how much, micro-dollars.
    pub(crate) fn cheapest_paid(&self, place: usize) -> Option<(&Backend, f64)> {
        let paid = self.waiting[place].ways.iter().filter(|way| self.is_paid(way.pool));
        let least = paid.min_by(|one, other| one.cost_micro_usd.total_cmp(&other.cost_micro_usd))?;
        Some((self.backend(least.pool), least.cost_micro_usd))
    }
}
