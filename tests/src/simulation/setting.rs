//! The fleet of every run: the shipped configuration with two classes, quick services and small numbers,
//! so that a virtual minute holds what takes an hour in life.

use schemas::{
    Backend, Catalog, Class, MicroUsd, PolicyConfig, PriceList, Tenant, TenantConfig, TenantsConfig,
};

/// When every run begins, Unix milliseconds: eight in the evening (UTC), so that a run's money is one day's,
/// and a job that waits for tomorrow's budget gets it before the run has to be at rest.
pub(crate) const BEGIN_MS: i64 = 1_795_464_000_000;

/// The backends, by number.
pub(crate) const LOCAL: usize = 0;
pub(crate) const CLOUD: usize = 1;
pub(crate) const GEMINI: usize = 2;
const BACKENDS: [&str; 3] = ["local", "cloud", "gemini"];
const CLASSES: [&str; 2] = ["image-small", "image-large"];
const TENANTS: [&str; 2] = ["thrifty", "generous"];

/// How many jobs of one backend a worker runs at once.
pub(crate) const SLOTS: u32 = 4;
/// How many messages a router has in hand at once.
pub(crate) const IN_HAND: u32 = 16;

/// Everything that an operator would configure.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) catalog: Catalog,
    pub(crate) policy: PolicyConfig,
    pub(crate) prices: PriceList,
    pub(crate) tenants: TenantsConfig,
    pub(crate) backends: Vec<Backend>,
    pub(crate) classes: Vec<Class>,
    pub(crate) owners: Vec<Tenant>,
}

impl Setting {
    /// With budgets that stand in the way now and then, or with ample ones.
    pub(crate) fn new(tight: bool) -> Self {
        let name = |text: &str| text.parse().expect("a valid name");
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
        policy.defer_ms = 5_000;
        let mut tenants = policy::defaults::tenants();
        let daily = MicroUsd(if tight { 400_000 } else { 40_000_000 });
        let generous =
            TenantConfig { allow_paid: true, daily_micro_usd: Some(daily), ..TenantConfig::default() };
        tenants.tenants.insert(name(TENANTS[1]), generous);
        tenants.fleet_daily_micro_usd = Some(MicroUsd(daily.0 * 3 / 2));
        Self {
            catalog,
            policy,
            prices: policy::defaults::prices(),
            tenants,
            backends: BACKENDS.iter().map(|text| text.parse().expect("a valid name")).collect(),
            classes,
            owners: TENANTS.iter().map(|text| text.parse().expect("a valid name")).collect(),
        }
    }

    pub(crate) fn backend_number(&self, backend: &Backend) -> usize {
        self.backends.iter().position(|known| known == backend).unwrap_or(LOCAL)
    }

    /// The consumer of a backend and class.
    pub(crate) fn work_consumer(&self, backend: &Backend, class: &Class) -> usize {
        let class = self.classes.iter().position(|known| known == class).unwrap_or_default();
        super::broker::WORK + self.backend_number(backend) * self.classes.len() + class
    }
}
