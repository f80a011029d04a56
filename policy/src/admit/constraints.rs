//! Constraints and preferences: can they hold for any backend, at any time?

use schemas::{Backend, Failure, FailureCode, Job, MicroUsd, PolicyConfig, Profile};

pub(super) fn check(job: &Job, policy: &PolicyConfig, now_ms: i64) -> Result<(), Failure> {
    if let Some(ceiling) = job.constraints.max_cost_micro_usd {
        check_ceiling(ceiling, policy.limits.max_cost_max_micro_usd)?;
    }
    if let Some(deadline_ms) = job.constraints.deadline_ms {
        check_deadline(deadline_ms, job.time_ms, now_ms)?;
    }
    if job.constraints.max_attempts == Some(0) {
        return Err(Failure::invalid(
            "constraints.max_attempts",
            "constraints.max_attempts is 0: it must be 1 or more, or be left out",
        ));
    }
    check_backends(job, policy)
}

fn check_ceiling(ceiling: MicroUsd, most: MicroUsd) -> Result<(), Failure> {
    let field = "constraints.max_cost_micro_usd";
    if ceiling < MicroUsd::ZERO {
        return Err(Failure::invalid(
            field,
            format!("{field} is {}: it must be 0 (free backends only) or more, or be left out", ceiling.0),
        ));
    }
    if ceiling > most {
        return Err(Failure::invalid(
            field,
            format!(
                "{field} is {} ({ceiling}): at most {} ({most}) are taken seriously; the unit is micro-dollars, \
                 1000000 are one dollar",
                ceiling.0, most.0
            ),
        ));
    }
    Ok(())
}

/// A deadline before the job was even made is the client's mistake; one that passed since then is not.
fn check_deadline(deadline_ms: i64, made_ms: i64, now_ms: i64) -> Result<(), Failure> {
    let field = "constraints.deadline_ms";
    if deadline_ms > now_ms && deadline_ms > 0 {
        return Ok(());
    }
    let text = format!(
        "{field} is {deadline_ms}, which is in the past (now {now_ms}): send Unix milliseconds in the future, or \
         leave it out"
    );
    let mut failure = Failure::invalid(field, text);
    if deadline_ms > made_ms {
        failure.code = FailureCode::Expired;
        failure.message = format!("{field} {deadline_ms} passed before a backend could take the job");
    }
    Err(failure)
}

fn check_backends(job: &Job, policy: &PolicyConfig) -> Result<(), Failure> {
    let constraints = &job.constraints;
    if let Some(only) = &constraints.backends {
        let field = "constraints.backends";
        if only.is_empty() {
            return Err(Failure::invalid(
                field,
                format!("{field} is empty, so nothing may run the job: name backends, or leave it out"),
            ));
        }
        for backend in only {
            check_known(field, backend, policy)?;
        }
    }
    for backend in &constraints.exclude_backends {
        check_known("constraints.exclude_backends", backend, policy)?;
    }
    let allowed = |backend: &Backend| {
        constraints.backends.as_ref().is_none_or(|only| only.contains(backend))
            && !constraints.exclude_backends.contains(backend)
    };
    if !policy.backends.iter().any(|config| allowed(&config.backend)) {
        return Err(Failure::invalid(
            "constraints.exclude_backends",
            "constraints.exclude_backends leaves no backend to run the job: remove one of its entries",
        ));
    }
    Ok(())
}

pub(super) fn check_preferences(job: &Job, policy: &PolicyConfig) -> Result<(), Failure> {
    if job.preferences.profile == Profile::Unknown {
        return Err(Failure::invalid(
            "preferences.profile",
            "preferences.profile is not known: use balanced, cheapest or fastest",
        ));
    }
    if job.preferences.patience_ms == Some(0) {
        return Err(Failure::invalid(
            "preferences.patience_ms",
            "preferences.patience_ms is 0: it must be 1 or more milliseconds, or be left out",
        ));
    }
    job.preferences
        .backend
        .as_ref()
        .map_or(Ok(()), |backend| check_known("preferences.backend", backend, policy))
}

fn check_known(field: &str, backend: &Backend, policy: &PolicyConfig) -> Result<(), Failure> {
    if policy.backends.iter().any(|config| config.backend == *backend) {
        return Ok(());
    }
    let mut names: Vec<_> = policy.backends.iter().map(|config| config.backend.as_str()).collect();
    names.sort_unstable();
    Err(Failure::invalid(
        field,
        format!("{field} names `{backend}`, which is not configured: use one of {}", names.join(", ")),
    ))
}
