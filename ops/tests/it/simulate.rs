//! `argosy simulate` from the outside: bad input is refused by name, good input gives rows that sum up.

use std::process::{Command, Output};

fn simulate(words: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_argosy"));
    command.current_dir(folder.path()).arg("simulate").args(words).output().expect("it runs")
}

#[test]
fn bad_input_is_a_usage_error_that_names_the_cure() {
    let cases: [(&[&str], &str); 6] = [
        (&["--workload", "burst"], "use steady, bursts, mixed"),
        (&["--strategy", "best"], "`best` is no strategy: use balanced"),
        (&["--seeds", "0"], "give 1 to 1000"),
        (&["--routers", "0"], "routers: 0 is not within 1 to 64"),
        (&["--jobs", "5000"], "add --no-bound"),
        (&["--jobs", "0"], "give 1 to"),
    ];
    for (words, expected) in cases {
        let output = simulate(words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn files_are_read_and_refused_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.jsonl");
    let name = path.to_str().expect("a path");
    std::fs::write(&path, "{\"at_ms\": 0}\n{\"at_ms\": 5, \"model\": \"none\"}\n").expect("written");
    let output = simulate(&["--workload", name]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("job 2: model `none`"), "{error}");
    std::fs::write(&path, "{\"at_ms\": 0, \"run_ms\": {\"local\": 4000}}\n").expect("written");
    let output = simulate(&["--workload", name, "--strategy", "balanced", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let figures = &report["strategies"][0]["seeds"][0]["figures"];
    assert_eq!((figures["completed"].as_u64(), figures["money"].as_i64()), (Some(1), Some(0)), "{report}");
}
