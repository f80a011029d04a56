//! `tests/tables/dispose.txt`: what follows a failure, for every code.

use std::collections::BTreeSet;

use policy::defaults;
use policy::dispose::{Disposition, dispose, takes_servers_down};
use schemas::{AttemptFacts, DeadLetter, FailureCode, JobState, samples};

use crate::table::rows;
use crate::world::{NOW_MS, failed, name, pairs, token};

fn while_running(mut facts: AttemptFacts, is_so: bool) -> AttemptFacts {
    if let Some(failure) = &mut facts.failure {
        failure.while_running = is_so;
    }
    facts
}

/// A letter as a row's left side describes it.
fn letter(code: FailureCode, facts: &str) -> DeadLetter {
    let facts = pairs(facts);
    let number = |key: &str| facts.get(key).map(|text| text.parse::<u32>().expect("a number"));
    let mut letter = samples::dead_letter();
    let earlier = facts.get("earlier").map_or(Vec::new(), |list| list.split(',').collect());
    let history = earlier.iter().zip(1..).map(|(past, attempt)| {
        let (backend, code) = past.split_once(':').expect("backend:code");
        let (code, running) = code.split_once('+').map_or((code, false), |(code, _)| (code, true));
        while_running(failed(attempt, backend, token(code), 0), running)
    });
    letter.assignment.history = history.collect();
    if let Some(code) = facts.get("before") {
        let attempts = 1..number("attempt").expect("attempt=N beside before=CODE");
        letter.assignment.history =
            attempts.map(|attempt| failed(attempt, "cloud", token(code), 0)).collect();
    }
    let attempts = u32::try_from(letter.assignment.history.len()).expect("few");
    letter.assignment.backend = name("cloud");
    letter.assignment.attempt = number("attempt").unwrap_or(attempts + 1);
    letter.assignment.counted_attempts = number("counted").unwrap_or(attempts);
    letter.assignment.job.constraints.max_attempts = number("max");
    letter.assignment.job.constraints.failover_on_refusal = facts.contains_key("refusal_ok");
    letter.assignment.job.constraints.deadline_ms = number("deadline").map(|ms| NOW_MS + i64::from(ms));
    letter.ended_attempt = failed(letter.assignment.attempt, "cloud", code, 0);
    letter.ended_attempt = while_running(letter.ended_attempt, facts.contains_key("running"));
    if let Some(failure) = &mut letter.ended_attempt.failure {
        failure.retry_after_ms = number("retry_after").map(u64::from);
    }
    letter.time_ms = NOW_MS;
    letter
}

/// Checks `retry 1000..1250 counted`, `snooze 5000..5500`, `fail expired`.
fn matches(found: Disposition, wanted: &str) -> bool {
    let mut words = wanted.split_whitespace();
    if words.next() != Some(found.as_str()) {
        return false;
    }
    if let Disposition::End { state } = found {
        return words.next().map(token::<JobState>) == Some(state);
    }
    let (least, most) = words.next().and_then(|range| range.split_once("..")).expect("from..to");
    let wait_ms = found.at_ms().expect("goes on") - NOW_MS;
    let in_range = (least.parse().expect("ms")..=most.parse::<i64>().expect("ms")).contains(&wait_ms);
    in_range && (words.next() == Some("counted")) == found.is_counted()
}

#[test]
fn what_follows_each_failure() {
    let (policy, mut seen) = (defaults::policy(), BTreeSet::new());
    for row in rows(include_str!("../tables/dispose.txt")) {
        let (facts, wanted) = row.split_once("=>").expect("an arrow");
        let (code, facts) = facts.trim().split_once(' ').unwrap_or((facts.trim(), ""));
        let code: FailureCode = token(code);
        seen.insert(code);
        let letter = letter(code, facts);
        let found = dispose(&letter, &policy);
        assert!(matches(found, wanted), "{row}\n  found {found:?}, now is {NOW_MS}");
        assert_eq!(found, dispose(&letter, &policy), "the same letter, the same answer");
    }
    assert_eq!(seen, FailureCode::ALL.into_iter().collect(), "every code has its rows");
}

#[test]
fn a_letter_without_a_failure_ends_the_job() {
    let mut letter = letter(FailureCode::Transient, "");
    letter.ended_attempt.failure = None;
    assert_eq!(dispose(&letter, &defaults::policy()), Disposition::End { state: JobState::Failed });
}

#[test]
fn who_takes_servers_down_is_told_so() {
    let once = letter(FailureCode::BackendDown, "earlier=local:backend_down running");
    assert_eq!(takes_servers_down(&once), None, "the first of them was not running it");
    let twice =
        letter(FailureCode::BackendDown, "earlier=local:backend_down+running,local:interrupted running");
    let failure = takes_servers_down(&twice).expect("two servers");
    assert_eq!(failure.code, FailureCode::Poison);
    assert!(failure.message.starts_with("2 times a server went away while it ran this job"), "{failure:?}");
    assert!(failure.message.ends_with("backend_down in a test"), "{failure:?}");
}
