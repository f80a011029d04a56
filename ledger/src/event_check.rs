//! Whether an event can be booked. What cannot is put aside with the reason, never dropped and never
//! allowed to stop those behind it.

use std::sync::Arc;

use schemas::{
    AttemptFacts, Candidate, ChargeState, Decision, Event, Fact, Failure, FailureCode, MicroUsd, Terms,
};

/// An event that can be stored, and its JSON as it will be.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The event, its texts free of what Postgres cannot hold.
    pub event: Arc<Event>,
    /// The same as JSON text.
    pub body: String,
}

/// Checks an event before it is stored.
///
/// # Errors
/// The reason for putting it aside: a kind or charge state of a newer version (`unknown`), or values
/// that cannot be (`invalid_job`, naming the field).
pub fn check(event: Event) -> Result<Checked, Failure> {
    if u32::try_from(i32::MAX).is_ok_and(|max| event.attempt > max) {
        return Err(Failure::invalid("attempt", format!("{} is not an attempt's number", event.attempt)));
    }
    match &event.fact {
        Fact::Unknown => Err(Failure::new(
            FailureCode::Unknown,
            format!("event {} is of a kind that this version does not know: upgrade the ledger", event.id),
        ))?,
        Fact::Assigned { reserved_micro_usd, decision, .. } => {
            require_number("attempt", event.attempt)?;
            require_money("fact.reserved_micro_usd", *reserved_micro_usd)?;
            require_decision("fact.decision", decision)?;
        }
        Fact::Running { .. } => require_number("attempt", event.attempt)?,
        Fact::Retrying { ended_attempt, .. } | Fact::Charged { ended_attempt, .. } => {
            require_attempt("fact.ended_attempt", ended_attempt)?;
        }
        Fact::Ended { state, attempts, .. } => {
            if !state.is_terminal() {
                let message = format!("`{}` is not a terminal state", state.as_str());
                return Err(Failure::invalid("fact.state", message));
            }
            for attempt in attempts {
                require_attempt("fact.attempts", attempt)?;
            }
        }
        Fact::Refused { .. } | Fact::Duplicate { .. } => {}
    }
    Ok(without_nul(event))
}

fn require_number(field: &str, attempt: u32) -> Result<(), Failure> {
    if attempt == 0 || i32::try_from(attempt).is_err() {
        return Err(Failure::invalid(
            field,
            format!("{attempt} is not an attempt's number: they begin at 1"),
        ));
    }
    Ok(())
}

fn require_money(field: &str, amount: MicroUsd) -> Result<(), Failure> {
    if amount < MicroUsd::ZERO {
        return Err(Failure::invalid(field, format!("{amount} is negative")));
    }
    Ok(())
}

fn require_decision(field: &str, decision: &Decision) -> Result<(), Failure> {
    let finite = |Terms { priority, cost, speed, queue }: Terms| {
        [priority, cost, speed, queue].iter().all(|number| number.is_finite())
    };
    let scored = |candidate: &Candidate| candidate.score.is_finite() && finite(candidate.terms);
    if finite(decision.weights) && decision.candidates.iter().all(scored) {
        return Ok(());
    }
    Err(Failure::invalid(field, "a score or a weight is not a finite number"))
}

fn require_attempt(field: &str, facts: &AttemptFacts) -> Result<(), Failure> {
    require_number(&format!("{field}.attempt"), facts.attempt)?;
    require_money(&format!("{field}.charge.amount_micro_usd"), facts.charge.amount_micro_usd)?;
    if facts.charge.state == ChargeState::Unknown {
        return Err(Failure::new(
            FailureCode::Unknown,
            format!("{field}.charge.state is of a newer version: upgrade the ledger"),
        ));
    }
    let Some(decision) = &facts.decision else { return Ok(()) };
    let field = format!("{field}.decision");
    let decision = decision.read().map_err(|error| Failure::invalid(&field, error.to_string()))?;
    require_decision(&field, decision)
}

