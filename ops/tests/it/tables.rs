//! The main tables at 80 and 120 columns, as golden files: hostile words among them steer nothing, and everything fits.
//! `UPDATE_GOLDEN=1 cargo test -p ops --test it tables` rewrites them.

use client::parked::Entry;
use ledger_read::JobSummary;
use ops::command::{backends_tables, explain::decision_text, jobs_table, parked_table, status_text};
use ops::screen::Screen;
use ops::text::Text;
use runtime::escape::is_steering;
use schemas::api::{BackendStatus, BackendsReply, ClassBacklog, LaneStatus, Presence, StatusReply};
use schemas::samples::{self, TIME_MS};
use schemas::{
    Backend, Class, Fact, Failure, FailureCode, FilterReason, Health, JobState, Lane, MicroUsd, Parked,
    Rejection,
};
use std::path::Path;
use unicode_width::UnicodeWidthStr as _;

/// What a stranger may call something, or a provider may answer.
fn hostile() -> String {
    format!(
        "\u{1b}[2J\u{1b}]0;owned\u{7}the audit holds\r\nall is \u{202e}llew\u{202c} 狐狸と 🦊👩\u{200d}🚀 {} {}",
        "words and words".repeat(4),
        "x".repeat(400)
    )
}

fn holds(name: &str, text: &Text) {
    for columns in [80, 120] {
        let shown = text.set(Screen::plain(columns)) + "\n";
        assert!(!shown.chars().any(|c| c != '\n' && is_steering(c)), "{name} steers: {shown:?}");
        for line in shown.lines() {
            assert!(line.width() <= columns, "{name}: {} columns of {columns}: {line}", line.width());
            assert_eq!(line, line.trim_end(), "{name}: nothing trails");
        }
        let coloured = text.set(Screen { columns: Some(columns), colour: true }) + "\n";
        let codes = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"];
        let bare = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, shown, "{name}: colours change nothing else");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}-{columns}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(&file, &shown).expect("written");
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(golden == shown, "{} differs: run with UPDATE_GOLDEN=1\n{shown}", file.display());
    }
}

fn summary(nth: u8, tenant: &str, state: JobState, code: Option<FailureCode>) -> JobSummary {
    JobSummary {
        job: schemas::JobId::from_parts(TIME_MS, [nth; 10]).0,
        tenant: tenant.to_owned(),
        lane: "interactive".to_owned(),
        kind: "image".to_owned(),
        class: Some("image-large".to_owned()),
        form: "prompt".to_owned(),
        labels: serde_json::json!({ "note": hostile() }),
        submitted_at_ms: TIME_MS - i64::from(nth) * 70_000,
        ended_at_ms: None,
        state: state.as_str().to_owned(),
        failure_code: code.map(|code| code.as_str().to_owned()),
        failure_message: Some(hostile()),
        attempts: i64::from(nth),
        backend: (nth > 1).then(|| "gemini".to_owned()),
        simulated: Some(nth == 2),
        posted_micro_usd: i64::from(nth) * 67_000,
        open_micro_usd: 0,
        queue_ms: None,
        run_ms: None,
        total_ms: Some(i64::from(nth) * 40_000),
    }
}

#[test]
fn jobs_fit() {
    let jobs = [
        summary(1, "default", JobState::Submitted, None),
        summary(2, "studio-a", JobState::Completed, None),
        summary(3, "studio-a", JobState::Failed, Some(FailureCode::CapabilityMissing)),
    ];
    let text = Text::from(jobs_table(&jobs, TIME_MS));
    holds("jobs", &text);
    let shown = text.set(Screen::plain(80));
    for job in &jobs {
        assert!(shown.contains(&job.job.to_string()), "ids are never cut: {shown}");
        assert!(shown.contains(&MicroUsd(job.posted_micro_usd).to_string()), "money is never cut: {shown}");
    }
}

#[test]
fn parked_messages_fit() {
    let parked = |failure: Failure| Parked { failure, ..samples::parked() };
    let entry = |sequence, tenant: &str, parked: Option<Parked>| Entry {
        sequence,
        tenant: tenant.to_owned(),
        code: parked.as_ref().map_or("unknown", |parked| parked.failure.code.as_str()).to_owned(),
        job: samples::job_id().to_string(),
        parked,
    };
    let entries = [
        entry(17, "studio-a", Some(samples::parked())),
        entry(
            18,
            "default",
            Some(parked(Failure::new(FailureCode::UnusableResult, "no file").with_words(&hostile()))),
        ),
        entry(1_000_019, "unknown", None),
    ];
    let text = Text::from(parked_table(&entries, TIME_MS + 3_600_000));
    holds("parked", &text);
    assert!(text.set(Screen::plain(80)).contains('…'), "what does not fit is marked");
}

#[test]
fn decisions_fit() {
    let mut decision = samples::decision();
    let [winner, loser] = decision.candidates.clone().try_into().expect("two");
    let mut strange = loser.clone();
    strange.backend = "cloud".parse().expect("a name");
    let detail = hostile();
    strange.rejections.push(Rejection { reason: FilterReason::NotAllowedByJob, detail: detail.into() });
    decision.candidates = vec![winner, loser, strange];
    let text = decision_text(&decision);
    holds("explain", &text);
    // All of it is there: what does not fit goes on on the next line.
    let squeezed = |text: String| text.split_whitespace().collect::<String>();
    assert!(squeezed(text.set(Screen::plain(80))).contains(&"x".repeat(400)));
}

#[test]
fn backends_fit() {
    let mut busy = samples::offer();
    busy.health = Health::Down;
    busy.health_reason = Some(hostile());
    let mut real = samples::offer();
    real.worker = "gpu-host-in-the-basement-2".parse().expect("a name");
    real.simulated = false;
    let presence = |worker: &str, is_fresh| Presence {
        worker: worker.parse().expect("a name"),
        age_ms: 1_200,
        is_fresh,
        clock_skew_ms: -300,
    };
    let status = |name: &str, workers, reason: Option<String>| BackendStatus {
        backend: Backend::new(name).expect("a name"),
        paid: name != "local",
        workers,
        backlog: vec![ClassBacklog { class: Class::new("image-large").expect("a name"), jobs: 3 }],
        breaker_open_until_ms: reason.as_ref().map(|_| TIME_MS + 5_000),
        breaker_reason: reason,
        breakers: Vec::new(),
        presence: vec![presence("local-1", false), presence("gpu-host-in-the-basement-2", true)],
        stuck: Vec::new(),
    };
    let reply = BackendsReply {
        time_ms: TIME_MS,
        backends: vec![
            status("local", vec![busy, real], None),
            status("cloud", Vec::new(), Some(format!("backend_down: {}", hostile()))),
        ],
        ledger_available: false,
        lanes: vec![LaneStatus { lane: Lane::Interactive, jobs: 1_200, oldest_age_ms: Some(95_000) }],
        stalled: Vec::new(),
        clock_skew_ms: None,
    };
    holds("backends", &backends_tables(&reply));
}

#[test]
fn a_status_fits() {
    let mut events = samples::events();
    for event in &mut events {
        if let Fact::Retrying { ended_attempt, .. } = &mut event.fact {
            ended_attempt.failure = Some(Failure::new(FailureCode::Transient, "gone").with_words(&hostile()));
        }
    }
    let reply =
        StatusReply { job: events[0].job, state: JobState::Completed, known: true, events, waiting: None };
    holds("status", &status_text(&reply, TIME_MS));
}
