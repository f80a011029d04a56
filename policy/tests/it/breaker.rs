//! `tests/tables/breaker.txt`: what opens a breaker, and for how long.

use std::collections::BTreeSet;

use policy::breaker::Breaker;
use policy::defaults;
use schemas::{Failure, FailureCode, JobId};

use crate::table::{cases, rows};
use crate::world::{NOW_MS, pairs, token};

#[test]
fn what_opens_a_breaker() {
    let policy = defaults::policy();
    for case in cases(include_str!("../tables/breaker.txt")) {
        let mut breaker = Breaker::default();
        for (number, line) in (0..).zip(&case.lines) {
            let (what, wanted) = line.split_once("->").expect("an arrow");
            let mut words = what.split_whitespace();
            let now_ms = NOW_MS + words.next().expect("a time").parse::<i64>().expect("ms");
            match words.next().expect("what happens") {
                "success" => breaker.on_success(),
                "nothing" => {}
                code => {
                    let rest = words.collect::<Vec<_>>().join(" ");
                    let rest = pairs(&rest);
                    let retry_after = rest.get("retry_after").map(|ms| ms.parse().expect("ms"));
                    let failure = Failure::new(token(code), "words").with_retry_after_ms(retry_after);
                    let job =
                        rest.get("job").map_or(number, |job| 1_000 + job.parse::<i64>().expect("a job"));
                    breaker.on_failure(JobId::from_parts(job, [0; 10]), &failure, &policy, now_ms);
                }
            }
            let open_ms =
                breaker.open_until_ms.filter(|_| breaker.is_open(now_ms)).map(|until_ms| until_ms - now_ms);
            let found = open_ms.map_or("closed".to_owned(), |ms| format!("open {ms}"));
            assert_eq!(found, wanted.trim(), "{}: {line}", case.title);
        }
    }
}

#[test]
fn only_failures_that_speak_of_the_backend_count() {
    let counting: BTreeSet<FailureCode> =
        rows("transient\ntimeout\nbackend_down\nquota_exhausted\nprovider_stopped").map(token).collect();
    for code in FailureCode::ALL {
        let mut breaker = Breaker::default();
        breaker.on_failure(JobId::new(), &Failure::new(code, "words"), &defaults::policy(), NOW_MS);
        assert_eq!(breaker.consecutive_failures, u32::from(counting.contains(&code)), "{code:?}");
    }
}