/// Postgres holds every character but NUL, which providers' answers and clients' labels may contain.
fn without_nul(event: Event) -> Checked {
    let body = serde_json::to_string(&event).unwrap_or_default();
    // Hardly ever there, and sought as JSON writes it; a text that only looks so is none the worse.
    if body.contains(NUL)
        && let Ok(mut value) = serde_json::from_str(&body)
        && strip(&mut value)
        && let Ok(event) = serde_json::from_value(value.clone())
    {
        return Checked { event: Arc::new(event), body: value.to_string() };
    }
    Checked { event: Arc::new(event), body }
}

/// A NUL in JSON text.
const NUL: &str = "\\u0000";

/// Removes NULs from all texts; true when there was one.
fn strip(value: &mut serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains('\0') => {
            text.retain(|c| c != '\0');
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| strip(item) | found),
        Value::Object(map) => {
            let mut found = map.values_mut().fold(false, |found, item| strip(item) | found);
            if map.keys().any(|key| key.contains('\0')) {
                found = true;
                *map = std::mem::take(map).into_iter().map(|(k, v)| (k.replace('\0', ""), v)).collect();
            }
            found
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use schemas::{CarriedDecision, JobState, samples};

    use super::*;

    fn changed(index: usize, change: impl FnOnce(&mut Event)) -> Result<Checked, Failure> {
        let mut event = samples::events().swap_remove(index);
        change(&mut event);
        check(event)
    }

    #[test]
    fn samples_pass_and_come_back_from_json() {
        for event in samples::events() {
            let checked = check(event.clone()).expect("samples are fine");
            assert_eq!(*checked.event, event);
            assert_eq!(serde_json::from_str::<Event>(&checked.body).expect("readable"), event);
        }
    }

    #[test]
    fn what_cannot_be_booked_is_refused_with_its_field() {
        let refused = changed(0, |e| e.attempt = 0).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("attempt"));
        let refused = changed(0, |e| {
            if let Fact::Assigned { reserved_micro_usd, .. } = &mut e.fact {
                *reserved_micro_usd = MicroUsd(-1);
            }
        });
        assert_eq!(refused.unwrap_err().field.as_deref(), Some("fact.reserved_micro_usd"));
        let refused = changed(0, |e| {
            if let Fact::Assigned { decision, .. } = &mut e.fact {
                decision.candidates[0].score = f64::NAN;
            }
        });
        assert_eq!(refused.unwrap_err().field.as_deref(), Some("fact.decision"));
        let refused = changed(3, |e| {
            let Fact::Ended { attempts, .. } = &mut e.fact else { unreachable!() };
            let mut decision = samples::decision();
            decision.weights.cost = f64::INFINITY;
            attempts[0].decision = Some(CarriedDecision::new(&decision));
        });
        assert_eq!(refused.unwrap_err().field.as_deref(), Some("fact.attempts.decision"));
        let refused = changed(3, |e| {
            if let Fact::Ended { state, .. } = &mut e.fact {
                *state = JobState::Running;
            }
        });
        assert_eq!(refused.unwrap_err().field.as_deref(), Some("fact.state"));
        assert_eq!(changed(1, |e| e.fact = Fact::Unknown).unwrap_err().code, FailureCode::Unknown);
    }

    #[test]
    fn nul_characters_do_not_reach_the_database() {
        let checked = changed(2, |e| {
            if let Fact::Retrying { facts, ended_attempt, .. } = &mut e.fact {
                facts.labels.insert("a\0b".to_owned(), "c\0".to_owned());
                ended_attempt.provider_id = Some("x\0y".to_owned());
            }
        })
        .expect("only a character is lost");
        assert!(!checked.body.contains("\\u0000"));
        let Fact::Retrying { facts, ended_attempt, .. } = &checked.event.fact else { unreachable!() };
        assert_eq!(facts.labels.get("ab").map(String::as_str), Some("c"));
        assert_eq!(ended_attempt.provider_id.as_deref(), Some("xy"));
    }
}
