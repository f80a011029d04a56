//! Fields that nobody knows: the table `tests/tables/unknown.txt`, and that no mistyped guard gets through.

use policy::admit::{
    BODY_FIELDS, CONSTRAINTS, JOB_FIELDS, PREFERENCES, check_request, check_unknown, warnings,
};
use proptest::prelude::*;
use schemas::{Encoding, Failure, Job, json_schema};
use serde_json::{Value, json};

use crate::table::{cases, patch};
use crate::world::plain_job;

fn checked(job: &Value) -> [Result<Job, Failure>; 2] {
    [Encoding::Json, Encoding::MessagePack].map(|encoding| {
        let read: Job = encoding.decode(&encoding.encode(job)).expect("it reads as a job");
        check_unknown(&read).map(|()| read)
    })
}

#[test]
fn what_may_guard_money_is_refused_with_its_cure_and_all_else_is_named() {
    let mut wrong = Vec::new();
    for case in cases(include_str!("../tables/unknown.txt")) {
        let (mut job, mut wanted) = (plain_job(), "");
        for line in &case.lines {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("job", change) => patch(&mut job, &serde_json::from_str::<Value>(change).expect(change)),
                ("=>", text) => wanted = text,
                _ => panic!("{}: {line}", case.title),
            }
        }
        for checked in checked(&job) {
            let found = match checked {
                Ok(job) => format!("ok {}", warnings(&job).join("; ")).trim_end().to_owned(),
                Err(failure) => format!("[{}] {}", failure.field.unwrap_or_default(), failure.message),
            };
            // `…` alone stands for what is left out of the table.
            let fits = match wanted.split_once(" … ") {
                Some((start, end)) => found.starts_with(start) && found.ends_with(end),
                None => found == wanted,
            };
            if !fits {
                wrong.push(format!("{}\n  wanted {wanted}\n  found  {found}", case.title));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_fields_are_those_of_the_wire() {
    let schemas = json_schema::all();
    let (_, job) = schemas.iter().find(|(name, _)| *name == "job").expect("the job's schema");
    let job = serde_json::to_value(job).expect("plain data");
    let names = |pointer: &str| -> Vec<String> {
        let fields = job.pointer(pointer).and_then(Value::as_object).expect(pointer);
        let mut names: Vec<String> = fields.keys().cloned().collect();
        names.sort();
        names
    };
    let sorted = |fields: &[&str]| {
        let mut fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        fields.sort();
        fields
    };
    assert_eq!(names("/properties"), sorted(&JOB_FIELDS));
    assert_eq!(names("/$defs/Body/properties"), sorted(&BODY_FIELDS));
    assert_eq!(names("/$defs/Constraints/properties"), sorted(&CONSTRAINTS));
    assert_eq!(names("/$defs/Preferences/properties"), sorted(&PREFERENCES));
    for part in ["Constraints", "Preferences"] {
        assert_eq!(
            job["$defs"][part]["additionalProperties"],
            json!(false),
            "clients that validate see it too"
        );
    }
}

#[test]
fn what_nests_too_deep_to_be_carried_on_is_refused() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let mut job = plain_job();
    job["notes"] = deep(64);
    assert!(checked(&job).iter().all(Result::is_ok));
    job["notes"] = deep(65);
    for checked in checked(&job) {
        let failure = checked.expect_err("too deep");
        assert_eq!(failure.field.as_deref(), Some("notes"));
        assert!(failure.message.contains("64 deep"), "{}", failure.message);
    }
}

#[test]
fn a_request_for_an_estimate_has_no_guards_beside_its_job() {
    let request = |field: &str| {
        let request = json!({"job": plain_job(), field: {"allow_paid": false}});
        let request: schemas::api::EstimateRequest = serde_json::from_value(request).expect("it reads");
        check_request(&request.unknown)
    };
    assert!(request("constraints").is_err_and(|failure| failure.field.as_deref() == Some("constraints")));
    assert!(request("reply_to").is_err(), "what is inside counts as well");
}

#[test]
fn what_is_refused_is_not_longer_than_its_cause_allows() {
    let mut job = plain_job();
    for nth in 0..3_000 {
        job["constraints"][format!("{nth}{}", "ü".repeat(300))] = json!(1);
    }
    for checked in checked(&job) {
        let failure = checked.expect_err("refused");
        assert!(failure.message.len() < 4_000, "{} bytes", failure.message.len());
    }
}

/// Puts a key into every object of a document, one after the other. Left out are free-form workflows, and what is part
/// of messages as well (weights, counts of units): there every field is required, so that none can be mistyped.
fn with_a_key_more(document: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let free = ["/workflow", "/template", "/maximum_usage", "/expected_usage", "/profiles/"];
    if free.iter().any(|part| path.contains(part)) {
        return;
    }
    match document {
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("budgett".to_owned(), json!(1));
            found.push((path.to_owned(), Value::Object(more)));
            for (name, value) in fields {
                with_a_key_more(value, &format!("{path}/{}", name.replace('/', "~1")), found);
            }
        }
        Value::Array(values) => {
            for (nth, value) in values.iter().enumerate() {
                with_a_key_more(value, &format!("{path}/{nth}"), found);
            }
        }
        _ => {}
    }
}

fn passes_over_no_key<T: serde::de::DeserializeOwned>(name: &str, document: &Value) {
    serde_json::from_value::<T>(document.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut changed = Vec::new();
    with_a_key_more(document, "", &mut changed);
    for (path, object) in changed {
        let mut document = document.clone();
        *document.pointer_mut(&path).expect("it came from there") = object;
        assert!(serde_json::from_value::<T>(document).is_err(), "{name} passes over {path}/budgett");
    }
}

#[test]
fn no_document_passes_over_a_key() {
    use policy::defaults;
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    passes_over_no_key::<schemas::PolicyConfig>("policy", &read(defaults::POLICY_JSON));
    passes_over_no_key::<schemas::Catalog>("catalog", &read(defaults::CATALOG_JSON));
    passes_over_no_key::<schemas::PriceList>("prices", &read(defaults::PRICES_JSON));
    passes_over_no_key::<schemas::TenantsConfig>("tenants", &read(defaults::TENANTS_JSON));
}

/// One edit of a name: a letter put in, left out, changed, or swapped with the next.
fn mistyped(name: &str, at: prop::sample::Index, letter: char, edit: u8) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let place = at.index(letters.len());
    match edit {
        0 => letters.insert(place, letter),
        1 => drop(letters.remove(place)),
        2 => letters[place] = letter,
        _ => letters.swap(place, (place + 1) % name.len()),
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_guard_gets_through_mistyped(
        nth in 0..CONSTRAINTS.len() + PREFERENCES.len(),
        at in any::<prop::sample::Index>(),
        letter in "[a-zA-Z0-9_ -]",
        edit in 0u8..4,
        place in 0usize..3,
    ) {
        let letter = letter.chars().next().expect("one");
        let (part, name) = match nth.checked_sub(CONSTRAINTS.len()) {
            None => ("constraints", CONSTRAINTS[nth]),
            Some(nth) => ("preferences", PREFERENCES[nth]),
        };
        // The first and the last letter are two edits apart.
        let edit = if edit == 3 && at.index(name.len()) + 1 == name.len() { 2 } else { edit };
        let typed = mistyped(name, at, letter, edit);
        let all = CONSTRAINTS.iter().chain(&PREFERENCES).chain(&BODY_FIELDS).chain(&JOB_FIELDS);
        prop_assume!(!typed.is_empty() && !all.clone().any(|known| *known == typed));
        let mut job = plain_job();
        match place {
            0 => job[part][&typed] = json!(null),
            1 => job["body"][&typed] = json!(null),
            _ => job[&typed] = json!(null),
        }
        for checked in checked(&job) {
            let failure = checked.expect_err(&typed);
            // Outside of both parts a backend may be meant for either.
            let either = place > 0 && name.starts_with("backend");
            let named = if either { ".backend".to_owned() } else { format!("{part}.{name}") };
            prop_assert!(failure.message.contains(&named), "{typed}: {}", failure.message);
        }
    }

    #[test]
    fn nor_does_a_whole_part_mistyped(
        part in prop::sample::select(vec!["constraints", "preferences"]),
        at in any::<prop::sample::Index>(),
        letter in "[a-zA-Z0-9_ -]",
        edit in 0u8..4,
    ) {
        let typed = mistyped(part, at, letter.chars().next().expect("one"), edit);
        prop_assume!(typed != part);
        let mut job = plain_job();
        job[&typed] = json!({"allow_paid": false});
        for checked in checked(&job) {
            let failure = checked.expect_err(&typed);
            prop_assert!(failure.message.contains(&format!("use {part}")), "{typed}: {}", failure.message);
        }
    }
}
