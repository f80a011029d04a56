//! Words of a document that would remove a guard of money. Readers do not believe them ([`crate::billing`]); a
//! document that says them is refused when it is set, so that it says what holds.

use schemas::{Catalog, PolicyConfig, Service, Unit, Usage};

use super::{ConfigError, wrong};
use crate::billing::{
    LIMITED_FAMILY, SHORTEST_LIMIT, caps_output, is_output, is_paid_provider, is_paid_service,
    stops_at_reservation,
};

/// Words of document `policy`.
pub(super) fn policy(policy: &PolicyConfig) -> Result<(), ConfigError> {
    for (index, config) in policy.backends.iter().enumerate() {
        if !config.paid && is_paid_provider(config.backend.as_str()) {
            let message = format!(
                "{} bills whatever is said here: write true; to keep it from being used, remove it from tenants' \
                 `backends` or stop its workers",
                config.backend
            );
            return wrong(format!("backends[{index}].paid"), message);
        }
    }
    Ok(())
}

/// Words of document `catalog`.
pub(super) fn catalog(catalog: &Catalog) -> Result<(), ConfigError> {
    for (index, service) in
        catalog.services.iter().enumerate().filter(|(_, service)| is_paid_service(service))
    {
        paid_service(service)
            .map_err(|error| ConfigError { field: format!("services[{index}].{}", error.field), ..error })?;
    }
    Ok(())
}

fn paid_service(service: &Service) -> Result<(), ConfigError> {
    let name = format!("{}/{}", service.backend, service.class);
    if service.stops_at_reservation && !stops_at_reservation(service) {
        let message = format!(
            "only family `{LIMITED_FAMILY}` has a limit that follows from the reserved money and {name} is of family \
             `{}`: write false",
            service.family
        );
        return wrong("stops_at_reservation", message);
    }
    let maximum = &service.maximum_usage;
    if maximum.iter().all(|bound| bound.quantity == 0 || bound.unit == Unit::EnergyMj) {
        let message =
            format!("{name} bills and nothing could be reserved: give the most that an attempt can use");
        return wrong("maximum_usage", message);
    }
    for (at, bound) in maximum.iter().enumerate() {
        if bound.unit == Unit::Unknown {
            return wrong("maximum_usage", "a unit is not known to this version");
        }
        if maximum[..at].iter().any(|other| other.unit == bound.unit) {
            return wrong("maximum_usage", format!("{:?} is there twice", bound.unit));
        }
    }
    let output_of = |usage: &[Usage]| -> u64 {
        let output = usage.iter().filter(|usage| is_output(usage.unit));
        output.map(|usage| usage.quantity).fold(0, u64::saturating_add)
    };
    for expected in service.expected_usage.iter().filter(|usage| usage.unit != Unit::EnergyMj) {
        let own = maximum.iter().find(|bound| bound.unit == expected.unit).map_or(0, |bound| bound.quantity);
        let is_capped = caps_output(service) && is_output(expected.unit);
        let bound = if is_capped { output_of(maximum) } else { own };
        let wanted = if is_capped { output_of(&service.expected_usage) } else { expected.quantity };
        if wanted > bound {
            let message = format!(
                "{:?}: {} are expected of {name} and at most {bound} are reserved: give the most in maximum_usage",
                expected.unit, expected.quantity
            );
            return wrong("expected_usage", message);
        }
    }
    let limit = maximum.iter().find(|bound| bound.unit == SHORTEST_LIMIT.unit);
    if stops_at_reservation(service) && limit.is_none_or(|limit| limit.quantity < SHORTEST_LIMIT.quantity) {
        let least = SHORTEST_LIMIT.quantity;
        return wrong(
            "maximum_usage",
            format!("the provider takes no limit below {least} execution_ms: give as much"),
        );
    }
    Ok(())
}
