//! Names of buckets.

/// Worker id to offer.
pub const WORKERS: &str = "WORKERS";
/// Attempt id to claim, paid work only.
pub const ATTEMPTS: &str = "ATTEMPTS";
/// Tenant and job id to a cancel request ([`crate::cancel`]), read by routers and workers.
pub const CANCELS: &str = "CANCELS";
/// Tenant and idempotency key to the first job that came with them.
pub const KEYS: &str = "KEYS";
/// `policy`, `catalog`, `prices`, `tenants`.
pub const CONFIG: &str = "CONFIG";
/// Backend, endpoint and UTC day to what the provider billed ([`crate::bill`]).
pub const BILLS: &str = "BILLS";
/// Provider, kind of failure and model to what keeps it out ([`crate::breaker`]).
pub const BREAKERS: &str = "BREAKERS";
/// Files, as an object store.
pub const ARTIFACTS: &str = "ARTIFACTS";
