//! The verdict on an upgrade, without any server: what is owed and missing is found in its history.

use crate::drill::history;
use ops::show::drill as show;
use std::path::PathBuf;
use trials::drill::history::{Component, Hit, Line, Removal, Replacement};
use trials::drill::report::Report;
use trials::drill::story::Story;

fn replacement(name: &str, component: Component, removal: Removal, at_ms: i64) -> Replacement {
    Replacement {
        at_ms,
        name: name.to_owned(),
        component,
        removal,
        exit_code: (removal == Removal::Drained).then_some(0),
        from: PathBuf::from("/old").join(name),
        to: PathBuf::from("/new").join(name),
        paid_in_flight: [("cloud".to_owned(), 2), ("gemini".to_owned(), 1)].into(),
        ready_at_ms: at_ms + 40,
        useful_at_ms: at_ms + 70,
    }
}

/// A drill of an upgrade in which two processes were replaced.
pub(crate) fn upgraded() -> Vec<Line> {
    let mut lines = history();
    lines.retain(|line| !matches!(line, Line::Hit(_)));
    if let Some(Line::Begin { to_replace, .. }) = lines.first_mut() {
        *to_replace = vec!["ledger".to_owned(), "router-1".to_owned()];
    }
    let ledger = replacement("ledger", Component::Ledger, Removal::Drained, 1_100);
    let router = replacement("router-1", Component::Router, Removal::Killed, 1_300);
    lines.extend([Line::Replaced(ledger), Line::Replaced(router)]);
    lines
}

fn findings(change: impl FnOnce(&mut Vec<Line>)) -> Vec<String> {
    let mut lines = upgraded();
    change(&mut lines);
    Report::of(&Story::of(lines)).audit.findings
}

#[test]
fn a_good_upgrade_holds_and_tells_who_was_replaced_with_what_in_flight() {
    let report = Report::of(&Story::of(upgraded()));
    assert_eq!(report.audit.findings, Vec::<String>::new());
    let text = show::text(&report).to_string();
    let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    for words in ["drained", "2 cloud, 1 gemini", "40 ms", "70 ms"] {
        assert!(row("ledger").contains(words), "{words} in\n{text}");
    }
    assert!(row("router-1").contains("killed") && row("router-1").contains("200 ms"), "{text}");
    let written = serde_json::to_string(&report).expect("JSON");
    assert_eq!(serde_json::from_str::<Report>(&written).expect("a report"), report);
}

#[test]
fn what_an_upgrade_owes_is_found_missing() {
    let is_router = |line: &Line| matches!(line, Line::Replaced(one) if one.name == "router-1");
    let missing = findings(|lines| lines.retain(|line| !is_router(line)));
    assert_eq!(missing, ["router-1 was not replaced, or its successor did no work"]);
    let exit = |code: Option<i32>| {
        findings(|lines| {
            for line in lines {
                if let Line::Replaced(one) = line
                    && one.name == "ledger"
                {
                    one.exit_code = code;
                }
            }
        })
    };
    assert_eq!(exit(Some(75)), Vec::<String>::new(), "it handed back what it held");
    for code in [Some(70), None] {
        assert!(exit(code)[0].starts_with("ledger was asked to stop and ended badly"), "{code:?}");
    }
    let own_end = findings(|lines| {
        lines.push(Line::Hit(Hit {
            at_ms: 1_400,
            name: "worker-cloud".to_owned(),
            component: Component::WorkerCloud,
            blow: None,
            status: Some("exit status: 78".to_owned()),
            back_at_ms: Some(1_700),
            useful_at_ms: None,
        }));
    });
    assert_eq!(own_end, ["worker-cloud ended by itself during the upgrade: exit status: 78"]);
}
