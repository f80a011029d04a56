//! The fleet of every run: the shipped configuration with two classes, quick services and small numbers,
//! so that a virtual minute holds what takes an hour in life.

use std::sync::Arc;

use schemas::config::Scoring;
use schemas::{
    Backend, Capability, Catalog, Class, Job, MicroUsd, PaidConsent, PolicyConfig, PriceList, Queue, Tenant,
    TenantConfig, TenantsConfig,
};

use super::chance::Chance;
use super::mutation::Mutation;

/// When every run begins, Unix milliseconds: eight in the evening (UTC), so that a run's money is one day's,
/// and a job that waits for tomorrow's budget gets it before the run has to be at rest.
pub(crate) const BEGIN_MS: i64 = 1_795_464_000_000;

/// The backends, by number.
pub(crate) const LOCAL: usize = 0;
pub(crate) const CLOUD: usize = 1;
pub(crate) const GEMINI: usize = 2;
const BACKENDS: [&str; 3] = ["local", "cloud", "gemini"];
const CLASSES: [&str; 2] = ["image-small", "image-large"];
const GENEROUS: &str = "generous";
const STRICT: &str = "strict";
/// Thrifty jobs come under these names in turn: two that no document lists, and one whose word is `never`.
const THRIFTY: [&str; 3] = ["thrifty", "invented", STRICT];

/// In so many of a thousand runs each job is placed by its own score; in the others all that wait together.
const WEIGHTED_PER_MILLE: u64 = 250;

/// In so many of a thousand runs our own servers differ, and the work of each has queues of its own.
const UNLIKE_PER_MILLE: u64 = 300;
/// What sets them apart, in turn.
const CAPABILITIES: [&str; 2] = ["0000000a", "0000000b"];

/// How many jobs of one backend a worker runs at once.
pub(crate) const SLOTS: u32 = 4;
/// How many messages a router has in hand at once.
pub(crate) const IN_HAND: u32 = 16;

/// Everything that an operator would configure.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) policy: Arc<PolicyConfig>,
    pub(crate) prices: Arc<PriceList>,
    pub(crate) tenants: Arc<TenantsConfig>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) classes: Vec<Class>,
    /// What sets our own servers apart; none in runs where they are all alike.
    capabilities: Vec<Capability>,
    /// The queues of work, in the order of their consumers.
    pub(crate) queues: Vec<(usize, Queue)>,
    generous: Tenant,
    thrifty: [Tenant; 3],
}

impl Setting {
    /// Of a run: with budgets that stand in the way now and then, or with ample ones; with each job placed by its own score,
    /// or all that wait together.
    pub(crate) fn of(seed: u64) -> Self {
        let tight = Chance::keyed(seed, [1, 2, 3]).per_mille(200);
        let weighted = Chance::keyed(seed, [14, 14, 14]).per_mille(WEIGHTED_PER_MILLE);
        let classes: Vec<Class> = CLASSES.iter().map(|text| text.parse().expect("a valid name")).collect();
        let mut catalog = policy::defaults::catalog();
        catalog.services.retain(|service| classes.contains(&service.class));
        catalog.classes.retain(|spec| classes.contains(&spec.class));
        catalog.models.retain(|model| classes.contains(&model.class));
        for service in &mut catalog.services {
            service.startup_ms = 200;
            service.expected_ms = 2_000;
            service.timeout_ms = 40_000;
        }
        let mut policy = policy::defaults::policy();
        policy.scoring = if weighted { Scoring::Weighted } else { Scoring::Schedule };
        policy.defer_ms = 5_000;
        policy.overdue_after_ms = 30_000;
        let mut tenants = policy::defaults::tenants();
        let daily = MicroUsd(if tight { 400_000 } else { 40_000_000 });
        let with_word = |allow_paid| TenantConfig { allow_paid, ..TenantConfig::default() };
        let generous = TenantConfig { daily_micro_usd: Some(daily), ..with_word(PaidConsent::Always) };
        tenants.tenants.insert(name_of(GENEROUS), generous);
        tenants.tenants.insert(name_of(STRICT), with_word(PaidConsent::Never));
        // All others may spend when their jobs ask for it, and share one budget.
        tenants.default = TenantConfig { daily_micro_usd: Some(daily), ..with_word(PaidConsent::WhenAsked) };
        tenants.fleet_daily_micro_usd = Some(MicroUsd(daily.0 * 3 / 2));
        let unlike = Chance::keyed(seed, [15, 15, 15]).per_mille(UNLIKE_PER_MILLE);
        let capabilities: Vec<Capability> =
            CAPABILITIES.iter().filter(|_| unlike).map(|text| text.parse().expect("digits")).collect();
        let mut queues = Vec::new();
        let all = |capability| classes.iter().map(move |class| Queue { class: class.clone(), capability });
        (0..BACKENDS.len()).for_each(|backend| queues.extend(all(None).map(|queue| (backend, queue))));
        for capability in &capabilities {
            queues.extend(all(Some(*capability)).map(|queue| (LOCAL, queue)));
        }
        Self {
            catalog: Arc::new(catalog),
            policy: Arc::new(policy),
            prices: Arc::new(policy::defaults::prices()),
            tenants: Arc::new(tenants),
            backends: BACKENDS.iter().map(|text| text.parse().expect("a valid name")).collect(),
            classes,
            capabilities,
            queues,
            generous: name_of(GENEROUS),
            thrifty: THRIFTY.map(name_of),
        }
    }

