//! Refuses configuration that would decide badly, before it is used: when it is set, and again by every process that
//! reads it. Hot reload keeps the old document when the new one is refused.

mod across;
mod document;
mod guards;

use std::collections::BTreeSet;

use schemas::{Catalog, MicroUsd, PolicyConfig, TenantConfig, TenantsConfig, Terms, workflow};

pub use self::across::across;
pub use self::document::{Document, KEYS, Refused, check, check_stored, read};

use crate::backoff::Backoff;

/// What is wrong with a configuration document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigError {
    /// Dotted path of the field.
    pub field: String,
    /// What is wrong, and the cure.
    pub message: String,
}

fn wrong<T>(field: impl Into<String>, message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError { field: field.into(), message: message.into() })
}

/// Checks the document `policy`.
///
/// # Errors
/// The first field that is wrong.
pub fn policy(policy: &PolicyConfig) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for (index, config) in policy.backends.iter().enumerate() {
        let field = |part: &str| format!("backends[{index}].{part}");
        if !names.insert(&config.backend) {
            return wrong(field("backend"), format!("{} is there twice", config.backend));
        }
        if config.rank == 0 {
            return wrong(field("rank"), "ranks count from 1");
        }
        if config.backlog_per_slot == 0 {
            return wrong(field("backlog_per_slot"), "0 would let nothing through: use 1 or more");
        }
    }
    if names.is_empty() {
        return wrong("backends", "name at least one backend");
    }
    for (profile, terms) in &policy.profiles {
        weights(&format!("profiles.{}", profile.as_str()), *terms)?;
    }
    if let Err(error) = Backoff::try_new(policy.backoff_min_ms, policy.backoff_max_ms) {
        return wrong("backoff_min_ms", error.to_string());
    }
    let positive = [
        ("patience_ms", policy.patience_ms),
        ("max_attempts", policy.max_attempts.into()),
        ("max_attempts_per_backend", policy.max_attempts_per_backend.into()),
        ("max_attempts_ever", policy.max_attempts_ever.into()),
        ("breaker_failures", policy.breaker_failures.into()),
        ("offer_max_age_ms", policy.offer_max_age_ms),
        ("defer_ms", policy.defer_ms),
        ("max_passed_over", policy.max_passed_over.into()),
    ];
    match positive.into_iter().find(|(_, value)| *value == 0) {
        Some((field, _)) => wrong(field, "must be 1 or more"),
        None => Ok(()),
    }
}

fn weights(field: &str, terms: Terms) -> Result<(), ConfigError> {
    let all = [terms.priority, terms.cost, terms.speed, terms.queue];
    if all.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
        return wrong(field, "weights must be numbers of 0 or more");
    }
    if all.iter().sum::<f64>() <= 0.0 {
        return wrong(field, "at least one weight must be more than 0");
    }
    Ok(())
}

/// Checks the document `tenants`.
///
/// # Errors
/// The first field that is wrong.
pub fn tenants(tenants: &TenantsConfig) -> Result<(), ConfigError> {
    let fleet = [
        ("fleet_daily_micro_usd".to_owned(), tenants.fleet_daily_micro_usd),
        ("fleet_monthly_micro_usd".to_owned(), tenants.fleet_monthly_micro_usd),
    ];
    let named = tenants.tenants.iter().map(|(tenant, config)| (format!("tenants.{tenant}"), config));
    let all = std::iter::once(("default".to_owned(), &tenants.default)).chain(named);
    for (at, config) in all.clone() {
        if config.weight.is_some_and(|weight| !(1..=TenantConfig::WEIGHT_MAX).contains(&weight)) {
            let most = TenantConfig::WEIGHT_MAX;
            return wrong(format!("{at}.weight"), format!("must be 1 to {most}, or absent, which means 1"));
        }
    }
    let each = all.flat_map(|(at, config)| {
        [
            (format!("{at}.daily_micro_usd"), config.daily_micro_usd),
            (format!("{at}.monthly_micro_usd"), config.monthly_micro_usd),
        ]
    });
    for (field, budget) in fleet.into_iter().chain(each) {
        if let Some(budget) = budget.filter(|budget| *budget < MicroUsd::ZERO) {
            return wrong(
                field,
                format!("{} is below 0: write 0 to spend nothing, or leave it out", budget.0),
            );
        }
    }
    Ok(())
}

/// Checks the document `catalog`.
///
/// # Errors
/// The first field that is wrong.
pub fn catalog(catalog: &Catalog) -> Result<(), ConfigError> {
    let classes: BTreeSet<_> = catalog.classes.iter().map(|spec| &spec.class).collect();
    if classes.len() < catalog.classes.len() {
        return wrong("classes", "a class is there twice");
    }
    for (index, model) in catalog.models.iter().enumerate() {
        if !classes.contains(&model.class) {
            return wrong(format!("models[{index}].class"), format!("{} is not in classes", model.class));
        }
        if catalog.models[..index].iter().any(|other| other.model == model.model) {
            return wrong(format!("models[{index}].model"), format!("{} is there twice", model.model));
        }
        if model.template.is_null() {
            continue;
        }
        if let Err(error) = workflow::requirements(&model.template) {
            return wrong(format!("models[{index}].template"), error.to_string());
        }
    }
    for (kind, model) in &catalog.default_models {
        if catalog.model(model).is_none() {
            return wrong(format!("default_models.{}", kind.as_str()), format!("{model} is not in models"));
        }
    }
    for (kind, class) in &catalog.default_classes {
        if !classes.contains(class) {
            return wrong(format!("default_classes.{}", kind.as_str()), format!("{class} is not in classes"));
        }
    }
    services(catalog, &classes)
}

fn services(catalog: &Catalog, classes: &BTreeSet<&schemas::Class>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for (index, service) in catalog.services.iter().enumerate() {
        let field = |part: &str| format!("services[{index}].{part}");
        if !classes.contains(&service.class) {
            return wrong(field("class"), format!("{} is not in classes", service.class));
        }
        if !seen.insert((&service.backend, &service.class)) {
            return wrong(field("class"), format!("{} makes {} twice", service.backend, service.class));
        }
        if service.timeout_ms == 0 {
            return wrong(field("timeout_ms"), "must be 1 or more");
        }
    }
    Ok(())
}
