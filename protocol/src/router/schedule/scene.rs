//! What a schedule is made from: the fleet as pools, those that wait with their ways, what tenants have had.

use policy::fleet::Fleet;
use policy::plan::{Choice, PlanInput, Ways, ways};
use policy::schedule::{
    Pool, Rates, Rules, Schedule, ScheduleInput, Share, Waiting, multiple, patience_ms, pools, reference, schedule,
};
use schemas::{Backend, Job, Tenant};

use crate::ports::FleetConfig;
use crate::router::job::Placement;

/// Jobs bound for each slot of our own beyond the one that runs there.
const AHEAD: usize = 1;

/// What a schedule is made from.
pub(crate) struct Scene<'a> {
    config: &'a FleetConfig,
    fleet: &'a Fleet,
    is_ledger_available: bool,
    pub(super) now_ms: i64,
    pools: Vec<Pool>,
    waiting: Vec<Waiting>,
    tenants: Vec<Tenant>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        config: &'a FleetConfig,
        fleet: &'a Fleet,
        is_ledger_available: bool,
        now_ms: i64,
    ) -> Self {
        let pools = pools(fleet, &config.policy, &config.catalog, AHEAD, now_ms);
        let (waiting, tenants) = (Vec::new(), Vec::new());
        Self { config, fleet, is_ledger_available, now_ms, pools, waiting, tenants }
    }

    /// One more that waits; its place.
    pub(crate) fn stand(&mut self, placement: &Placement<'_>, refused: &[(Backend, String)]) -> usize {
        let found = self.ways(placement, refused);
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

    fn push(
        &mut self,
        job: &Job,
        since_ms: i64,
        ways: Vec<policy::schedule::Way>,
        reference_micro_usd: f64,
    ) -> usize {
        let tenant = self.tenants.iter().rposition(|tenant| *tenant == job.tenant).unwrap_or_else(|| {
            self.tenants.push(job.tenant.clone());
            self.tenants.len() - 1
        });
        self.waiting.push(Waiting {
            since_ms,
            patience_ms: patience_ms(job, &self.config.policy),
            deadline_ms: job.constraints.deadline_ms,
            reference_micro_usd,
            profile: multiple(job.preferences.profile),
            tenant,
            ways,
        });
        self.waiting.len() - 1
    }

    fn ways(&self, placement: &Placement<'_>, refused: &[(Backend, String)]) -> Ways {
        ways(&PlanInput {
            job: placement.job,
            admitted: placement.admitted,
            attempt: placement.attempt,
            counted_attempts: placement.counted_attempts,
            history: placement.history,
            fleet: self.fleet,
            catalog: &self.config.catalog,
            prices: &self.config.prices,
            policy: &self.config.policy,
            tenant: self.config.tenants.of(&placement.job.tenant),
            ledger_available: self.is_ledger_available,
            refused,
            choice: Choice::Waits { why: "" },
            now_ms: self.now_ms,
        })
    }

    /// Decides for all that stand here, in their order.
    pub(super) fn schedule(&self, rates: &Rates) -> Schedule {
        let share =
            |tenant: &Tenant| Share { weight: 1.0, used_ms: rates.used_by(tenant.as_str(), self.now_ms) };
        let tenants: Vec<Share> = self.tenants.iter().map(share).collect();
        let own = self.pools.iter().filter(|pool| !pool.is_paid);
        let slots = own.map(|pool| pool.free_at_ms.len()).sum();
        schedule(&ScheduleInput {
            now_ms: self.now_ms,
            waiting: &self.waiting,
            pools: &self.pools,
            tenants: &tenants,
            expected: &rates.expected(slots, self.now_ms),
            rules: &Rules::default(),
        })
    }

    pub(super) fn backend(&self, pool: usize) -> &Backend {
        &self.config.policy.backends[pool].backend
    }

    pub(crate) fn waiting(&self, place: usize) -> &Waiting {
        &self.waiting[place]
    }

    /// Nothing may run it, whoever comes.
    pub(super) fn is_nowhere(&self, place: usize) -> bool {
        self.waiting[place].ways.is_empty()
    }

    pub(crate) fn is_paid(&self, pool: usize) -> bool {
        self.pools[pool].is_paid
    }

    /// How long it runs in a pool, if that is our own, milliseconds.
    pub(super) fn own_run_ms(&self, place: usize, pool: usize) -> Option<f64> {
        let way = self.waiting[place].ways.iter().find(|way| way.pool == pool)?;
        (!self.is_paid(pool)).then_some(way.run.p50_ms)
    }

    /// The shortest time that it takes a slot of our own, if it may use one, milliseconds.
    pub(crate) fn own_ms(&self, place: usize) -> Option<f64> {
        let own = self.waiting[place].ways.iter().filter(|way| !self.is_paid(way.pool));
        own.map(|way| way.run.p50_ms).min_by(f64::total_cmp)
    }

    /// The cheapest paid way: where, and for how much, micro-dollars.
    pub(super) fn cheapest_paid(&self, place: usize) -> Option<(&Backend, f64)> {
        let paid = self.waiting[place].ways.iter().filter(|way| self.is_paid(way.pool));
        let least = paid.min_by(|one, other| one.cost_micro_usd.total_cmp(&other.cost_micro_usd))?;
        Some((self.backend(least.pool), least.cost_micro_usd))
    }
}
