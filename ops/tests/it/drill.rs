//! The drill's verdict, without any server: each promise that is broken in a history is found in it.

use ops::show::drill as show;
use policy::invariants::{AuditAttempt, AuditJob, InvoiceLine};
use schemas::{
    Artifact, ArtifactRef, AttemptFacts, Backend, Charge, Event, Fact, JobFacts, JobId, JobState, MicroUsd,
};
use trials::drill::history::{Component, Hit, Line, Writer};
use trials::drill::plan::{Blow, Plan, Strike};
use trials::drill::report::{Report, VERSION};
use trials::drill::run::judge;
use trials::drill::story::Story;

const COST: MicroUsd = MicroUsd(700);

fn job(n: u8) -> JobId {
    JobId::from_parts(1_764_000_000_000, [n; 10])
}

fn key(n: u8) -> String {
    format!("out/{}/1/0.png", job(n))
}

fn ended(n: u8, backend: &str) -> Event {
    let all = schemas::samples::events();
    let sample = all.iter().find(|event| matches!(event.fact, Fact::Ended { .. })).expect("a sample");
    let Fact::Ended { facts, artifacts, attempts, .. } = &sample.fact else { unreachable!("just found") };
    let at = ArtifactRef::new("ARTIFACTS", key(n));
    let backend = Backend::new(backend).expect("a name");
    let attempt = AttemptFacts { backend, started_at_ms: Some(1), failure: None, ..attempts[0].clone() };
    let fact = Fact::Ended {
        facts: JobFacts { max_cost_micro_usd: Some(COST), ..facts.clone() },
        state: JobState::Completed,
        artifacts: vec![Artifact { at, ..artifacts[0].clone() }],
        manifest: None,
        failure: None,
        attempts: vec![attempt],
    };
    Event::new(1, "spender".parse().expect("a name"), job(n), 1, fact)
}

fn booked(n: u8, backend: &str, charge: Charge) -> [Line; 2] {
    let state = Some(JobState::Completed);
    [
        Line::BookedJob(AuditJob { job: job(n), ends: 1, state, artifacts: 1 }),
        Line::BookedAttempt(AuditAttempt {
            job: job(n),
            attempt: 1,
            backend: Backend::new(backend).expect("a name"),
            provider_id: Some(format!("work-{n}")),
            succeeded: true,
            usage: Vec::new(),
            reserved_micro_usd: charge.amount_micro_usd,
            delivered: true,
            charge,
        }),
    ]
}

/// Two jobs, one free and one paid, and a router that was killed.
pub(crate) fn history() -> Vec<Line> {
    let mut lines = vec![Line::Begin {
        version: VERSION,
        seed: 9,
        jobs: 2,
        nodes: 1,
        at_ms: 1_000,
        daily_micro_usd: [("spender".to_owned(), COST)].into(),
        to_replace: Vec::new(),
    }];
    for (n, backend, charge) in [(1, "local", Charge::VOIDED), (2, "cloud", Charge::posted(COST))] {
        let at_ms = 1_000 + i64::from(n) * 100;
        lines.push(Line::Accepted { job: job(n), at_ms, tries: u64::from(n), deadline_ms: None });
        let event = Box::new(ended(n, backend));
        lines.push(Line::Event { stored_at_ms: at_ms * 2, event });
        lines.push(Line::Fetched { job: job(n), key: key(n), problem: None });
        lines.extend(booked(n, backend, charge));
    }
    let bill = InvoiceLine { provider_id: "work-2".to_owned(), amount_micro_usd: COST };
    lines.push(Line::Invoice { backend: Backend::new("cloud").expect("a name"), lines: vec![bill] });
    lines.push(Line::GpuRuns { simulator: "a".to_owned(), runs: 3 });
    lines.push(Line::Hit(Hit {
        at_ms: 1_100,
        name: "router-1".to_owned(),
        component: Component::Router,
        blow: Some(Blow::Kill),
        status: None,
        back_at_ms: Some(1_200),
        useful_at_ms: Some(1_250),
    }));
    lines.push(Line::Calm { at_ms: 2_000 });
    lines.push(Line::Rest { at_ms: 3_000, unrest: Vec::new(), open: 0 });
    lines.push(Line::End { at_ms: 4_000 });
    lines
}

