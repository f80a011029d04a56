//! The workspace's own rules, as tests: the crate graph, what only one crate may know, file sizes, and
//! the documents that are generated from code.

mod changes;
mod constants;
mod dependencies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::circles::Sources;
use tests::fleet::root;

/// The longest file, lines.
const FILE_MAX_LINES: usize = 450;

/// The crate in which files use each other in circles: the simulated world and what moves in it. It ships nothing.
const WITH_CIRCLES: &str = "tests";

pub(crate) struct Graph {
    pub(crate) ours: BTreeMap<String, BTreeSet<String>>,
    pub(crate) foreign: BTreeMap<String, BTreeSet<String>>,
    /// All that a package names, for its tests too.
    pub(crate) named: BTreeMap<String, BTreeSet<String>>,
}

pub(crate) fn graph() -> Graph {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let mut graph = Graph { ours: BTreeMap::new(), foreign: BTreeMap::new(), named: BTreeMap::new() };
    for package in packages {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        graph.named.insert(name(package), dependencies.iter().map(name).collect());
        let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null()).map(name);
        let (ours, foreign) = normal.partition(|dependency| members.contains(dependency));
        graph.ours.insert(name(package), ours);
        graph.foreign.insert(name(package), foreign);
    }
    graph
}

pub(crate) fn read(relative: &str) -> String {
    std::fs::read_to_string(root().join(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

#[test]
fn the_crate_graph_is_the_one_in_the_map() {
    let document = read("ARCHITECTURE.md");
    let map = document.split("## Map").nth(1).expect("a map");
    let map = map.split("Where is").next().expect("its first table");
    let mut drawn = BTreeMap::new();
    for row in map.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let uses = cells[3].split(',').map(str::trim).filter(|name| *name != "–");
        drawn.insert(cells[1].trim_matches('`').to_owned(), uses.map(str::to_owned).collect());
    }
    assert_eq!(drawn, graph().ours, "left: ARCHITECTURE.md, right: the workspace");
}

#[test]
fn what_only_one_crate_may_know() {
    let foreign = graph().foreign;
    let users = |name: &str| -> Vec<&str> {
        let using = foreign.iter().filter(|(_, dependencies)| dependencies.contains(name));
        using.map(|(user, _)| user.as_str()).collect()
    };
    assert_eq!(users("sqlx"), ["ledger", "ledger-read", "trials"]);
    assert_eq!(users("nvml-wrapper"), ["worker-local"]);
    for banned in ["tokio", "async-nats", "sqlx", "reqwest", "rand", "uuid"] {
        for pure in ["policy", "protocol"] {
            assert!(!foreign[pure].contains(banned), "{pure} must not use {banned}");
        }
    }
    assert!(!foreign["policy"].contains("futures"), "policy must not use futures");
    assert!(users("anyhow").iter().all(|user| !["schemas", "policy"].contains(user)));
}

/// The folder of a package: its name, but for the example.
fn folder_of(package: &str) -> PathBuf {
    root().join(if package == "example-rust" { "examples/rust" } else { package })
}

pub(crate) fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for member in graph().ours.keys() {
        for part in ["src", "tests", "benches"] {
            let folder = folder_of(member).join(part);
            if folder.is_dir() {
                walk(&folder, &mut found);
            }
        }
    }
    assert!(found.len() > 100, "the walk went wrong: {} files", found.len());
    found
}

#[test]
fn files_have_one_purpose_and_fit_in_the_head() {
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("readable");
        let (lines, shown) = (text.lines().count(), path.display());
        assert!(lines <= FILE_MAX_LINES, "{shown}: {lines} lines, at most {FILE_MAX_LINES}");
        assert!(text.starts_with("//!"), "{shown}: the header that says what it is for is missing");
    }
}

#[test]
fn every_worker_passes_the_conformance_suite() {
    let is_worker = |name: &&String| name.starts_with("worker-") && *name != "worker-host";
    for worker in graph().ours.keys().filter(is_worker) {
        let calls = sources().iter().any(|path| {
            path.starts_with(root().join(worker).join("tests"))
                && std::fs::read_to_string(path)
                    .is_ok_and(|text| text.contains("worker_host::conformance") && text.contains("exercise("))
        });
        assert!(calls, "{worker}: no test calls worker_host::conformance::exercise");
    }
}

#[test]
fn the_state_diagram_is_the_code() {
    let document = read("ARCHITECTURE.md");
    let drawn = document.split("```mermaid\n").nth(1).and_then(|rest| rest.split("```").next());
    let now = schemas::state::mermaid();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let updated = document.replacen(drawn.expect("a diagram"), &now, 1);
        std::fs::write(root().join("ARCHITECTURE.md"), updated).expect("written");
        return;
    }
    assert_eq!(drawn, Some(now.as_str()), "run with UPDATE_GOLDEN=1");
}

#[test]
fn documents_name_files_that_exist() {
    let ours = graph().ours;
    let pages = ["docs", "ops/docs", "ledger/migrations"].into_iter().flat_map(|folder| {
        let found = std::fs::read_dir(root().join(folder)).expect("a folder").flatten();
        found.map(move |entry| format!("{folder}/{}", entry.file_name().to_string_lossy()))
    });
    let pages = pages.filter(|name| name.ends_with(".md"));
    for document in pages.chain(["ARCHITECTURE.md", "README.md"].map(str::to_owned)) {
        for quoted in read(&document).split('`').skip(1).step_by(2) {
            let is_path = quoted.contains('/') && !quoted.contains([' ', '*', '<', '=', ':', '$', '{']);
            let first = quoted.split('/').next().unwrap_or_default();
            if is_path && ours.contains_key(first) {
                assert!(root().join(quoted).exists(), "{document} names `{quoted}`, which is not there");
            }
        }
    }
}

