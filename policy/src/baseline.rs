//! What work would have cost elsewhere: the yardstick of savings.

use schemas::{Backend, Catalog, Class, MicroUsd, PriceList};

use crate::cost::price_of;

/// The expected cost of one attempt in a class at a backend, at the prices of that time.
///
/// None when the backend does not make the class, or has no price for it: such a job is left out of a
/// comparison rather than counted as free.
#[must_use]
pub fn baseline(
    class: &Class,
    backend: &Backend,
    catalog: &Catalog,
    prices: &PriceList,
    at_ms: i64,
) -> Option<MicroUsd> {
    let service = catalog.service(backend, class)?;
    price_of(&service.expected_usage, backend, &service.model, prices, at_ms).ok()
}
