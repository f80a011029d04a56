//! Guides stay true: links lead somewhere, lists of files are complete, and one thing has one word.

use std::path::{Path, PathBuf};

use tests::fleet::root;

use crate::tidy::{read, sources};

/// Code that says `gemini` and that a fourth backend does not touch: samples, a node of ComfyUI, examples in tests.
const NOT_BY_BACKEND: [&str; 3] =
    ["schemas/src/samples.rs", "schemas/src/workflow/nodes.rs", "runtime/src/metrics.rs"];

/// Folders without documents of ours.
const SKIPPED: [&str; 4] = ["target", ".git", ".argosy", "out"];

fn files_below(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            let is_skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if !is_skipped {
                files_below(&path, ending, found);
            }
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path.strip_prefix(root()).expect("below the root").to_owned());
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files_below(&root(), "md", &mut found);
    assert!(found.len() > 10, "the walk went wrong: {found:?}");
    found
}

/// The anchor of a heading, as a page on the web makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut followed = 0;
    for document in documents() {
        let text = read(&document.to_string_lossy());
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split(')').next().expect("a target");
            if target.starts_with("http") || target.contains(' ') || target.is_empty() {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let here = root().join(&document);
            let path = if file.is_empty() { here } else { here.parent().expect("a folder").join(file) };
            assert!(path.exists(), "{}: `{target}` leads nowhere", document.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).expect("a document");
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
                assert!(is_there, "{}: `{target}`: no such heading", document.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "links were not found: {followed}");
}

/// The files that a document names between backticks.
fn named(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_file = |name: &&str| {
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        let is_script = name.starts_with("ops/scripts/");
        let is_known =
            ["rs", "md", "toml", "json", "txt", "sql", "conf"].iter().any(|known| ending == Some(known));
        (is_known || is_script) && !name.contains([' ', '*', '<', '{', ':'])
    };
    quoted.filter(is_file).collect()
}

#[test]
fn the_guide_to_extending_names_files_that_exist() {
    let guide = read("docs/extending.md");
    let named = named(&guide);
    assert!(named.len() > 40, "files were not found: {named:?}");
    for name in named {
        assert!(root().join(name).is_file(), "docs/extending.md names `{name}`, which is not there");
    }
}

#[test]
fn the_guide_names_every_file_that_a_backend_touches() {
    let guide = read("docs/extending.md");
    let (_, backend) = guide.split_once("## A backend").expect("its section");
    let backend = backend.split("\n## ").next().unwrap_or_default();
    let named = named(backend);
    let mut files: Vec<PathBuf> = sources();
    let mut others = Vec::new();
    files_below(&root().join("policy/defaults"), "json", &mut others);
    files.extend(
        others.iter().chain([&"Cargo.toml".into(), &"tests/Cargo.toml".into()]).map(|path| root().join(path)),
    );
    let mut touched = 0;
    for path in files {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let is_own = name.starts_with("worker-gemini/") || name.starts_with("simulators/src/gemini");
        let is_test = name.ends_with(".rs") && (name.starts_with("tests/") || name.contains("/tests/"));
        if is_own || is_test || NOT_BY_BACKEND.contains(&name.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        // Words about it are no reason to change; code is.
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        if code.any(|line| line.to_lowercase().contains("gemini")) {
            assert!(named.contains(&name.as_str()), "docs/extending.md, A backend: `{name}` is missing");
            touched += 1;
        }
    }
    assert!(touched > 15, "the search went wrong: {touched}");
}

#[test]
fn what_an_operator_sees_is_parked() {
    let mut files = documents();
    files_below(&root(), "rs", &mut files);
    for file in files {
        let name = file.to_string_lossy().into_owned();
        // History stays as it was; the command itself says what its name was before.
        if ["CHANGELOG.md", "ops/src/command/parked.rs", "tests/tests/it/guides.rs"].contains(&name.as_str())
        {
            continue;
        }
        assert!(!read(&name).contains("argosy dead"), "{name}: `argosy dead` is now `argosy parked`");
    }
}
