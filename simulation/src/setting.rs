//! The four documents by which a run decides: as shipped, but that a job's own word decides whether it may pay.

use std::sync::Arc;

use policy::defaults;
use policy::schedule::patience_ms;
use protocol::FleetConfig;
use schemas::{Backend, Class, Job, PaidConsent, Service, TenantConfig, TenantsConfig};

/// When every run begins, Unix milliseconds: a moment at which the shipped prices hold.
pub const START_MS: i64 = 1_795_428_000_000;

/// The documents of a run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// As routers read them.
    pub config: FleetConfig,
}

impl Default for Setting {
    fn default() -> Self {
        let default = TenantConfig { allow_paid: PaidConsent::WhenAsked, ..TenantConfig::default() };
        let tenants = TenantsConfig { default, ..defaults::tenants() };
        let config = FleetConfig {
            policy: Arc::new(defaults::policy()),
            catalog: Arc::new(defaults::catalog()),
            prices: Arc::new(defaults::prices()),
            tenants: Arc::new(tenants),
            unreadable: Vec::new(),
        };
        Self { config }
    }
}

impl Setting {
    /// The backends, in the order of document `policy`.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.config.policy.backends.iter().map(|config| &config.backend)
    }

    /// The service of a class at a backend.
    #[must_use]
    pub fn service(&self, backend: &Backend, class: &Class) -> Option<&Service> {
        self.config.catalog.service(backend, class)
    }

    /// For how long a job bears to wait, milliseconds.
    #[must_use]
    pub fn patience_ms(&self, job: &Job) -> u64 {
        patience_ms(job, &self.config.policy)
    }
}
