//! The demo's parts: its jobs are jobs, its workflows run, its report says what its page says.

use client::documents::check;
use ledger_read::{BackendCount, Counts, JobSummary, SavingRow, StateCount};
use ops::show::demo as show;
use policy::invariants::{AuditReport, BackendAudit};
use runtime::fleet_config::KEYS;
use schemas::{ArtifactRef, Backend, Encoding, Input, Job, JobId, Kind, MicroUsd};
use serde_json::{Value, json};
use servers::process::started;
use stack::fleet_file::{FleetFile, root_of};
use stack::station::Station;
use std::collections::BTreeSet;
use trials::demo::bought::{Bought, Why};
use trials::demo::mix::{self, WORKFLOWS};
use trials::demo::report::{Findings, Report};
use trials::demo::{DemoOptions, documents, sheet};
use trials::figures::percentiles;

const NOW_MS: i64 = 1_790_000_000_000;

fn photo() -> Input {
    let at = ArtifactRef::new("ARTIFACTS", "in/x");
    let (media_type, unknown) = ("image/png".to_owned(), schemas::UnknownFields::default());
    Input { name: mix::PHOTO.to_owned(), artifact: at, media_type, unknown }
}

fn jobs(count: usize, seed: u64) -> Vec<Job> {
    mix::jobs(count, seed, &photo(), NOW_MS).expect("jobs")
}

#[test]
fn every_job_of_the_mix_is_admitted() {
    let (catalog, policy) = (policy::defaults::catalog(), policy::defaults::policy());
    for job in jobs(200, 3) {
        let bytes = Encoding::MessagePack.encode(&job).len();
        let admitted = policy::admit::admit(&job, &catalog, &policy, bytes, NOW_MS + 1);
        assert!(admitted.is_ok(), "{:?}: {admitted:?}", job.labels);
    }
}

#[test]
fn the_mix_has_everything_and_repeats_by_its_seed() {
    let mix = jobs(100, 1);
    assert_eq!(mix, jobs(100, 1));
    let other = jobs(100, 2);
    assert!(mix.iter().zip(&other).all(|(a, b)| a.labels["what"] == b.labels["what"] && a.id != b.id));
    let ids: BTreeSet<JobId> = mix.iter().map(|job| job.id).collect();
    assert_eq!(ids.len(), 100);
    let count = |of: &dyn Fn(&Job) -> bool| mix.iter().filter(|job| of(job)).count();
    assert!(count(&|job| job.body.workflow.is_some()) >= 30);
    assert!(count(&|job| job.body.kind == Kind::Video) >= 5);
    assert!(count(&|job| !job.body.inputs.is_empty()) >= 5);
    assert!(count(&|job| job.constraints.max_cost_micro_usd == Some(MicroUsd(0))) >= 5);
    for name in ["studio-a", "studio-b", "studio-c"] {
        assert!(count(&|job| job.tenant.as_str() == name) >= 10, "{name}");
    }
    for backend in ["cloud", "gemini"] {
        let wanted = Some(vec![Backend::new(backend).expect("a name")]);
        assert!(count(&|job| job.constraints.backends == wanted) >= 1, "{backend}");
    }
    for (name, _) in WORKFLOWS {
        assert!(count(&|job| job.labels["what"].ends_with(name)) >= 1, "{name}");
    }
}

#[test]
fn the_documents_of_the_demo_are_good() {
    let documents = documents(&DemoOptions::default()).expect("documents");
    let texts = [&documents.policy, &documents.catalog, &documents.prices, &documents.tenants];
    for (key, text) in KEYS.into_iter().zip(texts) {
        check(key, text.as_bytes()).expect(key);
    }
    let wrong = check("policy", b"{\"backends\": 3}").expect_err("wrong");
    assert!(wrong.message.contains("document policy: field `backends`"), "{wrong}");
    let unknown = check("polcy", b"{}").expect_err("unknown").message;
    assert!(unknown.ends_with("the documents are policy, catalog, prices, tenants"), "{unknown}");
}

#[tokio::test]
async fn a_simulated_comfyui_accepts_every_shipped_workflow() {
    runtime::tls::install();
    let server =
        simulators::comfyui::Server::start(simulators::comfyui::Config::default()).await.expect("starts");
    let url = format!("http://{}", server.addr());
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let part =
        reqwest::multipart::Part::bytes(sheet::photo().to_png().expect("a picture")).file_name(mix::PHOTO);
    let form = reqwest::multipart::Form::new().part("image", part);
    let uploaded = http.post(format!("{url}/upload/image")).multipart(form).send().await.expect("uploads");
    assert!(uploaded.status().is_success());
    for (name, text) in WORKFLOWS {
        let graph: Value = serde_json::from_str(text).expect(name);
        let body = json!({ "prompt": graph, "client_id": "test" });
        let answer = http.post(format!("{url}/prompt")).json(&body).send().await.expect("answers");
        let status = answer.status();
        let answer: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{name}: {answer}");
        assert_eq!(answer["node_errors"], json!({}), "{name}");
    }
}

#[test]
fn percentiles_are_those_of_jobs_that_were_there() {
    let hundred = percentiles((1..=100).rev());
    assert_eq!((hundred.p50, hundred.p95, hundred.p99), (50, 95, 99));
    let one = percentiles([7].into_iter());
    assert_eq!((one.p50, one.p95, one.p99), (7, 7, 7));
    assert_eq!(percentiles(std::iter::empty()), Default::default());
}

