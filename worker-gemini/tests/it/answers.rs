//! Answers that are successes to HTTP: pictures, refusals, ended interactions, and our requests.

use bytes::Bytes;
use schemas::FailureCode::{ContentRefused, InvalidJob, ProviderStopped, RateLimited, Timeout, Transient};
use schemas::{FailureCode, workflow};
use serde_json::{Value, json};
use worker_gemini::gemini::generate;
use worker_gemini::gemini::interactions::{self, Source, Wanted};
use worker_gemini::gemini::sizes::{ImageSize, VideoSize};
use worker_gemini::gemini::wire::{GenerateReply, Interaction, Status};

use crate::world::{picture, video};

fn generated(document: Value) -> GenerateReply {
    serde_json::from_value(document).expect("a reply")
}

fn interaction(document: Value) -> Interaction {
    serde_json::from_value(document).expect("an interaction")
}

#[test]
fn the_last_picture_that_is_no_thought() {
    let reply = generated(json!({"candidates": [{"content": {"role": "model", "parts": [
        {"text": "thinking…", "thought": true},
        {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": true},
        {"inlineData": {"mimeType": "image/png", "data": "Zmlyc3Q="}},
        {"inlineData": {"mimeType": "image/jpeg", "data": "aGVsbG8="}, "thoughtSignature": "…"},
    ]}, "finishReason": "STOP", "index": 0}], "responseId": "abc"}));
    let made = generate::made(&reply).expect("a picture");
    assert_eq!((made.media_type.as_str(), made.bytes), ("image/jpeg", Bytes::from_static(b"hello")));
}

#[test]
fn answers_without_a_picture() {
    let blocked = |reason: &str| json!({"promptFeedback": {"blockReason": reason}});
    let finished = |reason: &str| json!({"candidates": [{"finishReason": reason, "finishMessage": "words"}]});
    let draft = json!({"candidates": [{"finishReason": "STOP", "content": {"parts": [
        {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": true}]}}]});
    let mut cases: Vec<(Value, FailureCode)> = vec![(json!({}), Transient), (draft, Transient)];
    for reason in ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "ANYTHING_NEW"] {
        cases.push((blocked(reason), ContentRefused));
    }
    for reason in [
        "SAFETY",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "IMAGE_PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "RECITATION",
        "IMAGE_RECITATION",
        "LANGUAGE",
    ] {
        cases.push((finished(reason), ContentRefused));
    }
    for reason in ["STOP", "NO_IMAGE", "OTHER", "IMAGE_OTHER", "MALFORMED_FUNCTION_CALL", "ANYTHING_NEW"] {
        cases.push((finished(reason), Transient));
    }
    cases.push((finished("MAX_TOKENS"), InvalidJob));
    for (document, code) in cases {
        let failure = generate::made(&generated(document.clone())).expect_err("no picture");
        assert_eq!(failure.code, code, "{document}");
    }
    for data in ["%%%", ""] {
        assert_eq!(generate::decode(data).expect_err("no bytes").code, Transient);
    }
}

#[test]
fn a_pictures_request() {
    let mut job = picture().job;
    job.body.seed = Some(7);
    let size = ImageSize { aspect: "16:9".to_owned(), size: "2K" };
    let inputs = [("image/png".to_owned(), Bytes::from_static(b"hello"))];
    let body = generate::request(&job, &size, &inputs).expect("small");
    assert_eq!(
        serde_json::from_slice::<Value>(&body).expect("JSON"),
        json!({
            "contents": [{"role": "user", "parts": [
                {"text": "a lighthouse at dusk"},
                {"inlineData": {"mimeType": "image/png", "data": "aGVsbG8="}},
            ]}],
            "generationConfig": {
                "responseModalities": ["IMAGE"],
                "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
                "seed": 7,
            },
        })
    );
    job.body.seed = None;
    assert_eq!(generate::seed(&job), workflow::seed_of(job.id) & 0x7fff_ffff);
    let large = [("image/png".to_owned(), Bytes::from(vec![0_u8; 16_000_000]))];
    let failure = generate::request(&job, &size, &large).expect_err("too large");
    assert_eq!((failure.code, failure.field.as_deref()), (InvalidJob, Some("body.inputs")));
    job.body.prompt = None;
    let failure = generate::request(&job, &size, &[]).expect_err("a workflow");
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
}

#[test]
fn a_videos_request() {
    let assignment = video();
    let size = VideoSize { aspect: "16:9".to_owned(), resolution: "720p", seconds: 6 };
    let inputs = [("image/png".to_owned(), Bytes::from_static(b"hello"))];
    let wanted = Wanted::Video(size);
    let body = interactions::request(
        &assignment.job,
        assignment.id(),
        "some-model",
        &wanted,
        &inputs,
        Some("https://me/r"),
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&body.expect("small")).expect("JSON"),
        json!({
            "model": "some-model",
            "input": [
                {"type": "text", "text": "a lighthouse at dusk"},
                {"type": "image", "mime_type": "image/png", "data": "aGVsbG8="},
            ],
            "response_format": {"type": "video", "aspect_ratio": "16:9", "resolution": "720p",
                "duration": "6s", "delivery": "uri"},
            "generation_config": {"seed": generate::seed(&assignment.job)},
            "background": true,
            "store": true,
            "labels": {"job": assignment.job.id.to_string(), "attempt": "1"},
            "webhook_config": {"uris": ["https://me/r"]},
        })
    );
}

#[test]
fn media_is_found_in_the_models_steps_only() {
    let reply = interaction(json!({"id": "v1", "status": "completed", "steps": [
        {"type": "user_input", "content": [{"type": "video", "data": "b3Vycw=="}]},
        {"type": "thought"},
        {"type": "model_output", "content": [
            {"type": "text", "text": "here"},
            {"type": "video", "mime_type": "video/mp4", "uri": "https://x.example/v1beta/files/a:download"},
            {"type": "image", "data": "aGVsbG8="}]},
    ]}));
    let videos = interactions::media(&reply, "video");
    assert_eq!(videos.len(), 1);
    assert_eq!(videos[0].source, Source::Uri("https://x.example/v1beta/files/a:download".to_owned()));
    let images = interactions::media(&reply, "image");
    assert_eq!((images.len(), images[0].media_type.as_str()), (1, "image/png"));
    assert_eq!(images[0].source, Source::Data("aGVsbG8=".to_owned()));
}

#[test]
fn ended_interactions_without_media() {
    let said = |text: &str| json!([{"type": "model_output", "content": [{"type": "text", "text": text}]}]);
    let step_error = |error: Value| json!([{"type": "model_output", "content": [], "error": error}]);
    let cases = [
        (json!({"status": "completed", "steps": []}), Transient),
        (json!({"status": "completed", "steps": said("I cannot make this.")}), ContentRefused),
        (json!({"status": "incomplete"}), Transient),
        (json!({"status": "budget_exceeded"}), ProviderStopped),
        (json!({"status": "requires_action"}), InvalidJob),
        (json!({"status": "cancelled"}), Transient),
        (json!({"status": "failed"}), Transient),
        (json!({"status": "failed", "errors": [{"code": "generation_failed", "message": "x"}]}), Transient),
        (json!({"status": "failed", "errors": [{"code": "invalid_request", "message": "x"}]}), InvalidJob),
        (json!({"status": "failed", "errors": [{"code": "content_policy", "message": "x"}]}), ContentRefused),
        (json!({"status": "failed", "steps": step_error(json!({"code": 13, "message": "x"}))}), Transient),
        (json!({"status": "failed", "steps": step_error(json!({"code": 3, "message": "x"}))}), InvalidJob),
        (
            json!({"status": "failed", "steps": step_error(json!({"code": 3, "message": "blocked for safety"}))}),
            ContentRefused,
        ),
        (json!({"status": "failed", "steps": step_error(json!({"code": 4, "message": "x"}))}), Timeout),
        (json!({"status": "failed", "steps": step_error(json!({"code": 8, "message": "x"}))}), RateLimited),
        (
            json!({"status": "failed", "steps": step_error(json!({"code": 7, "message": "x"}))}),
            ProviderStopped,
        ),
    ];
    for (mut document, code) in cases {
        document["id"] = json!("v1");
        assert_eq!(interactions::failure(&interaction(document.clone())).code, code, "{document}");
    }
}

#[test]
fn states_are_an_open_set() {
    let status = |text: &str| interaction(json!({"id": "v1", "status": text})).status;
    for running in ["queued", "in_progress", "warming_up"] {
        assert!(!status(running).is_terminal(), "{running}");
    }
    for ended in ["requires_action", "completed", "failed", "cancelled", "incomplete", "budget_exceeded"] {
        assert!(status(ended).is_terminal(), "{ended}");
    }
    assert_eq!(status("warming_up"), Status::Unknown);
}

#[test]
fn a_report_tells_the_interaction() {
    let report = json!({"type": "interaction.completed", "version": "v1", "data": {"id": "v1_abc"}});
    assert_eq!(interactions::reported_id(report.to_string().as_bytes()).as_deref(), Some("v1_abc"));
    for other in ["", "[]", "{}", r#"{"type":"batch.done","data":{"id":"b"}}"#, r#"{"type":"interaction.x"}"#]
    {
        assert_eq!(interactions::reported_id(other.as_bytes()), None, "{other}");
    }
}
