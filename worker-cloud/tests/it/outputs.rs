//! `tests/tables/outputs.txt`: every shape of output that handlers have given, and each as one paid run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::{FailureCode, Input, Outcome};
use serde_json::{Value, json};
use simulators::Fault;
use worker_cloud::runpod::output::{self, Content, shape};
use worker_host::Backend as _;

use crate::world::{World, assignment, attempt, run, simulated};

/// Shapes with files, as the simulator knows them.
const READABLE: [&str; 15] = [
    "shape_message_url",
    "shape_message_data_uri",
    "shape_message_base64",
    "shape_list",
    "shape_string",
    "shape_string_url",
    "shape_image_strings",
    "shape_videos",
    "shape_gifs",
    "shape_files",
    "shape_nested",
    "shape_image",
    "shape_image_url",
    "shape_result",
    "shape_partial",
];

/// Outputs without files, and what must be said of each.
const UNUSABLE: [(&str, &str); 8] = [
    ("completed_without_output", "it is nothing"),
    ("shape_error", "the handler does not know this workflow"),
    ("shape_status_error", "/comfyui/output/a.png"),
    ("shape_errors_only", "the sampler is not known here"),
    ("shape_raised", "KeyError"),
    ("shape_words", "I am sorry"),
    ("shape_empty", "an empty list"),
    ("shape_unknown", "picture"),
];