fn summary(backend: &str, state: &str, queue_ms: i64) -> JobSummary {
    JobSummary {
        job: JobId::from_parts(NOW_MS, [1; 10]).0,
        tenant: "studio-a".to_owned(),
        lane: "standard".to_owned(),
        kind: "image".to_owned(),
        class: None,
        form: "prompt".to_owned(),
        labels: json!({}),
        submitted_at_ms: NOW_MS,
        ended_at_ms: Some(NOW_MS + 1),
        state: state.to_owned(),
        failure_code: None,
        failure_message: None,
        attempts: 1,
        backend: Some(backend.to_owned()),
        simulated: Some(true),
        posted_micro_usd: 0,
        open_micro_usd: 0,
        queue_ms: Some(queue_ms),
        run_ms: None,
        total_ms: Some(queue_ms * 2),
    }
}

fn report() -> Report {
    let jobs =
        [summary("local", "completed", 10), summary("local", "completed", 30), summary("cloud", "failed", 5)];
    let count = |backend: &str, failovers: i64, posted_micro_usd: i64| BackendCount {
        backend: backend.to_owned(),
        simulated: true,
        completed_jobs: 1,
        attempts: 3,
        failed_attempts: 1,
        retries: 0,
        failovers,
        posted_micro_usd,
    };
    let states = vec![StateCount { state: "completed".to_owned(), jobs: 2 }];
    let counts = Counts { states, backends: vec![count("local", 1, 0), count("cloud", 0, 950)] };
    let savings = [SavingRow {
        against: "gemini".to_owned(),
        jobs: 2,
        jobs_not_comparable: 1,
        actual_micro_usd: 950,
        baseline_micro_usd: 10_950,
        saving_micro_usd: 10_000,
    }];
    let mut audit = AuditReport {
        accepted: 3,
        ended: 3,
        ledger_micro_usd: MicroUsd(950),
        invoice_micro_usd: MicroUsd(950),
        ..AuditReport::default()
    };
    let cloud = BackendAudit { invoice_micro_usd: Some(MicroUsd(950)), ..BackendAudit::default() };
    audit.per_backend.insert(Backend::new("cloud").expect("a name"), cloud);
    let mut report = Report::of(&Findings { jobs: &jobs, counts: &counts, savings: &savings, audit: &audit });
    report.where_allowed.clone_from(&report.savings);
    let backend = "cloud".to_owned();
    report.bought = vec![Bought { why: Why::OwnAway, backend, attempts: 2, cost_micro_usd: 950 }];
    report
}

#[test]
fn the_report_adds_up_and_shows() {
    let report = report();
    assert_eq!((report.jobs, report.failovers, report.simulated), (3, 1, true));
    assert_eq!((report.states["completed"], report.states["failed"]), (2, 1));
    assert_eq!((report.backends["local"].jobs, report.backends["local"].queue_wait_ms.p99), (2, 30));
    assert_eq!(report.backends["cloud"].invoice_micro_usd, Some(950));
    assert_eq!(report.backends["local"].invoice_micro_usd, None);
    let text = show::text(&report).to_string();
    for words in
        ["local (SIMULATED)", "$0.000950", "$0.010000", "the audit holds", "lost 0", "our own GPUs were away"]
    {
        assert!(text.contains(words), "{words} in\n{text}");
    }
}

#[test]
fn every_field_of_the_report_is_on_its_page() {
    let page = include_str!("../../docs/report.md");
    let value = serde_json::to_value(report()).expect("JSON");
    let (savings, bought) = (&value["savings"]["gemini"], &value["bought"][0]);
    let sections = [&value, &value["audit"], &value["backends"]["cloud"], savings, bought];
    for section in sections {
        for field in section.as_object().expect("an object").keys() {
            assert!(page.contains(&format!("| `{field}` |")), "{field} is not documented");
        }
    }
    let documented = page.lines().filter(|line| line.starts_with("| `")).count();
    let fields: usize = sections.iter().map(|section| section.as_object().map_or(0, |all| all.len())).sum();
    assert_eq!(documented, fields, "the page documents fields that are not there");
    let again: Report = serde_json::from_value(value).expect("reads back");
    assert_eq!(again, report());
}

#[test]
fn the_fleet_of_a_dead_supervisor_counts_for_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let deep = dir.path().join("a").join("b");
    std::fs::create_dir_all(&deep).expect("made");
    // A folder above the temporary one may hold a fleet: none within it does yet.
    let found = root_of(&deep);
    assert!(found == deep || !found.starts_with(dir.path()), "{}", found.display());
    let mut fleet = FleetFile {
        pid: std::process::id(),
        started: started(std::process::id()),
        nats_url: "nats://127.0.0.1:1".to_owned(),
        group_writes: false,
        monitor_url: None,
        database_url: "postgres://x".to_owned(),
        processes: Vec::new(),
        simulators: Vec::new(),
    };
    fleet.write(dir.path()).expect("written");
    assert_eq!(root_of(&deep), dir.path());
    assert_eq!(FleetFile::load(dir.path()), Some(fleet.clone()));
    // No process has the largest number there is.
    fleet.pid = i32::MAX as u32;
    fleet.write(dir.path()).expect("written");
    assert_eq!(FleetFile::load(dir.path()), None);
    // A process of the same number that started at another moment is a stranger.
    (fleet.pid, fleet.started) = (std::process::id(), Some("1 long ago".to_owned()));
    fleet.write(dir.path()).expect("written");
    assert_eq!(FleetFile::load(dir.path()), None);
    // A file of an earlier release says no moment.
    fleet.started = None;
    fleet.write(dir.path()).expect("written");
    assert_eq!(FleetFile::load(dir.path()), Some(fleet));
    // What was left behind goes as soon as the folder is claimed.
    let _station = Station::claim(dir.path()).expect("claimed");
    assert_eq!(FleetFile::load(dir.path()), None);
}
