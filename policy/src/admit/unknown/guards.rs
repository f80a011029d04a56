//! Names that somebody gives to a guard of money: what they would mean if they stood where they belong.

use super::fields::{CONSTRAINTS, PREFERENCES};
use super::nearest::{distance, nearest, plain, words};

const CEILING: &str = "constraints.max_cost_micro_usd";
const CONSENT: &str = "constraints.allow_paid";
const DEADLINE: &str = "constraints.deadline_ms";
const ATTEMPTS: &str = "constraints.max_attempts";
const BACKENDS: &str = "constraints.backends";
const EXCLUDE: &str = "constraints.exclude_backends";
const KEY: &str = "idempotency_key";
const NOT_CONSENT: &str = "constraints.allow_paid with the value false";
const DRY_RUN: &str = "the request argosy.api.estimate, which runs nothing";

/// Other words for what is known, in letters and digits only.
const SYNONYMS: [(&str, &str); 44] = [
    ("budget", CEILING),
    ("budgetusd", CEILING),
    ("ceiling", CEILING),
    ("costceiling", CEILING),
    ("costlimit", CEILING),
    ("costcap", CEILING),
    ("maxbudget", CEILING),
    ("maxcost", CEILING),
    ("maxcostcents", CEILING),
    ("maxcostusd", CEILING),
    ("maxprice", CEILING),
    ("maxspend", CEILING),
    ("maxusd", CEILING),
    ("pricelimit", CEILING),
    ("spendinglimit", CEILING),
    ("spendlimit", CEILING),
    ("allowcloud", CONSENT),
    ("allowcost", CONSENT),
    ("allowpay", CONSENT),
    ("allowpayment", CONSENT),
    ("allowspend", CONSENT),
    ("allowspending", CONSENT),
    ("consent", CONSENT),
    ("paid", CONSENT),
    ("paidallowed", CONSENT),
    ("freeonly", NOT_CONSENT),
    ("nopaid", NOT_CONSENT),
    ("neverpay", NOT_CONSENT),
    ("onlyfree", NOT_CONSENT),
    ("deadline", DEADLINE),
    ("expires", DEADLINE),
    ("expiresat", DEADLINE),
    ("attempts", ATTEMPTS),
    ("maxretries", ATTEMPTS),
    ("maxtries", ATTEMPTS),
    ("retries", ATTEMPTS),
    ("allowedbackends", BACKENDS),
    ("onlybackends", BACKENDS),
    ("blockedbackends", EXCLUDE),
    ("exclude", EXCLUDE),
    ("dedupekey", KEY),
    ("dedupkey", KEY),
    ("dryrun", DRY_RUN),
    ("estimateonly", DRY_RUN),
];

/// Words for money, and words that allow or limit: a name with one of each guards money.
const MONEY: [&str; 16] = [
    "usd", "dollar", "dollars", "cent", "cents", "eur", "cost", "costs", "budget", "spend", "spending",
    "price", "paid", "pay", "payment", "money",
];
const LIMITS: [&str; 12] =
    ["max", "maximum", "limit", "cap", "ceiling", "allow", "allowed", "no", "not", "never", "only", "most"];
const CONSENTS: [&str; 5] = ["allow", "allowed", "not", "never", "no"];

/// What another word stands for.
pub(super) fn synonym(name: &str) -> Option<&'static str> {
    let name = plain(name);
    SYNONYMS.iter().find(|(synonym, _)| *synonym == name).map(|(_, target)| *target)
}

/// What a field outside `constraints` and `preferences` would guard there, if it reads like a guard at all.
pub(super) fn guard(name: &str) -> Option<String> {
    if is_part(name, "preferences") {
        return Some("preferences".to_owned());
    }
    guard_of_money(name).or_else(|| synonym(name).map(str::to_owned)).or_else(|| {
        let constraint = nearest(name, &CONSTRAINTS).filter(|near| is_near(*near));
        let preference = nearest(name, &PREFERENCES).filter(|near| is_near(*near));
        match (constraint, preference) {
            (Some((known, far)), other) if other.is_none_or(|(_, other)| far <= other) => {
                Some(format!("constraints.{known}"))
            }
            (_, Some((known, _))) => Some(format!("preferences.{known}")),
            _ => None,
        }
    })
}

/// The same inside values that are passed over as a whole: what is about money without doubt.
pub(super) fn guard_of_money_inside(name: &str) -> Option<String> {
    // Words that a client's own notes may have as well.
    guard_of_money(name).filter(|_| !["paid", "consent"].contains(&plain(name).as_str()))
}

fn guard_of_money(name: &str) -> Option<String> {
    if is_part(name, "constraints") {
        return Some("constraints".to_owned());
    }
    let plain_name = plain(name);
    if plain_name.contains("idempot") || distance(&plain_name, "idempotencykey") <= 3 {
        return Some(KEY.to_owned());
    }
    // All but those whose names are used for much else.
    let surely = CONSTRAINTS.into_iter().filter(|known| *known != "backends" && *known != "deadline_ms");
    if let Some((known, _)) = nearest(name, &surely.collect::<Vec<_>>()).filter(|near| is_near(*near)) {
        return Some(format!("constraints.{known}"));
    }
    let synonym =
        synonym(name).filter(|target| [CEILING, CONSENT, NOT_CONSENT, KEY, DRY_RUN].contains(target));
    if let Some(target) = synonym {
        return Some(target.to_owned());
    }
    let words = words(name);
    let any = |of: &[&str]| words.iter().any(|word| of.contains(&word.as_str()));
    if !any(&MONEY) || !any(&LIMITS) {
        return None;
    }
    Some(if any(&CONSENTS) { CONSENT } else { CEILING }.to_owned())
}

/// `Constraint`, `constraints.max_cost`, `contraints`: one of the two parts, mistyped or as part of a longer name.
fn is_part(name: &str, part: &str) -> bool {
    let (name, singular) = (plain(name), part.trim_end_matches('s'));
    name.contains(singular) || distance(&name, part) <= 2
}

/// So few edits that it is the same word, mistyped.
fn is_near((known, edits): (&str, usize)) -> bool {
    edits <= if known.len() < 9 { 1 } else { 2 }
}
