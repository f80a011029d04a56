//! The benchmark's page and its file say the same.

use ops::show::bench as show;
use std::collections::BTreeSet;
use std::time::Duration;
use trials::bench::report::{Report, Row};
use trials::bench::targets::{TARGETS, target_of};

fn report() -> Report {
    let met = Row::of("router.one.share_of_limit", "", &[0.9, 0.7, 0.85]).expect("three runs");
    let missed = Row::of("fleet.cpu_per_job", "us/job", &[450.0]).expect("a run");
    let free = Row::of("submit.bulk", "jobs/s", &[60_000.0]).expect("a run");
    Report::new(vec![met, missed, free], Duration::from_secs(3))
}

#[test]
fn every_field_is_documented() {
    let page = include_str!("../../docs/bench.md");
    let json = serde_json::to_value(report()).expect("plain data");
    let given_up = Row::of_given_up("fair.few_beside", "s", &[15.0]).expect("a run");
    let given_up = serde_json::to_value(given_up).expect("plain data");
    let fields = json.as_object().expect("an object").keys();
    let of_a_row = json["rows"][0].as_object().expect("an object").keys();
    let of_another = given_up.as_object().expect("an object").keys();
    let all: BTreeSet<&String> = fields.chain(of_a_row).chain(of_another).collect();
    for field in &all {
        assert!(page.contains(&format!("| `{field}` |")), "{field} is not documented");
    }
    let tables = page.split("The names:").next().expect("two tables");
    let documented = tables.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(documented, all.len(), "the page documents fields that are not there");
}

#[test]
fn a_target_is_met_or_marked() {
    let report = report();
    let met: Vec<Option<bool>> = report.rows.iter().map(|row| row.met).collect();
    assert_eq!(met, [Some(true), Some(false), None]);
    let text = show::text(&report).to_string();
    assert!(text.contains(">= 0.80") && text.contains("<= 130"), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with("NO")).count(), 1, "{text}");
}

#[test]
fn a_target_has_one_row() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), TARGETS.len());
    assert!(target_of("fleet.sustained").is_some() && target_of("nothing").is_none());
}
