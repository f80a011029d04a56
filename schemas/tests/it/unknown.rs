//! Fields that this version does not know: kept, written again where they were, and named in the job's facts.

use schemas::{Assignment, CarriedDecision, DeadLetter, Encoding, Job, JobFacts, samples};
use serde::Serialize;
use serde_json::{Value, json};

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::MessagePack];

/// The sample job as it is written, changed.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut job = serde_json::to_value(samples::job()).expect("plain data");
    change(&mut job);
    job
}

fn with_unknown() -> Value {
    changed(|job| {
        job["trace"] = json!({"parent": [1, -2, 2.5, null, true, "x"], "deep": {"deeper": {}}});
        job["body"]["lora"] = json!("ink");
        job["body"]["inputs"][0]["mask"] = json!("mask.png");
        job["body"]["inputs"][0]["artifact"]["version"] = json!(3);
        job["constraints"]["max_co2_g"] = json!(5);
        job["preferences"]["region"] = json!("eu");
    })
}

/// Any message whose fields may not have names that are text.
struct Pairs(Vec<(Value, Value)>);

impl Serialize for Pairs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[test]
fn unknown_fields_are_written_again_where_they_were_in_whatever_carries_the_job() {
    let wanted = with_unknown();
    for read_as in ENCODINGS {
        let job: Job = read_as.decode(&read_as.encode(&wanted)).expect("read");
        assert!(!job.is_known());
        for write_as in ENCODINGS {
            let again: Job = write_as.decode(&write_as.encode(&job)).expect("read again");
            assert_eq!(again, job, "{read_as:?} {write_as:?}");
            let letter = DeadLetter {
                assignment: Assignment { job: job.clone(), ..samples::assignment() },
                ..samples::dead_letter()
            };
            let letter: DeadLetter = write_as.decode(&write_as.encode(&letter)).expect("read as a letter");
            assert_eq!(serde_json::to_value(&letter.assignment.job).expect("plain data"), wanted);
        }
    }
}

#[test]
fn a_job_without_unknown_fields_is_written_as_ever_and_has_no_warnings() {
    let job = samples::job();
    assert!(job.is_known() && job.unknown_fields().is_empty());
    let facts = JobFacts::of(&job, None, 1);
    assert_eq!(serde_json::to_value(&facts).expect("plain data").get("warnings"), None);
}

#[test]
fn facts_name_them_and_so_does_the_event_that_an_assignment_stands_for() {
    let job: Job = serde_json::from_value(with_unknown()).expect("read");
    let words = |field: &str| format!("field {field} is not known and has no effect");
    let wanted = [
        "trace",
        "body.lora",
        "constraints.max_co2_g",
        "preferences.region",
        "body.inputs[0].mask",
        "body.inputs[0].artifact.version",
    ]
    .map(words);
    assert_eq!(JobFacts::of(&job, None, 1).warnings, wanted);
    let decision = Some(CarriedDecision::new(&samples::decision()));
    let own = vec!["field body.seed has no effect".to_owned()];
    let wanted = [wanted.as_slice(), &own].concat();
    let assignment = Assignment { job, decision, warnings: own, ..samples::assignment() };
    assert_eq!(assignment.facts().warnings, wanted);
    let told = serde_json::to_value(assignment.told().expect("it has a decision")).expect("plain data");
    assert_eq!(told["fact"]["facts"]["warnings"], json!(wanted));
}

#[test]
fn warnings_are_few_and_short_whatever_the_fields_are_called() {
    let long = "x".repeat(5_000);
    let job = changed(|job| {
        for nth in 0..5_000 {
            job[format!("{nth:04}{long}\u{1b}[31m")] = Value::Null;
        }
    });
    let warnings = serde_json::from_value::<Job>(job).expect("read").warnings();
    assert_eq!(warnings.len(), 17);
    assert_eq!(warnings[16], "and 4984 more unknown fields");
    assert!(warnings.concat().chars().count() < 2_000 && warnings[0].contains('…'));
    let control = changed(|job| job["\u{1b}[31mred"] = Value::Null);
    let warnings = serde_json::from_value::<Job>(control).expect("read").warnings();
    assert_eq!(warnings, ["field \u{fffd}[31mred is not known and has no effect"]);
}

#[test]
fn what_message_pack_can_say_and_json_cannot_makes_no_job_unreadable() {
    // {"tag": bytes} and {"tag": extension}, and fields whose names are a number and null.
    let named = |value: &[u8]| [b"\xa3tag".as_slice(), value].concat();
    let odd = [
        (named(b"\xc4\x02\x01\x02"), "tag", json!([1, 2])),
        (named(b"\xd4\x05\x09"), "tag", json!([5, [9]])),
        (named(b"\xcb\x7f\xf8\0\0\0\0\0\0"), "tag", Value::Null),
        (named(b"\x81\x07\xc3"), "tag", json!({"7": true})),
        (b"\xcd\x03\xe8\xc0".to_vec(), "1000", Value::Null),
    ];
    for (field, name, value) in odd {
        let mut bytes = Encoding::MessagePack.encode(&samples::job());
        // A map of so many fields, with one more.
        assert_eq!(bytes[0] & 0xf0, 0x80);
        bytes[0] += 1;
        bytes.extend(field);
        let job: Job = Encoding::MessagePack.decode(&bytes).expect("read");
        assert_eq!(job.unknown.iter().collect::<Vec<_>>(), [(name, &value)]);
        let again: Job = Encoding::MessagePack.decode(&Encoding::MessagePack.encode(&job)).expect("again");
        assert_eq!(again, job);
    }
}

#[test]
fn a_guard_that_is_there_twice_or_of_the_wrong_type_is_an_error_that_names_it() {
    for (json, words) in [
        (r#"{"allow_paid":true,"allow_paid":false}"#, "duplicate field `allow_paid`"),
        (r#"{"allow_paid":"yes"}"#, "field `allow_paid`"),
        (r#"{"max_cost_micro_usd":0.001}"#, "field `max_cost_micro_usd`"),
        (r#"{"max_cost_micro_usd":"1000"}"#, "field `max_cost_micro_usd`"),
        (r#"{"backends":"local"}"#, "field `backends`"),
        (r#"{"exclude_backends":null}"#, "field `exclude_backends`"),
    ] {
        let error = Encoding::Json.decode::<schemas::Constraints>(json.as_bytes()).expect_err(json);
        assert!(error.to_string().contains(words), "{json}: {error}");
        if let Ok(value) = serde_json::from_str::<serde_json::Map<String, Value>>(json)
            && !words.starts_with("duplicate")
        {
            let packed = Encoding::MessagePack.encode(&value);
            let error = Encoding::MessagePack.decode::<schemas::Constraints>(&packed).expect_err(json);
            assert!(error.to_string().contains(words), "{json} packed: {error}");
        }
    }
    let twice = Pairs(vec![(json!("allow_paid"), json!(true)), (json!("allow_paid"), json!(false))]);
    let twice = Encoding::MessagePack.encode(&twice);
    let error = Encoding::MessagePack.decode::<schemas::Constraints>(&twice).expect_err("twice");
    assert!(error.to_string().contains("duplicate field `allow_paid`"), "{error}");
}
