//! As which tenant the routers are asked.

use clap::Args;
use schemas::Tenant;

/// As which tenant a command asks about jobs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Whose {
    /// Ask as this tenant, to whom jobs of others are unknown. Without it the answer is about jobs of all tenants
    #[arg(long, env = "ARGOSY_TENANT", value_name = "TENANT")]
    pub(crate) tenant: Option<Tenant>,
}
