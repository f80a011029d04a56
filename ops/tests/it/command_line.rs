//! The command line: amounts, options to jobs, tables, help.

use clap::{Args as _, FromArgMatches as _};
use ops::command::draft::Draft;
use ops::command::job_options::{JobOptions, Material};
use ops::command::series::drafts;
use ops::command::{backends_tables, definition, explain::decision_text};
use ops::money;
use schemas::api::{BackendStatus, BackendsReply, ClassBacklog};
use schemas::{Backend, Class, JobId, Kind, Lane, MicroUsd, Profile, samples};

pub(crate) fn options(words: &[&str]) -> Result<JobOptions, clap::Error> {
    let command = JobOptions::augment_args(clap::Command::new("job").no_binary_name(true));
    JobOptions::from_arg_matches(&command.try_get_matches_from(words)?)
}

fn one(options: &JobOptions, material: &Material) -> Draft {
    drafts(options, material, 1).expect("nothing to refuse").pop().expect("one")
}

#[test]
fn dollars_become_micro_dollars_digit_by_digit() {
    let good = [
        ("0", 0),
        ("0.05", 50_000),
        ("$1", 1_000_000),
        (".5", 500_000),
        ("2.", 2_000_000),
        ("0.000001", 1),
        ("0.1", 100_000),
        ("9223372036854.775807", i64::MAX),
    ];
    for (text, micro_usd) in good {
        assert_eq!(money::parse(text), Ok(MicroUsd(micro_usd)), "{text}");
    }
    for text in ["", ".", "$", "-1", "+1", "1e3", "1,5", "0.0000001", "9223372036854.775808", "one", "1 "] {
        let error = money::parse(text).expect_err(text).to_string();
        assert!(error.contains("six decimal places"), "{error}");
    }
}

#[test]
fn every_option_lands_in_its_field() {
    let words = [
        "a cat",
        "--kind",
        "video",
        "--model",
        "wan",
        "--width",
        "832",
        "--height",
        "480",
        "--steps",
        "30",
        "--seed",
        "7",
        "--duration-s",
        "2.5",
        "--negative",
        "dogs",
        "--tenant",
        "studio-a",
        "--lane",
        "batch",
        "--max-cost-usd",
        "0.05",
        "--deadline-s",
        "60",
        "--backend",
        "local",
        "--backend",
        "cloud",
        "--exclude-backend",
        "gemini",
        "--no-paid",
        "--prefer",
        "cloud",
        "--profile",
        "cheapest",
        "--label",
        "project=foxes",
        "--label",
        "note=a=b",
    ];
    let options = options(&words).expect("a good command line");
    let material = Material { prompt: options.prompt.clone(), ..Material::default() };
    let id = JobId::from_parts(1, [1; 10]);
    let job = options.to_job(one(&options, &material), id, 1_000);
    let backend = |name: &str| Backend::new(name).expect("a name");
    assert_eq!((job.id, job.time_ms, job.tenant.as_str(), job.lane), (id, 1_000, "studio-a", Lane::Batch));
    assert_eq!((job.body.kind, job.body.prompt.as_deref()), (Kind::Video, Some("a cat")));
    assert_eq!((job.body.width, job.body.height, job.body.steps), (Some(832), Some(480), Some(30)));
    assert_eq!((job.body.seed, job.body.duration_ms), (Some(7), Some(2_500)));
    assert_eq!(job.body.model.as_deref(), Some("wan"));
    assert_eq!(job.body.negative_prompt.as_deref(), Some("dogs"));
    assert_eq!(job.constraints.max_cost_micro_usd, Some(MicroUsd(50_000)));
    assert_eq!(job.constraints.deadline_ms, Some(61_000));
    assert_eq!(job.constraints.backends, Some(vec![backend("local"), backend("cloud")]));
    assert_eq!(job.constraints.exclude_backends, vec![backend("gemini")]);
    assert_eq!(job.constraints.allow_paid, Some(false));
    assert_eq!(job.preferences.backend, Some(backend("cloud")));
    assert_eq!(job.preferences.profile, Profile::Cheapest);
    assert_eq!(job.labels["project"], "foxes");
    assert_eq!(job.labels["note"], "a=b");
}