fn found(lines: Vec<Line>) -> Vec<String> {
    Report::of(&Story::of(lines)).audit.findings
}

#[test]
fn a_good_history_holds_and_is_counted() {
    let report = Report::of(&Story::of(history()));
    assert_eq!(report.audit.findings, Vec::<String>::new());
    assert!(report.audit.holds);
    assert_eq!((report.wall_ms, report.chaos_ms, report.publishes), (3_000, 1_000, 3));
    // Accepted at 1100, ended at 2200 and 2400.
    assert_eq!((report.longest_stall_ms, report.recover_ms.p99), (1_100, 50));
    assert_eq!((report.repeated_gpu_runs, report.artifacts), (2, 2));
    assert_eq!((report.blows["router"].kills, report.blows["router"].not_seen_again), (1, 0));
    assert_eq!(report.spent_micro_usd["spender"], COST.0);
    let text = show::text(&report).to_string();
    for words in ["router", "longest stall", "the audit holds"] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
}

/// The plan's strikes that fill something, with how many strikes are before each.
fn fills(seed: u64, targets: usize) -> Vec<(usize, Strike)> {
    let strikes = Plan::of(seed, targets, 4).take(800).enumerate();
    strikes.filter(|(_, strike)| strike.blow == Blow::FillStore).collect()
}

#[test]
fn something_is_filled_soon_and_again() {
    for seed in 0..50 {
        let all = fills(seed, 21);
        assert!((3..=8).contains(&all[0].0), "a short drill has one: {all:?}");
        assert!((10..=25).contains(&all.len()), "a few in a long one: {all:?}");
        for (_, strike) in &all {
            assert!(
                (5_000..=15_000).contains(&strike.for_ms) && (21..25).contains(&strike.target),
                "{strike:?}"
            );
        }
        // Full for at most 15 s, and struck again after more than that.
        let apart = all.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or_default();
        assert!(apart > 25, "{all:?}");
        assert!(all.iter().any(|(_, strike)| strike.target == 21), "the artifact store has a turn: {all:?}");
    }
    assert_ne!(fills(1, 21), fills(2, 21));
}

