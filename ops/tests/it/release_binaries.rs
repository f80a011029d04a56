//! `ops/scripts/release-binaries` with a repository and a cargo of the test's own making.

use crate::{repository, scratch};
use serde::Deserialize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

#[derive(Deserialize)]
struct Releases {
    release: Vec<Release>,
}

#[derive(Deserialize)]
struct Release {
    version: String,
    commit: String,
}

/// Stands in for cargo: every binary prints the tree's word, and each build leaves a line.
const CARGO: &str = r#"#!/bin/sh
echo "$@" >> "$BUILDS"
mkdir -p "$CARGO_TARGET_DIR/release"
for name in argosy router worker-local worker-cloud worker-gemini ledger; do
  printf '#!/bin/sh\necho %s\n' "$(cat word)" > "$CARGO_TARGET_DIR/release/$name"
  chmod +x "$CARGO_TARGET_DIR/release/$name"
done
touch "$CARGO_TARGET_DIR/release/router.d"
"#;

fn script(root: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(repository().join("ops/scripts/release-binaries"));
    command.arg("--root").arg(root).args(more);
    command.env("CARGO", root.join("cargo")).env("BUILDS", root.join("builds"));
    command.output().expect("python3 is there")
}

fn git(root: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(root).args([
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgsign=false",
    ]);
    let output = command.args(arguments).output().expect("git is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn entry(version: &str, commit: &str) -> String {
    format!("[[release]]\nversion = \"{version}\"\ncommit = \"{commit}\"\ngoldens = \"g\"\n\n")
}

#[test]
fn the_recorded_releases_are_read_as_they_are_written() {
    let text = std::fs::read_to_string(repository().join("releases.toml")).unwrap();
    let recorded: Releases = toml::from_str(&text).unwrap();
    let said = |output: Output| String::from_utf8(output.stdout).unwrap().trim().to_owned();
    for release in &recorded.release {
        let output = script(repository(), &["--which", &release.version]);
        assert_eq!(said(output), format!("{} {}", release.version, release.commit));
    }
    let newest = recorded.release.last().expect("a release is recorded");
    let output = script(repository(), &["--which"]);
    assert_eq!(said(output), format!("{} {}", newest.version, newest.commit));
}

#[test]
fn a_release_is_built_once_from_its_own_commit() {
    let (_scratch, root) = scratch();
    std::fs::write(root.join("cargo"), CARGO).unwrap();
    std::fs::set_permissions(root.join("cargo"), std::fs::Permissions::from_mode(0o755)).unwrap();
    git(&root, &["init", "-q"]);
    let commit = |word: &str| {
        std::fs::write(root.join("word"), word).unwrap();
        git(&root, &["add", "word"]);
        git(&root, &["commit", "-q", "-m", word]);
        git(&root, &["rev-parse", "HEAD"])
    };
    let (first, second) = (commit("first"), commit("second"));
    commit("third");
    let record = |text: String| std::fs::write(root.join("releases.toml"), text).unwrap();
    record(format!("# Releases.\n{}{}", entry("0.1.0", &first), entry("0.2.0", &second)));
    let word = |arguments: &[&str]| {
        let output = script(&root, arguments);
        assert!(output.status.success(), "{output:?}");
        let folder = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(!Path::new(&folder).join("router.d").exists(), "binaries alone");
        let ran = Command::new(Path::new(&folder).join("router")).output().expect("it runs");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    let builds = || std::fs::read_to_string(root.join("builds")).unwrap().lines().count();
    assert_eq!((word(&[]), word(&["0.1.0"])), ("second".to_owned(), "first".to_owned()));
    assert_eq!((word(&[]), builds()), ("second".to_owned(), 2), "once each");
    assert!(!root.join(".argosy/releases/0.2.0/source").exists(), "the tree is gone");
    record(entry("0.2.0", &first));
    assert_eq!((word(&[]), builds()), ("first".to_owned(), 3), "another commit is another build");
    record(entry("0.3.0", &"0".repeat(40)));
    for (arguments, code, words) in [
        (&[][..], 4, "git does not have commit 0000"),
        (&["9.9.9"][..], 3, "does not record release 9.9.9; it has: 0.3.0"),
    ] {
        let output = script(&root, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.lines().last().is_some_and(|line| line.contains(words)), "{error}");
    }
}