#[test]
fn what_is_not_said_is_left_to_the_fleet() {
    let plain = options(&["a cat"]).expect("a good command line");
    let material = Material { prompt: plain.prompt.clone(), ..Material::default() };
    let job = plain.to_job(one(&plain, &material), JobId::from_parts(1, [1; 10]), 0);
    assert_eq!(job.constraints, schemas::Constraints::default());
    assert_eq!(job.preferences, schemas::Preferences::default());
    assert_eq!((job.body.kind, job.lane), (Kind::Image, Lane::Standard));
    for bad in [
        &["x", "--allow-paid", "--no-paid"][..],
        &["x", "--max-cost-usd", "-1"],
        &["x", "--duration-s", "1.2345"],
        &["x", "--tenant", "Not.A.Name"],
        &["x", "--label", "nothing"],
    ] {
        assert!(options(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn help_teaches_by_example() {
    let mut pending = vec![definition()];
    let mut seen = 0;
    while let Some(command) = pending.pop() {
        let name = command.get_name().to_owned();
        let is_leaf_of_group = [
            "list", "causes", "show", "redrive", "discard", "reset", "apply", "verify", "set", "check",
            "default", "remove",
        ]
        .contains(&name.as_str());
        if !is_leaf_of_group {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Examples:\n  argosy") || help.contains("argosy "),
                "{name} has no example"
            );
            seen += 1;
        }
        pending.extend(command.get_subcommands().cloned());
    }
    assert_eq!(seen, 25, "argosy and its twenty-four commands");
    definition().debug_assert();
}

#[test]
fn the_former_name_of_a_command_still_works() {
    let matches = definition().try_get_matches_from(["argosy", "dead", "list"]).expect("an alias");
    assert_eq!(matches.subcommand_name(), Some("parked"));
}

#[test]
fn a_decision_shows_every_candidate_and_why_it_lost() {
    let text = decision_text(&samples::decision()).to_string();
    let decision = samples::decision();
    assert!(text.starts_with(&format!("attempt {}, class {}", decision.attempt, decision.class)), "{text}");
    assert!(text.contains(&decision.reason) && text.contains("(weight)"), "{text}");
    for candidate in &decision.candidates {
        assert!(text.contains(candidate.backend.as_str()), "{text}");
        for rejection in &candidate.rejections {
            assert!(text.contains(rejection.reason.as_str()) && text.contains(&*rejection.detail), "{text}");
        }
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "nothing trails");
}

#[test]
fn simulated_is_never_mistaken_for_real() {
    let mut real = samples::offer();
    real.simulated = false;
    real.gpus.clear();
    let mut simulated = real.clone();
    simulated.worker = "w-sim".parse().expect("a name");
    simulated.simulated = true;
    let backend = |name: &str, workers| BackendStatus {
        backend: Backend::new(name).expect("a name"),
        paid: name != "local",
        workers,
        backlog: vec![ClassBacklog { class: Class::new("video").expect("a name"), jobs: 3 }],
        breaker_open_until_ms: (name == "cloud").then_some(real.time_ms + 5_000),
        breaker_reason: (name == "cloud").then(|| "backend_down: gone".to_owned()),
        breakers: Vec::new(),
        presence: Vec::new(),
        stuck: Vec::new(),
    };
    let reply = BackendsReply {
        time_ms: real.time_ms,
        backends: vec![
            backend("local", vec![real.clone(), simulated.clone()]),
            backend("cloud", vec![simulated]),
            backend("gemini", vec![]),
        ],
        ledger_available: false,
        lanes: Vec::new(),
        stalled: Vec::new(),
        clock_skew_ms: None,
    };
    let text = backends_tables(&reply).to_string();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).expect(start).to_owned();
    assert!(line("local ").contains("part SIMULATED"), "{text}");
    assert!(line("cloud ").contains("  SIMULATED"), "{text}");
    assert!(line("cloud ").ends_with("video 3  open for 5.0 s: backend_down: gone"), "{text}");
    assert!(line("gemini ").contains("  -  "), "{text}");
    assert!(line("w-sim ").contains("SIMULATED"), "{text}");
    assert!(text.ends_with("The ledger grants no reservations at present: paid backends wait."));
}

#[test]
fn tables_are_plain_text_in_columns() {
    use ops::screen::Screen;
    use ops::table::{Align, Table};
    use ops::words::{duration, size};
    let columns = [("name", Align::Left), ("jobs", Align::Right), ("why", Align::Left)];
    let rows = vec![
        vec!["local".to_owned(), "7".to_owned(), String::new()],
        vec!["c".to_owned(), "1234".to_owned(), "full".to_owned()],
    ];
    let shown = Table::new(&columns, rows).set(Screen::PLAIN);
    assert_eq!(shown, "NAME   JOBS  WHY\nlocal     7\nc      1234  full");
    assert_eq!(
        [duration(0), duration(999), duration(2_540), duration(200_000)],
        ["0 ms", "999 ms", "2.5 s", "3 min 20 s"]
    );
    assert_eq!([size(12), size(1536), size(24 << 30)], ["12 B", "1.5 KiB", "24.0 GiB"]);
}