    /// Whose a job is.
    pub(crate) fn owner(&self, is_generous: bool, job: u32) -> Tenant {
        if is_generous {
            self.generous.clone()
        } else {
            self.thrifty[job as usize % self.thrifty.len()].clone()
        }
    }

    /// The tenants as routers and ledger see them when they place a job; not as they are only under a mutation.
    pub(crate) fn tenants_for(&self, job: &Job, mutation: Mutation) -> Arc<TenantsConfig> {
        let policy = self.tenants.of(&job.tenant);
        let misread = match mutation {
            Mutation::TrustTheJob if job.constraints.allow_paid == Some(true) => {
                TenantConfig { allow_paid: PaidConsent::Always, ..policy.config.clone() }
            }
            _ => return Arc::clone(&self.tenants),
        };
        let mut tenants = TenantsConfig::clone(&self.tenants);
        tenants.tenants.insert(job.tenant.clone(), misread);
        Arc::new(tenants)
    }

    pub(crate) fn backend_number(&self, backend: &Backend) -> usize {
        self.backends.iter().position(|known| known == backend).unwrap_or(LOCAL)
    }

    /// What sets the server of a worker apart, by the number of its process.
    pub(crate) fn capability(&self, backend: usize, process: usize) -> Option<Capability> {
        let own = self.capabilities.iter().cycle().nth(process % CAPABILITIES.len());
        own.filter(|_| backend == LOCAL).copied()
    }

    /// The consumer of a backend's queue.
    pub(crate) fn work_consumer(&self, backend: &Backend, queue: &Queue) -> usize {
        let backend = self.backend_number(backend);
        let place = self.queues.iter().position(|(of, known)| *of == backend && known == queue);
        super::broker::WORK + place.unwrap_or_default()
    }

    /// At which backend a consumer's work waits.
    pub(crate) fn backend_of(&self, consumer: usize) -> Option<usize> {
        let place = consumer.checked_sub(super::broker::WORK)?;
        self.queues.get(place).map(|(backend, _)| *backend)
    }

    /// Whether a worker of a backend takes work from a consumer.
    pub(crate) fn reads(&self, backend: usize, process: usize, consumer: usize) -> bool {
        let queue = consumer.checked_sub(super::broker::WORK).and_then(|place| self.queues.get(place));
        queue.is_some_and(|(of, queue)| {
            let is_for_all = queue.capability.is_none();
            *of == backend && (is_for_all || queue.capability == self.capability(backend, process))
        })
    }
}

fn name_of(text: &str) -> Tenant {
    text.parse().expect("a valid name")
}
