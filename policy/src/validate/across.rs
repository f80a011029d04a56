//! What does not fit between documents that are good by themselves. Nothing here is unsafe: a plan rejects a backend
//! whose cost it cannot tell. But somebody should look.

use schemas::{Catalog, PolicyConfig, PriceList, Unit};

use super::ConfigError;
use crate::billing::{is_paid, is_paid_service};
use crate::cost::{price_of, unbounded_units};

/// Everything that does not fit, by document and field.
#[must_use]
pub fn across(policy: &PolicyConfig, catalog: &Catalog, prices: &PriceList, now_ms: i64) -> Vec<ConfigError> {
    let mut found = Vec::new();
    let mut say = |field: String, message: String| found.push(ConfigError { field, message });
    let always = now_ms..=i64::MAX;
    for (index, service) in catalog.services.iter().enumerate() {
        let name = format!("{}/{}", service.backend, service.class);
        let field = |part: &str| format!("catalog: services[{index}].{part}");
        let configured = policy.backends.iter().find(|config| config.backend == service.backend);
        let Some(config) = configured else {
            say(
                field("backend"),
                format!("{} is not in document policy: nothing is placed there", service.backend),
            );
            continue;
        };
        let retired = service.retires_at_ms.is_some_and(|retires_at_ms| retires_at_ms <= now_ms);
        if retired || !is_paid(config, [service], []) {
            continue;
        }
        if let Err(error) = price_of(&service.maximum_usage, &service.backend, &service.model, prices, now_ms)
        {
            say(field("maximum_usage"), format!("{name} is not used: {error}; add it to document prices"));
        }
        let mut units: Vec<Unit> = unbounded_units(service, prices, &always).collect();
        units.sort_unstable();
        units.dedup();
        for unit in units {
            say(
                field("maximum_usage"),
                format!(
                    "{name} is not used: {unit:?} has a price and no bound; give the most that an attempt can use"
                ),
            );
        }
    }
    for (index, config) in policy.backends.iter().enumerate().filter(|(_, config)| !config.paid) {
        if catalog.services_of(&config.backend).any(is_paid_service) {
            let message =
                format!("{} bills by its protocol, whatever is said here: write true", config.backend);
            say(format!("policy: backends[{index}].paid"), message);
        }
    }
    for (index, price) in prices.prices.iter().enumerate() {
        let holds = price.valid_until_ms.is_none_or(|until_ms| now_ms < until_ms);
        let bills = catalog.services_of(&price.backend).any(is_paid_service);
        if holds && bills && price.unit != Unit::EnergyMj && price.micro_usd_per_million.0 == 0 {
            let message =
                format!("{:?} of {}/{} is charged as nothing", price.unit, price.backend, price.model);
            say(format!("prices: prices[{index}].micro_usd_per_million"), message);
        }
    }
    found
}
