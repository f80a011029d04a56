//! What the command writes, seen from outside: colours, widths, completions, man pages, errors.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the real command where no broker is and no fleet runs.
fn argosy(words: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_argosy"));
    command.args(words).current_dir(folder.path()).stdin(Stdio::null()).envs(env.iter().copied());
    command.output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = argosy(&["completions", shell], &[]);
        let script = text(&output.stdout);
        assert!(output.status.success(), "{shell}: {output:?}");
        for word in ["submit", "backends", "max-cost-usd", "redrive"] {
            assert!(script.contains(word), "{shell} does not complete `{word}`");
        }
    }
    assert_eq!(argosy(&["completions", "tcsh"], &[]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_man_page() {
    let page = argosy(&["man", "submit"], &[]);
    let page = text(&page.stdout);
    assert!(
        page.starts_with(".") && page.contains("max\\-cost\\-usd") && page.contains(".SH CONNECTION"),
        "{page}"
    );
    assert_eq!(argosy(&["man", "sbumit"], &[]).status.code(), Some(2));
    let folder = tempfile::tempdir().expect("a folder");
    let output = argosy(&["man", "--out", &folder.path().display().to_string()], &[]);
    assert!(output.status.success(), "{output:?}");
    for command in ops::command::definition().get_subcommands() {
        let name = format!("argosy-{}.1", command.get_name());
        assert!(folder.path().join(&name).is_file() || command.get_name() == "help", "{name} is missing");
    }
    assert!(folder.path().join("argosy.1").is_file());
}

#[test]
fn connection_options_have_a_heading_of_their_own() {
    let help = text(&argosy(&["jobs", "--help"], &[]).stdout);
    let (before, under) = help.split_once("\nConnection:\n").expect("the heading");
    for option in ["--nats <URL>", "--database <URL>", "--root <DIR>", "--group-writes"] {
        assert!(under.contains(option) && !before.contains(option), "{option}: {help}");
    }
    assert!(before.contains("--tenant") && before.contains("--json"), "{help}");
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--json", "jobs", "--state", "odd\u{1b}[2J"], 2, "use one of submitted"),
        (&["no-such-command", "--json"], 2, "no-such-command"),
        (&["--json", "submit", "a fox", "--nats", "nats://127.0.0.1:1"], 69, "no broker"),
        (&["--json", "simulate", "--seeds", "0"], 2, "give 1 to 1000"),
    ];
    for (words, code, expected) in cases {
        let output = argosy(words, &[]);
        let said: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert_eq!(
            (output.status.code(), said["exit_code"].as_i64()),
            (Some(code), Some(code.into())),
            "{said}"
        );
        assert!(said["error"].as_str().is_some_and(|error| error.contains(expected)), "{said}");
    }
    assert!(argosy(&["--json", "--version"], &[]).status.success());
}

#[test]
fn what_is_refused_is_quoted_without_steering() {
    for words in [&["jobs", "--state", "\u{1b}[2Jodd\u{202e}"][..], &["\u{9b}31m"]] {
        let output = argosy(words, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("argosy: ") && said.contains("\\u{"), "{said}");
        assert!(!said.chars().any(|c| c != '\n' && runtime::escape::is_steering(c)), "{said:?}");
    }
}

/// On a terminal of 80 columns, as Python makes one.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    sys.stdout.buffer.write(piece)
os.waitpid(child, 0)
"#;

fn on_a_terminal(env: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("python3");
    command.args([
        "-c",
        ON_A_TERMINAL,
        env!("CARGO_BIN_EXE_argosy"),
        "doctor",
        "--nats",
        "nats://127.0.0.1:1",
    ]);
    command.current_dir(folder.path()).stdin(Stdio::null());
    command
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .env("TERM", "xterm-256color")
        .envs(env.iter().copied());
    text(&command.output().expect("python3 runs").stdout).replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_colours_unless_they_are_refused_and_tables_as_wide_as_it_is() {
    let coloured = on_a_terminal(&[]);
    assert!(coloured.contains("\u{1b}[31mbad\u{1b}[0m"), "{coloured:?}");
    for refused in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&[refused]);
        assert!(!plain.contains('\u{1b}') && plain.contains("  bad"), "{refused:?}: {plain:?}");
        let table: Vec<&str> = plain.lines().take_while(|line| !line.starts_with("argosy:")).collect();
        assert!(table.len() > 5, "{plain}");
        assert!(table.iter().all(|line| line.chars().count() <= 80), "{plain}");
    }
    let piped = argosy(&["doctor", "--nats", "nats://127.0.0.1:1"], &[]);
    assert!(!text(&piped.stdout).contains('\u{1b}') && !text(&piped.stderr).contains('\u{1b}'), "{piped:?}");
    assert!(text(&piped.stdout).lines().any(|line| line.len() > 80), "a pipe gets every row on one line");
}

/// `say.rs` and what decides about the screen are the only files that know standard output and error by name.
#[test]
fn nothing_is_written_past_the_one_place_that_escapes() {
    fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut writing) = (Vec::new(), 0);
    walk(&source, &mut files);
    for path in files {
        let code = std::fs::read_to_string(&path).expect("readable");
        let shown = path.strip_prefix(&source).expect("below").display().to_string();
        let writes = ["io::stdout()", "io::stderr()", "std::print", "std::eprint", " print!(", " eprint!("];
        if writes.iter().any(|call| code.contains(call)) {
            assert!(["say.rs", "screen.rs"].contains(&shown.as_str()), "{shown} writes by itself");
            writing += 1;
        }
    }
    assert_eq!(writing, 2);
}
