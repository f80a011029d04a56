//! Runs against the replaying server: each recording must lead to the right conclusion.

use schemas::{FailureCode, Outcome, Phase, workflow as graphs};
use worker_host::Backend;
use worker_host::conformance::until;
use worker_local::comfy::graph;

use crate::jobs::{Case, assignment, config, workflow};
use crate::replay::Replay;
use crate::transcript::Transcript;

/// The job whose workflow is the given submission of a recording.
fn case(replay: &Replay, name: &str, at: usize, websocket: bool) -> Case {
    let recorded = &Transcript::load(name).submissions()[at];
    let config = worker_local::ComfyConfig { websocket, ..config(&replay.url()) };
    Case::new(config, assignment(workflow(&recorded.graph)))
}

async fn run(name: &str, at: usize, websocket: bool) -> (Outcome, Case, Replay) {
    let replay = Replay::start(name, at).await;
    if !websocket {
        replay.world.without_websocket();
    }
    let case = case(&replay, name, at, websocket);
    let outcome = case.run().await;
    (outcome, case, replay)
}

/// Recording, submission, and the files it must end with: media type and recorded length.
type Completing = (&'static str, usize, &'static [(&'static str, u64)]);

const COMPLETING: &[Completing] = &[
    ("ok_image", 0, &[("image/png", 374)]),
    ("ok_two_outputs", 0, &[("image/png", 762), ("image/png", 762), ("image/png", 762), ("image/png", 762)]),
    ("ok_text_output", 0, &[("image/png", 10)]),
    ("cached_rerun", 0, &[("image/png", 10)]),
    ("cached_rerun", 1, &[("image/png", 10)]),
    ("cached_rerun", 2, &[("image/png", 10)]),
    ("cached_rerun", 3, &[("image/png", 10)]),
    ("error_at_execution", 2, &[("image/png", 10), ("image/png", 10)]),
    // Only a preview: better than nothing.
    ("partly_invalid", 1, &[("image/png", 10)]),
    ("progress_ksampler", 0, &[("image/png", 1247)]),
    ("progress_ksampler_no_preview", 0, &[("image/png", 10)]),
    ("progress_ksampler_preview_metadata", 0, &[("image/png", 10)]),
    ("progress_slow", 0, &[("image/png", 10)]),
    ("ws_reconnect_midjob", 0, &[("image/png", 10)]),
    ("ws_reconnect_after_job", 0, &[("image/png", 10)]),
    ("ws_connect_after_submit", 0, &[("image/png", 10)]),
    ("two_clients", 0, &[("image/png", 10)]),
    ("queued_two_jobs", 0, &[("image/png", 10)]),
    ("server_killed_midjob_and_restarted", 3, &[("image/png", 10)]),
    (
        "ok_media_outputs",
        0,
        &[
            ("video/mp4", 2887),
            ("video/webm", 1700),
            ("image/webp", 1062),
            ("image/png", 1126),
            ("audio/flac", 9307),
        ],
    ),
];

#[tokio::test]
async fn recordings_that_end_well_end_in_their_files() {
    for &(name, at, expected) in COMPLETING {
        for websocket in [true, false] {
            let (outcome, case, replay) = run(name, at, websocket).await;
            assert_eq!(outcome.failure, None, "{name} {at} websocket {websocket}");
            let made: Vec<_> =
                outcome.artifacts.iter().map(|made| (made.media_type.as_str(), made.bytes)).collect();
            assert_eq!(made, expected, "{name} {at} websocket {websocket}");
            let stored = case.io.files.lock().expect("no panic").len();
            assert_eq!(stored, expected.len(), "{name} {at}: each file under a key of its own");
            let id = case.attempt.id().derived_uuid().to_string();
            assert_eq!(outcome.provider_id, Some(id), "{name} {at}");
            // What was submitted is the recorded graph, files named after the attempt.
            let mut graph = Transcript::load(name).submissions()[at].graph.clone();
            graphs::set_prefix(&mut graph, &graph::prefix(case.attempt.id()));
            assert_eq!(replay.world.posted(), [graph], "{name} {at}");
        }
    }
}

/// Recording, submission, code, what the message must say, what is missing, the field.
type Failing =
    (&'static str, usize, FailureCode, &'static str, &'static [&'static str], Option<&'static str>);

const FAILING: &[Failing] = &[
    ("error_unknown_node", 0, FailureCode::CapabilityMissing, "`NoSuchNode`", &["NoSuchNode"], None),
    ("error_missing_input", 0, FailureCode::InvalidJob, "input `images`", &[], Some("body.workflow")),
    (
        "error_bad_value",
        0,
        FailureCode::InvalidJob,
        "node 1 (EmptyImage), input `width`: Value 0 smaller",
        &[],
        Some("body.workflow"),
    ),
    (
        "error_bad_value",
        1,
        FailureCode::InvalidJob,
        "input `width`: Value 999999 bigger",
        &[],
        Some("body.workflow"),
    ),
    ("error_bad_value", 2, FailureCode::InvalidJob, "invalid literal", &[], Some("body.workflow")),
    ("error_bad_value", 3, FailureCode::InvalidJob, "input `upscale_method`", &[], Some("body.workflow")),
    (
        "error_bad_value",
        4,
        FailureCode::InvalidJob,
        "node 2 (SaveImage), input `images`: Return type",
        &[],
        Some("body.workflow"),
    ),
    ("error_bad_value", 5, FailureCode::InvalidJob, "node 2 (SaveImage)", &[], Some("body.workflow")),
    (
        "error_missing_model",
        0,
        FailureCode::CapabilityMissing,
        "does_not_exist",
        &["does_not_exist.safetensors"],
        None,
    ),
    ("error_missing_model", 1, FailureCode::InvalidJob, "nope.png", &[], Some("body.inputs")),
    (
        "error_missing_model",
        2,
        FailureCode::CapabilityMissing,
        "node 4 (Check",
        &["broken.safetensors"],
        None,
    ),
    (
        "error_at_execution",
        0,
        FailureCode::InvalidJob,
        "node 1 (RegexReplace) raised re.error",
        &[],
        Some("body.workflow"),
    ),
    (
        "error_at_execution",
        1,
        FailureCode::InvalidJob,
        "node 3 (AcceptanceFail) raised",
        &[],
        Some("body.workflow"),
    ),
    ("interrupt_running", 0, FailureCode::Transient, "somebody interrupted", &[], None),
    ("delete_pending", 1, FailureCode::Transient, "took the job out", &[], None),
    ("ok_websocket_image", 0, FailureCode::InvalidJob, "saved no file", &[], Some("body.workflow")),
];

#[tokio::test]
async fn recordings_that_end_badly_end_in_their_failure() {
    for &(name, at, code, words, missing, field) in FAILING {
        let (outcome, ..) = run(name, at, true).await;
        let failure = outcome.failure.unwrap_or_else(|| panic!("{name} {at}: no failure"));
        assert_eq!(failure.code, code, "{name} {at}: {failure:?}");
        assert!(failure.message.contains(words), "{name} {at}: {failure:?}");
        assert_eq!(failure.missing, missing, "{name} {at}");
        assert_eq!(failure.field.as_deref(), field, "{name} {at}");
        assert!(outcome.artifacts.is_empty(), "{name} {at}");
    }
}

#[tokio::test]
async fn progress_is_told_step_by_step() {
    let replay = Replay::start("progress_ksampler", 0).await;
    let mut patient = config(&replay.url());
    (patient.poll_ms, patient.poll_min_ms) = (20_000, 20_000);
    let graph = &Transcript::load("progress_ksampler").submissions()[0].graph;
    let case = Case::new(patient, assignment(workflow(graph)));
    let outcome = case.run().await;
    assert_eq!(outcome.failure, None, "the socket's end marker is enough to look");
    let told = case.io.progress.lock().expect("no panic").clone();
    for step in 1..=6 {
        assert_eq!(
            told.iter().filter(|told| **told == (Phase::Running, step, 6)).count(),
            1,
            "{step}: {told:?}"
        );
    }
    assert!(told.iter().any(|(phase, ..)| *phase == Phase::Downloading), "{told:?}");
}

#[tokio::test]
async fn a_partly_accepted_workflow_is_cancelled_and_fails() {
    let replay = Replay::start("partly_invalid", 0).await;
    replay.world.hold(true);
    let case = case(&replay, "partly_invalid", 0, true);
    let failure = case.run().await.failure.expect("a failure");
    assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::InvalidJob, Some("body.workflow")));
    assert!(failure.message.contains("node 3"), "{failure:?}");
    let log = replay.world.log();
    let at =
        |call: &str| log.iter().position(|made| made == call).unwrap_or_else(|| panic!("{call}: {log:?}"));
    assert!(at("POST /prompt") < at("POST /queue") && at("POST /queue") < at("POST /interrupt"), "{log:?}");
}

#[tokio::test]
async fn a_job_that_the_server_has_is_not_submitted_again() {
    let replay = Replay::start("duplicate_prompt_id", 0).await;
    replay.world.hold(true);
    let case = case(&replay, "duplicate_prompt_id", 0, true);
    let io = &case.io;
    let started = || io.started.lock().expect("no panic").len() == 1;
    tokio::select! {
        outcome = case.backend.run(&case.attempt) => panic!("ended early: {outcome:?}"),
        () = until("the submission", started) => {}
    }
    // The worker died; the assignment comes again, while the job runs.
    let looks = || replay.world.log().iter().filter(|call| *call == "GET /queue").count();
    let before = looks();
    let (outcome, ()) = tokio::join!(case.run(), async {
        until("looks at the running job", || looks() >= before + 2).await;
        replay.world.hold(false);
    });
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 1));
    // And once more, after it has ended.
    let outcome = case.run().await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 1));
    assert_eq!(replay.world.posted().len(), 1, "submitted once");
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_an_unknown_job_submitted_again() {
    let replay = Replay::start("ok_image", 0).await;
    replay.world.lose_answer();
    let case_lost = case(&replay, "ok_image", 0, true);
    let outcome = case_lost.run().await;
    assert_eq!((outcome.failure, replay.world.posted().len()), (None, 1), "the server had it");

    // The server fails for good: asked whether it has the job, given it once more, then given up.
    let replay = Replay::start("ok_image", 1).await;
    let failing = case(&replay, "ok_image", 0, true);
    let failure = failing.run().await.failure.expect("a failure");
    assert_eq!((failure.code, replay.world.posted().len()), (FailureCode::Transient, 2), "{failure:?}");
    let log = replay.world.log();
    let between: Vec<_> = log.iter().skip_while(|call| *call != "POST /prompt").skip(1).collect();
    assert_eq!(between[0], "GET /queue", "looked up before the second submission: {log:?}");
}

