//! What is wrong with an unknown field, with the known one that was probably meant and its unit.

use serde_json::Value;

use super::fields::{BODY_FIELDS, CONSTRAINTS, JOB_FIELDS, PREFERENCES};
use super::guards;
use super::nearest::{nearest, plain, words};

/// Why an unknown field of `constraints` or `preferences` is refused, with the known one that was meant.
pub(super) fn cure(part: &str, own: &[&'static str], name: &str, value: &Value) -> String {
    let target = target(part, own, name);
    format!("is not known: the nearest known field is {target}{}", unit(&target, name, value))
}

fn target(part: &str, own: &[&'static str], name: &str) -> String {
    let near = nearest(name, own);
    if let Some((known, 0 | 1)) = near {
        return format!("{part}.{known}");
    }
    if let Some(target) = guards::synonym(name) {
        return target.to_owned();
    }
    // It is known, but elsewhere.
    let plain_name = plain(name);
    let elsewhere: [(&str, &[&'static str]); 4] = [
        ("constraints.", &CONSTRAINTS),
        ("preferences.", &PREFERENCES),
        ("body.", &BODY_FIELDS),
        ("", &JOB_FIELDS),
    ];
    for (prefix, fields) in elsewhere {
        if let Some(known) = fields.iter().find(|known| plain(known) == plain_name) {
            return format!("{prefix}{known}");
        }
    }
    if let Some(target) = guards::guard_of_money_inside(name) {
        return target;
    }
    match near {
        Some((known, distance)) if distance <= plain_name.chars().count() / 2 => format!("{part}.{known}"),
        Some((known, _)) => format!("{part}.{known} ({part} knows {})", own.join(", ")),
        None => part.to_owned(),
    }
}

/// The unit that a target has, and what a value in the unit of another name comes to.
pub(super) fn unit(target: &str, name: &str, value: &Value) -> String {
    let words = words(name);
    let says = |any: &[&str]| words.iter().any(|word| any.contains(&word.as_str()));
    match target {
        "constraints.max_cost_micro_usd" if !says(&["micro"]) => {
            let (unit, micro) = match () {
                () if says(&["cent", "cents"]) => ("cents", 10_000),
                () if says(&["milli"]) => ("thousandths of a dollar", 1_000),
                () => ("dollars", 1_000_000),
            };
            let comes_to = in_units(value, micro);
            let comes_to = comes_to.map(|(text, micro_usd)| format!(": {text} {unit} are {micro_usd}"));
            format!(" (a dollar has 1000000 micro-dollars{})", comes_to.unwrap_or_default())
        }
        "constraints.deadline_ms" => " (Unix milliseconds)".to_owned(),
        "preferences.patience_ms" => {
            let comes_to = in_units(value, 1_000).filter(|_| says(&["s", "sec", "secs", "seconds"]));
            let comes_to = comes_to.map(|(text, ms)| format!(": {text} seconds are {ms}"));
            format!(" (milliseconds{})", comes_to.unwrap_or_default())
        }
        _ => String::new(),
    }
}

/// A decimal number, as number or text, times a power of ten; none where that is no whole number.
fn in_units(value: &Value, factor: u64) -> Option<(String, u64)> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().trim_start_matches('$').to_owned(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    if !factor.is_multiple_of(scale) {
        return None;
    }
    let units = digits.parse::<u64>().ok()?.checked_mul(factor / scale)?;
    Some((text, units))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_worked_out_without_floats() {
        for (value, factor, units) in [
            (json!(0.001), 1_000_000, Some(1_000)),
            (json!(5), 10_000, Some(50_000)),
            (json!("$1.50"), 1_000_000, Some(1_500_000)),
            (json!("0.10"), 1_000_000, Some(100_000)),
            (json!(0.000_000_1), 1_000_000, None),
            (json!(-1), 1_000_000, None),
            (json!("a lot"), 1_000_000, None),
            (json!(u64::MAX), 1_000_000, None),
            (json!(""), 1_000_000, None),
            (json!([1]), 1_000_000, None),
        ] {
            assert_eq!(in_units(&value, factor).map(|(_, units)| units), units, "{value}");
        }
    }
}