#[test]
fn documents_name_tests_that_exist() {
    let all = sources();
    let mut named = 0;
    for quoted in read("ARCHITECTURE.md").split('`').skip(1).step_by(2) {
        let Some((file, test)) = quoted.split_once(".rs::") else { continue };
        let mut of_name = all.iter().filter(|path| path.ends_with(format!("{file}.rs")));
        let is_there = of_name.any(|path| {
            std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}(")))
        });
        assert!(is_there, "ARCHITECTURE.md names `{quoted}`, which is not there");
        named += 1;
    }
    assert!(named > 0, "the crash table names its tests");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    for member in graph().ours.keys().filter(|member| *member != WITH_CIRCLES) {
        let circles = Sources::read(&folder_of(member).join("src")).expect(member).circles();
        assert!(circles.is_empty(), "{member}: files that use each other: {circles:?}");
    }
}

/// The crates whose errors are types that keep their causes.
const TYPED_ERRORS: [&str; 3] = ["protocol", "router", "runtime"];

/// What is mere words, where an error has to be a type.
const WORDS: [&str; 4] = ["String", "&str", "&'static str", "Cow<'static, str>"];

/// What ends the part of an error that is for people.
const SAYS: [&str; 8] =
    ["to_string()", "chain(error)", "chain(&error)", "words", "message", "reason", "description", "why"];

/// How words are looked into.
const LOOKS: [&str; 5] = [".contains(", ".starts_with(", ".ends_with(", ".find(", " == \""];

/// Where words decide all the same: the broker has no code of its own for a subject that holds its one message.
const DECIDED_BY_WORDS: [&str; 1] = ["runtime/src/publish/acks.rs"];

/// The error type of every `Result` that names one.
fn error_types(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, head) in code.match_indices("Result<") {
        let inner = &code[at + head.len()..];
        let (mut depth, mut from, mut parts) = (0_usize, 0, Vec::new());
        for (at, letter) in inner.char_indices() {
            match letter {
                '<' | '(' | '[' => depth += 1,
                ',' | '>' if depth == 0 => {
                    parts.push(inner[from..at].trim());
                    from = at + 1;
                    if letter == '>' {
                        break;
                    }
                }
                '>' | ')' | ']' => depth -= 1,
                _ => {}
            }
        }
        parts.retain(|part| !part.is_empty());
        found.extend((parts.len() > 1).then(|| parts.pop()).flatten());
    }
    found
}

/// Whether code looks into what an error says.
fn looks_into_words(code: &str) -> bool {
    LOOKS.iter().any(|look| {
        code.match_indices(look).any(|(at, _)| {
            let before = code[..at].trim_end();
            SAYS.iter().any(|says| before.ends_with(says))
        })
    })
}

#[test]
fn errors_are_types_and_no_decision_reads_their_words() {
    let mut decided = BTreeSet::new();
    for path in sources() {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        if !TYPED_ERRORS.iter().any(|of| shown.starts_with(&format!("{of}/src/"))) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for error in error_types(code) {
            assert!(!WORDS.contains(&error), "{shown}: an error is `{error}`: make it a type with its cause");
        }
        if !shown.ends_with("/tests.rs") && looks_into_words(code) {
            decided.insert(shown);
        }
    }
    assert_eq!(decided, DECIDED_BY_WORDS.map(str::to_owned).into(), "left: where words decide");
}

#[test]
fn errors_that_are_words_are_found() {
    let typed =
        "Result<Vec<(u64, String)>, Away> Result<String> Result<(), fmt::Error> Result<A, Error<String>>";
    assert_eq!(error_types(typed), ["Away", "fmt::Error", "Error<String>"]);
    let worded = "Result<(), String> Result<Option<(u8, T)>, &'static str>\nResult<\n    (),\n    String,\n>";
    assert_eq!(error_types(worded), ["String", "&'static str", "String"]);
    for decides in [
        "if error.to_string().contains(\"404\")",
        "telemetry::chain(error).contains(NOT_FOUND)",
        "failure.message\n    .starts_with(\"no room\")",
        "error.to_string() == \"gone\"",
    ] {
        assert!(looks_into_words(decides), "{decides}");
    }
    for tells in ["message.subject.starts_with(prefix)", "text.contains(&words)", "error.kind() == NotFound"]
    {
        assert!(!looks_into_words(tells), "{tells}");
    }
}

/// A person sees *failed attempts* and *parked* jobs; `dead` is a name on the wire.
#[test]
fn documents_speak_of_failed_attempts() {
    let pages = std::fs::read_dir(root().join("docs")).expect("a folder").flatten().map(|entry| entry.path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    for path in pages.chain(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name))) {
        let text = std::fs::read_to_string(&path).expect("readable").to_lowercase();
        for word in ["dead letter", "dead-letter", "the letter"] {
            assert!(!text.contains(word), "{}: `{word}`: write failed attempt, or parked", path.display());
        }
    }
}
