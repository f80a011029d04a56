//! The configuration that is shipped: policy, tenants, prices and catalog, as the JSON files an
//! operator would edit.

use schemas::{Catalog, PolicyConfig, PriceList, TenantsConfig};
use serde::de::DeserializeOwned;

/// The key `policy` of the `CONFIG` bucket, as shipped.
pub const POLICY_JSON: &str = include_str!("../defaults/policy.json");
/// The key `tenants`, as shipped: nobody spends money.
pub const TENANTS_JSON: &str = include_str!("../defaults/tenants.json");
/// The key `prices`, as shipped: list prices of late 2026.
pub const PRICES_JSON: &str = include_str!("../defaults/prices.json");
/// The key `catalog`, as shipped.
pub const CATALOG_JSON: &str = include_str!("../defaults/catalog.json");

/// The shipped policy.
#[must_use]
pub fn policy() -> PolicyConfig {
    parsed(POLICY_JSON)
}

/// The shipped tenants: a default whose word on paid backends is `never`, and no entries.
#[must_use]
pub fn tenants() -> TenantsConfig {
    parsed(TENANTS_JSON)
}

/// The shipped prices.
#[must_use]
pub fn prices() -> PriceList {
    parsed(PRICES_JSON)
}

/// The shipped catalog.
#[must_use]
pub fn catalog() -> Catalog {
    parsed(CATALOG_JSON)
}

fn parsed<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the shipped files are part of the build, and tests read them")
}