fn filled(text: &str) -> String {
    let mut mp4 = b"\0\0\0\x20ftypisom".to_vec();
    mp4.resize(40, 0);
    let samples: [(&str, &[u8]); 8] = [
        ("$PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("$JPG", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("$WEBM", b"\x1a\x45\xdf\xa3\x01webm"),
        ("$WEBP", b"RIFF\x10\0\0\0WEBPVP8 "),
        ("$GIF", b"GIF89a\x01\0\x01\0"),
        ("$MP4", &mp4),
        ("$FLAC", b"fLaC\0\0\0\x22"),
        ("$TXT", b"a fox"),
    ];
    let mut text = text.replace("$LONG", &STANDARD.encode([b'x'; 225]));
    for (name, bytes) in samples {
        text = text.replace(name, &STANDARD.encode(bytes));
    }
    text
}

fn parsed(text: &str) -> Option<Value> {
    let filled = filled(text);
    (text != "absent")
        .then(|| serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn every_shape_is_read_or_named() {
    let lines = include_str!("../tables/outputs.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut cases = 0;
    for line in lines {
        cases += 1;
        let (output, expected) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("no `=>`: {line}"));
        let (expected, words) = expected.split_once("; ").unwrap_or((expected, ""));
        match output::files(parsed(output.trim()).as_ref()) {
            Ok(found) => {
                let types = found.files.iter().map(|file| match &file.content {
                    Content::Url(_) => "url",
                    Content::Bytes(bytes) => output::media_type(file.name.as_deref(), bytes),
                });
                assert_eq!(types.collect::<Vec<_>>().join(", "), expected, "{line}");
                assert_eq!(found.remarks.is_empty(), words.is_empty(), "{line}: {:?}", found.remarks);
                assert!(found.remarks.join("; ").contains(words), "{line}: {:?}", found.remarks);
            }
            Err(failure) => {
                assert_eq!(failure.code.as_str(), expected, "{line}: {failure:?}");
                let said = format!("{} {}", failure.message, failure.provider_words.unwrap_or_default());
                assert!(said.contains(words), "{line}: {said}");
            }
        }
    }
    assert!(cases > 70, "{cases} cases");
}

#[test]
fn base64_is_read_as_it_is_written() {
    let bytes = b"\x89PNG\r\n\x1a\n\xfb\xff\xfe";
    let usual = STANDARD.encode(bytes);
    let urlsafe = usual.replace('+', "-").replace('/', "_");
    assert_ne!(usual, urlsafe);
    let broken: String =
        usual.as_bytes().chunks(4).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
    for text in [usual.as_str(), usual.trim_end_matches('='), &urlsafe, &broken, &format!(" {usual}\n")] {
        let found = output::files(Some(&json!({"image": text}))).expect(text);
        assert_eq!(found.files[0].content, Content::Bytes(Bytes::from_static(bytes)), "{text}");
    }
}

#[test]
fn a_page_of_a_dashboard_is_no_result() {
    assert!(output::is_web_page(Some("a.png"), b"\n <!DOCTYPE html><html>"));
    assert!(output::is_web_page(None, b"<HTML lang=en>"));
    assert!(!output::is_web_page(Some("report.HTML"), b"<html>"));
    assert!(!output::is_web_page(None, b"\x89PNG\r\n\x1a\n<html>"));
    assert!(!output::is_web_page(None, b"<svg xmlns='x'/>"));
}

#[test]
fn what_is_said_of_an_output_is_bounded() {
    let mut deep = json!("end");
    for _ in 0..100 {
        deep = json!({"output": [deep]});
    }
    assert!(shape::shape(Some(&deep)).len() < 300);
    let wide: serde_json::Map<String, Value> =
        (0..1_000).map(|n| (format!("key{n}\u{1b}[2J"), json!(n))).collect();
    let said = shape::shape(Some(&Value::Object(wide)));
    assert!(said.len() < 600 && said.contains("992 more") && !said.contains('\u{1b}'), "{said}");
    let secret = "x".repeat(5_000);
    let failure = output::files(Some(&json!({"message": secret.clone() + "!"}))).expect_err("words");
    assert!(failure.provider_words.expect("words").len() < 200, "a text that may be a file is cut");
    let many: Vec<String> = (0..1_500).map(|n| format!("https://b.example/{n}")).collect();
    let found = output::files(Some(&json!(many))).expect("files");
    assert_eq!((found.files.len(), found.remarks.len()), (1_000, 1));
}

fn code(outcome: &Outcome) -> Option<FailureCode> {
    outcome.failure.as_ref().map(|failure| failure.code)
}

#[tokio::test]
async fn each_shape_with_files_is_one_paid_run() {
    let world = World::start(simulated()).await;
    let backend = world.backend();
    let mut usages = Vec::new();
    for (runs, shape) in READABLE.into_iter().enumerate() {
        world.arm(vec![Fault::times(shape, 1)]);
        let outcome = run(&backend, &assignment(), None).await;
        assert_eq!(outcome.failure, None, "{shape}");
        assert_eq!(outcome.artifacts.len(), 1, "{shape}");
        assert_eq!(outcome.artifacts[0].media_type, "image/png", "{shape}");
        assert_eq!(outcome.artifacts[0].width, Some(128), "{shape}");
        usages.push(outcome.usage);
        assert_eq!(world.admin().stats().posts, runs as u64 + 1, "{shape}");
        assert_eq!(world.cost(&usages), world.invoice(), "{shape}");
    }
}

#[tokio::test]
async fn each_shape_without_files_is_one_charged_failure_with_the_providers_words() {
    let world = World::start(simulated()).await;
    let backend = world.backend();
    let mut usages = Vec::new();
    for (runs, (shape, words)) in UNUSABLE.into_iter().enumerate() {
        world.arm(vec![Fault::times(shape, 1)]);
        let outcome = run(&backend, &assignment(), None).await;
        assert_eq!(code(&outcome), Some(FailureCode::UnusableResult), "{shape}: {outcome:?}");
        let failure = outcome.failure.expect("failed");
        let said = format!("{} {}", failure.message, failure.provider_words.unwrap_or_default());
        assert!(said.contains(words), "{shape}: {said}");
        usages.push(outcome.usage);
        assert_eq!(world.admin().stats().posts, runs as u64 + 1, "{shape}");
        assert_eq!(world.cost(&usages), world.invoice(), "{shape}");
    }
    assert!(world.invoice() > 0);
}

#[tokio::test]
async fn an_address_in_the_private_network_is_one_charged_failure() {
    let world = World::start(simulated()).await;
    world.arm(vec![Fault::times("result_elsewhere", 1)]);
    let outcome = run(&world.backend(), &assignment(), None).await;
    assert_eq!(code(&outcome), Some(FailureCode::UnusableResult), "{outcome:?}");
    let message = &outcome.failure.as_ref().expect("failed").message;
    assert!(
        message.contains("169.254.169.254") && message.contains("runpod.allowed_result_hosts"),
        "{message}"
    );
    assert!(!message.contains("Signature"), "{message}");
    assert_eq!(world.cost(&[outcome.usage]), world.invoice());
}

/// A job whose inputs all name one stored file.
async fn with_inputs(file: Bytes, references: usize) -> (Outcome, u32, u64) {
    let world = World::start(simulated()).await;
    let mut assignment = assignment();
    assignment.job.body.inputs = (0..references)
        .map(|n| Input {
            name: format!("in{n}.png"),
            artifact: schemas::ArtifactRef::new("MEMORY", "large"),
            media_type: "image/png".to_owned(),
            unknown: schemas::UnknownFields::default(),
        })
        .collect();
    let (attempt, io, _stopper) = attempt(&assignment, None);
    io.files.lock().expect("no panic").insert("large".to_owned(), file);
    let outcome = world.backend().run(&attempt).await;
    (outcome, io.loads.load(std::sync::atomic::Ordering::SeqCst), world.admin().stats().posts)
}

#[tokio::test]
async fn inputs_that_are_too_large_together_are_refused_without_a_load() {
    let (outcome, loads, posts) = with_inputs(Bytes::from(vec![0_u8; 200_000_000]), 8).await;
    let failure = outcome.failure.expect("refused");
    assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::InvalidJob, Some("body.inputs")));
    assert!(failure.message.contains("8 inputs") && failure.message.contains("10000000"), "{failure:?}");
    assert_eq!((loads, posts), (0, 0));

    // Each alone would fit, and as bytes they do: as base64 they do not.
    let (outcome, loads, posts) = with_inputs(Bytes::from(vec![0_u8; 2_600_000]), 3).await;
    assert_eq!(code(&outcome), Some(FailureCode::InvalidJob), "{outcome:?}");
    assert_eq!((loads, posts), (0, 0));

    // What fits is loaded once, however often it is named.
    let (outcome, loads, posts) = with_inputs(Bytes::from(vec![0_u8; 1_000_000]), 5).await;
    assert_eq!(outcome.failure, None);
    assert_eq!((loads, posts), (1, 1));
}
