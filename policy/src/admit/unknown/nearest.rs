//! What somebody who wrote an unknown field will have meant.

use serde_json::Value;

use super::guards::{self, words};
use super::{BODY_FIELDS, CONSTRAINTS, JOB_FIELDS, PREFERENCES};

/// Letters of a name that are compared.
const COMPARED_MAX_CHARS: usize = 64;

/// A name without what people write differently: `maxCost-microUSD` is `maxcostmicrousd`.
pub(super) fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .take(COMPARED_MAX_CHARS)
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many letters have to be put in, left out, changed, or swapped with the next, to make one name of the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The nearest of some names, and how far it is.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<(&'static str, usize)> {
    let name = plain(name);
    let near = known.iter().map(|known| (*known, distance(&name, &plain(known))));
    near.min_by_key(|(_, distance)| *distance)
}

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
    fn distances_count_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "ab", 2),
            ("lane", "lane", 0),
            ("lane", "lnae", 1),
            ("lane", "line", 1),
            ("lane", "lanes", 1),
            ("allowpaid", "allowpay", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }

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