#[test]
fn a_store_that_was_filled_is_counted_and_useful_at_the_next_end() {
    let hit = |at_ms, back_at_ms| {
        Line::Hit(Hit {
            at_ms,
            name: "artifact-store".to_owned(),
            component: Component::Storage,
            blow: Some(Blow::FillStore),
            status: None,
            back_at_ms: Some(back_at_ms),
            useful_at_ms: None,
        })
    };
    let mut lines = history();
    // Jobs end at 2200 and 2400.
    lines.extend([hit(1_150, 2_250), hit(2_300, 2_500)]);
    let text = serde_json::to_string(&lines[lines.len() - 1]).expect("JSON");
    assert!(text.contains(r#""blow":"fill_store""#) && text.contains(r#""artifact-store""#), "{text}");
    let report = Report::of(&Story::of(lines));
    assert!(report.audit.holds, "{:?}", report.audit.findings);
    let blows = &report.blows["storage"];
    assert_eq!((blows.fills, blows.kills, blows.stops, blows.own_ends), (2, 0, 0, 0));
    assert_eq!((blows.recover_ms.p99, blows.not_seen_again), (150, 1));
    assert_eq!(report.blows["router"].fills, 0);
    assert!(show::text(&report).to_string().to_lowercase().contains("filled"));
}

#[test]
fn a_charged_end_without_a_file_breaks_no_promise_and_is_charged_once() {
    let without_file = |charged: MicroUsd| {
        let mut lines = history();
        lines.retain(|line| !matches!(line, Line::Fetched { job: fetched, .. } if *fetched == job(2)));
        for line in &mut lines {
            match line {
                Line::Event { event, .. } if event.job == job(2) => {
                    let Fact::Ended { state, artifacts, .. } = &mut event.fact else { continue };
                    *state = JobState::Failed;
                    artifacts.clear();
                }
                Line::BookedJob(booked) if booked.job == job(2) => {
                    (booked.state, booked.artifacts) = (Some(JobState::Failed), 0);
                }
                Line::BookedAttempt(booked) if booked.job == job(2) => {
                    (booked.succeeded, booked.charge) = (false, Charge::posted(charged));
                }
                _ => {}
            }
        }
        Report::of(&Story::of(lines))
    };
    let report = without_file(COST);
    assert_eq!(report.audit.findings, Vec::<String>::new());
    assert_eq!((report.states["failed"], report.spent_micro_usd["spender"]), (1, COST.0));
    assert!(!without_file(MicroUsd(0)).audit.holds, "billed and not charged");
}

#[test]
fn every_break_is_found() {
    type Break = fn(&mut Vec<Line>);
    let breaks: [(&str, Break); 11] = [
        ("was accepted and is unknown to the ledger", |lines| {
            lines.retain(|line| !matches!(line, Line::BookedJob(booked) if booked.job == job(1)));
        }),
        ("the events tell 0 ends", |lines| {
            lines.retain(|line| !matches!(line, Line::Event { event, .. } if event.job == job(1)));
        }),
        ("the events tell 2 ends", |lines| {
            lines.push(Line::Event { stored_at_ms: 1, event: Box::new(ended(1, "local")) });
        }),
        ("which nobody published", |lines| {
            lines.push(Line::Event { stored_at_ms: 1, event: Box::new(ended(3, "local")) });
        }),
        ("1 of 2 jobs were accepted", |lines| {
            lines.retain(|line| !matches!(line, Line::Accepted { job: accepted, .. } if *accepted == job(2)));
        }),
        ("nobody tried to fetch it", |lines| {
            lines.retain(|line| !matches!(line, Line::Fetched { job: fetched, .. } if *fetched == job(1)));
        }),
        ("was announced: gone", |lines| {
            lines.push(Line::Fetched { job: job(1), key: key(1), problem: Some("gone".to_owned()) });
        }),
        ("is charged $0.000701 and billed $0.000700", |lines| {
            lines.retain(|line| !matches!(line, Line::BookedAttempt(booked) if booked.job == job(2)));
            lines.extend(booked(2, "cloud", Charge::posted(MicroUsd(701))).into_iter().skip(1));
        }),
        ("more than its ceiling of 700", |lines| {
            lines.extend(booked(2, "gemini", Charge::posted(MicroUsd(1))).into_iter().skip(1));
        }),
        ("tenant spender spent 800 of 700", |lines| {
            lines.extend(booked(1, "gemini", Charge::posted(MicroUsd(100))).into_iter().skip(1));
        }),
        ("process 7 was left", |lines| lines.push(Line::Left { pid: 7, command: "router".to_owned() })),
    ];
    for (words, break_it) in breaks {
        let mut lines = history();
        break_it(&mut lines);
        let findings = found(lines);
        assert!(findings.iter().any(|finding| finding.contains(words)), "{words}: {findings:?}");
    }
    let cut_off = history().into_iter().filter(|line| !matches!(line, Line::End { .. } | Line::Rest { .. }));
    let findings = found(cut_off.collect());
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[test]
fn the_verdict_is_given_again_from_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::create(dir.path()).expect("made");
    history().iter().for_each(|line| writer.add(line).expect("written"));
    writer.finish().expect("written");
    let report = judge(dir.path()).expect("a history");
    assert_eq!(report, Report::of(&Story::of(history())));
    let text = std::fs::read_to_string(dir.path().join("report.json")).expect("a report");
    assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    std::fs::write(dir.path().join("history.jsonl"), "{}\n").expect("written");
    let error = format!("{:#}", judge(dir.path()).expect_err("no history"));
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn every_field_of_the_report_is_on_its_page() {
    let page = include_str!("../../docs/drill.md");
    let value = serde_json::to_value(Report::of(&Story::of(history()))).expect("JSON");
    let upgraded = crate::drill_upgrade::upgraded();
    let upgraded = serde_json::to_value(Report::of(&Story::of(upgraded))).expect("JSON");
    let sections = [&value, &value["blows"]["router"], &upgraded["replaced"][0]];
    let fields = || sections.iter().flat_map(|section| section.as_object().expect("an object").keys());
    for field in fields() {
        assert!(page.contains(&format!("| `{field}` |")), "{field} is not documented");
    }
    let documented = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(documented, fields().count(), "the page documents fields that are not there");
}