#[tokio::test]
async fn a_killed_server_is_down_and_a_restarted_one_has_lost_the_job() {
    let name = "server_killed_midjob_and_restarted";
    for comes_back in [false, true] {
        let mut replay = Replay::start(name, 1).await;
        let case = case(&replay, name, 1, true);
        let world = std::sync::Arc::clone(&replay.world);
        let (outcome, ()) = tokio::join!(case.run(), async {
            world.kill.notified().await;
            replay.kill().await;
            if comes_back {
                replay.restart().await;
            }
        });
        let failure = outcome.failure.expect("a failure");
        assert_eq!(failure.code, FailureCode::BackendDown, "{failure:?}");
        let words = if comes_back { "restarted" } else { "cannot be reached" };
        assert!(failure.message.contains(words), "comes back {comes_back}: {failure:?}");
        assert_eq!(replay.world.posted().len(), 1, "not submitted again within the attempt");
    }
}

#[tokio::test]
async fn inputs_are_used_under_the_name_the_server_gives() {
    let graph = &Transcript::load("upload_image").submissions()[0].graph;
    let text = graph.to_string().replace(r#""up.png""#, r#""photo.png""#);
    // Another node of it loads a file from a folder, which is the same file here.
    let text = text.replace(r#""deep/er/s.png""#, r#""pasted/photo.png [input]""#);
    // First recorded upload to answer with, and the name in it.
    for (first, name) in [(0, "up.png"), (2, "up (1).png"), (5, "s.png")] {
        let replay = Replay::start("upload_image", 0).await;
        replay.world.uploads_from(first);
        let mut body = workflow(&serde_json::from_str(&text).expect("JSON"));
        body.inputs = vec![Case::input("photo.png")];
        let case = Case::new(config(&replay.url()), assignment(body));
        case.store("photo.png", b"picture");
        let outcome = case.run().await;
        assert_eq!(outcome.failure, None, "{name}");
        let expected = format!("{}/{name}", graph::prefix(case.attempt.id()));
        assert_eq!(replay.world.posted()[0]["1"]["inputs"]["image"], expected);
        let told = case.io.progress.lock().expect("no panic")[0].0;
        assert_eq!(told, Phase::Uploading, "{name}");
    }
    // Refused, or stored where other jobs' files are: nothing is submitted.
    for (first, code) in [(11, FailureCode::InvalidJob), (6, FailureCode::BackendDown)] {
        let replay = Replay::start("upload_image", 0).await;
        replay.world.uploads_from(first);
        let mut body = workflow(&serde_json::from_str(&text).expect("JSON"));
        body.inputs = vec![Case::input("photo.png")];
        let case = Case::new(config(&replay.url()), assignment(body));
        case.store("photo.png", b"picture");
        let failure = case.run().await.failure.expect("a failure");
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(replay.world.posted().is_empty());
    }
}

#[tokio::test]
async fn no_websocket_at_all_changes_nothing_but_progress() {
    let replay = Replay::start("ok_two_outputs", 0).await;
    replay.world.without_websocket();
    let case = case(&replay, "ok_two_outputs", 0, true);
    let outcome = case.run().await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 4));
}
