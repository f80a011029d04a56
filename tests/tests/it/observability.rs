//! What operators query has one name each: metrics come from one table, log fields from one list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use runtime::log_fields::FIELDS;
use runtime::metrics::{Entry, TABLE};
use tests::fleet::{LIMIT, TestFleet, root};
use tests::jobs::prompt;
use tests::logs;

use crate::tidy::{graph, read, sources};

/// Crates whose logs are not the fleet's: the simulators play foreign systems, and tests log for themselves.
const LOGS_OF_THEIR_OWN: [&str; 2] = ["simulators", "tests"];

/// The code of the fleet: path from the root, and text.
fn code() -> Vec<(PathBuf, String)> {
    let of_fleet = |path: &PathBuf| path.iter().any(|part| part == "src");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        (path.strip_prefix(root()).expect("below the root").to_owned(), text)
    };
    sources().into_iter().filter(of_fleet).map(read).collect()
}

#[test]
fn only_the_table_emits_metrics() {
    let foreign = graph().foreign;
    let users: Vec<_> =
        foreign.iter().filter(|(_, uses)| uses.contains("metrics")).map(|(name, _)| name).collect();
    assert_eq!(users, ["runtime"], "metrics are emitted through runtime::metrics, whose table lists them");
    for (path, text) in code() {
        if !path.starts_with("runtime") || path == Path::new("runtime/src/metrics.rs") {
            continue;
        }
        for call in ["counter!", "gauge!", "histogram!", " ::metrics", "with_recorder"] {
            assert!(!text.contains(call), "{}: `{call}` passes by the table of metrics", path.display());
        }
    }
}

#[test]
fn every_metric_of_the_table_is_emitted() {
    let code = code();
    let is_apart = |path: &PathBuf| path.starts_with("tests") || path == Path::new("runtime/src/metrics.rs");
    for entry in TABLE {
        let (of, handle) = (&entry.name, format!("metrics::{}", entry.handle));
        let emits = |text: &str| {
            let follows = |at: usize| text[at + handle.len()..].chars().next();
            let is_whole = |at| !follows(at).is_some_and(|c| c.is_alphanumeric() || c == '_');
            text.match_indices(&handle).any(|(at, _)| is_whole(at))
        };
        let live = code.iter().any(|(path, text)| !is_apart(path) && emits(text));
        assert!(live, "{of}: nothing emits `{handle}`; remove its row or count");
    }
}

#[test]
fn metrics_that_documents_and_tools_name_are_in_the_table() {
    let names: BTreeSet<&str> = TABLE.iter().map(|entry| entry.name).collect();
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let endings = ["_total", "_bytes", "_seconds", "_days", "_jobs", "_refused", "_count", "_sum", "_bucket"];
    let mut texts: Vec<(PathBuf, String)> = code();
    texts.extend(["README.md", "ARCHITECTURE.md"].map(|document| (document.into(), read(document))));
    let mut seen = 0;
    for (path, text) in texts {
        for (at, _) in text.match_indices("argosy_") {
            if text[..at].ends_with(is_part) {
                continue;
            }
            let end = text[at..].find(|c| !is_part(c)).map_or(text.len(), |length| at + length);
            let name = &text[at..end];
            if !endings.iter().any(|ending| name.ends_with(ending)) {
                continue;
            }
            let base = ["_count", "_sum", "_bucket"].iter().find_map(|part| name.strip_suffix(part));
            let known = names.contains(name) || base.is_some_and(|base| names.contains(base));
            assert!(known, "{}: `{name}` is no metric of the table", path.display());
            seen += 1;
        }
    }
    assert!(seen > TABLE.len(), "the search went wrong: {seen} names");
}

#[test]
fn log_fields_are_in_the_list() {
    let mut used = BTreeSet::new();
    for (path, text) in code() {
        if LOGS_OF_THEIR_OWN.iter().any(|name| path.starts_with(name)) {
            continue;
        }
        for logs::LogField { name, text, line } in logs::fields(&text) {
            let place = format!("{}:{line}: `{text}`", path.display());
            let known = FIELDS.iter().find(|field| field.name == name);
            let known = known
                .unwrap_or_else(|| panic!("{place}: add it to runtime/src/log_fields.rs, or use its name"));
            assert!(text != "%attempt", "{place}: an attempt is logged as `job` and the number `attempt`");
            used.insert(known.name);
        }
    }
    let unused: Vec<_> = FIELDS.iter().map(|field| field.name).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "runtime/src/log_fields.rs: no log line has {unused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_live_fleet_describe_every_series() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|_| {}).await?;
    let job = prompt("a lamp");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    for process in ["router-1", "worker-local-1", "worker-cloud", "worker-gemini", "ledger"] {
        let at = fleet.stack.member(process)?.address().context("its page has an address")?;
        let page = reqwest::get(format!("http://{at}/metrics")).await?.text().await?;
        let mut series = 0;
        for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let is_of = |entry: &&&Entry| {
                let part = name.strip_prefix(entry.name);
                part.is_some_and(|part| ["", "_count", "_sum", "_bucket"].contains(&part))
            };
            let entry = TABLE
                .iter()
                .find(is_of)
                .with_context(|| format!("{process}: `{line}` is not in the table"))?;
            let described = format!("# HELP {} {}\n# TYPE {} ", entry.name, entry.help, entry.name);
            ensure!(page.contains(&described), "{process}: {name} is not described:\n{page}");
            series += 1;
        }
        ensure!(series > 2, "{process} has {series} series:\n{page}");
    }
    Ok(())
}
