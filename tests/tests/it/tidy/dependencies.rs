//! What crates depend on: each dependency is used, and what tests alone need points down as well.

use std::collections::{BTreeMap, BTreeSet};

use super::{folder_of, graph, sources};

/// Code without its comments and the insides of its texts, as far as lines show them.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut letters = line.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if quoted => {
                    letters.next();
                }
                '"' => quoted = !quoted,
                '/' if !quoted && letters.peek() == Some(&'/') => break,
                _ if !quoted => code.push(letter),
                _ => {}
            }
        }
        code.push('\n');
    }
    code
}

/// Whether code uses a crate: a path that begins with its name, or an import of it.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let is_inner = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        let is_below = code[..at].ends_with("::") && !code[..at].ends_with(" ::");
        let imported = ["use ", "extern crate "].iter().any(|head| code[..at].ends_with(head));
        let is_path = after.starts_with("::");
        let is_import = imported && after.starts_with([';', ' ', '{']);
        !is_inner && !is_below && (is_path || is_import)
    })
}

/// Each dependency, also one for tests only, is used in the code of its crate.
#[test]
fn every_dependency_is_used() {
    let all = sources();
    for (package, dependencies) in graph().named {
        let folder = folder_of(&package);
        let files = all.iter().filter(|path| path.starts_with(&folder));
        let code: String =
            files.map(|path| code_of(&std::fs::read_to_string(path).expect("readable"))).collect();
        for dependency in dependencies {
            let used = uses(&code, &dependency.replace('-', "_"));
            assert!(used, "{package}/Cargo.toml: `{dependency}` is used nowhere in its code: remove it");
        }
    }
}

#[test]
fn uses_are_told_from_words() {
    for using in
        ["use simulators::Fleet;", "let a = simulators::start();", "#[simulators::main]", "use simulators;"]
    {
        assert!(uses(&code_of(using), "simulators"), "{using}");
    }
    for naming in [
        "fleet.stack.simulators.len()",
        "// simulators::start",
        "\"simulators::start\"",
        "crate::simulators::start()",
        "our_simulators::start()",
        "let simulators = 3;",
    ] {
        assert!(!uses(&code_of(naming), "simulators"), "{naming}");
    }
}

/// With what only tests need, the crates still stand in an order in which each uses those above it.
#[test]
fn dependencies_of_tests_point_down() {
    let graph = graph();
    let members: BTreeSet<&String> = graph.ours.keys().collect();
    let mut left: BTreeMap<&String, BTreeSet<&String>> = graph
        .named
        .iter()
        .map(|(package, all)| (package, all.iter().filter(|name| members.contains(name)).collect()))
        .collect();
    while !left.is_empty() {
        let free: Vec<&String> =
            left.iter().filter(|(_, uses)| uses.is_empty()).map(|(package, _)| *package).collect();
        assert!(!free.is_empty(), "these use each other, their tests included: {left:?}");
        for package in free {
            left.remove(package);
            left.values_mut().for_each(|uses| {
                uses.remove(package);
            });
        }
    }
}
