//! Answers that are successes to HTTP: pictures, refusals, ended interactions, and our requests.

use bytes::Bytes;
use schemas::FailureCode::{InvalidJob, UnusableResult};
use schemas::{FailureCode, Kind, workflow};
use serde_json::{Value, json};
use worker_gemini::gemini::generate;
use worker_gemini::gemini::interactions::{self, Wanted};
use worker_gemini::gemini::media::{self, Source};
use worker_gemini::gemini::sizes::{ImageSize, VideoSize};
use worker_gemini::gemini::wire::{GenerateReply, Interaction, Status};

use crate::world::{picture, video};

fn generated(document: Value) -> GenerateReply {
    serde_json::from_value(document).expect("a reply")
}

fn interaction(document: Value) -> Interaction {
    serde_json::from_value(document).expect("an interaction")
}

/// The base64 of an answer's files, in their order.
fn data(reply: &GenerateReply) -> Vec<&str> {
    let files = generate::media(reply);
    let data = files.into_iter().map(|file| match file.source {
        Source::Data(data) => data,
        Source::Uri(uri) => uri,
    });
    data.collect()
}

#[test]
fn all_pictures_that_are_no_drafts() {
    let draft = json!({"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": true});
    let picture = |data: &str| json!({"inlineData": {"mimeType": "image/jpeg", "data": data}});
    let parts =
        json!([{"text": "thinking…", "thought": true}, draft, picture("Zmlyc3Q="), picture("aGVsbG8=")]);
    let reply = generated(json!({"candidates": [
        {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0},
        {"content": {"parts": [picture("c2Vjb25k")]}, "index": 1}]}));
    assert_eq!(data(&reply), ["Zmlyc3Q=", "aGVsbG8=", "c2Vjb25k"]);
    // What the thoughts end with is the final picture, when nothing else is there and nothing is refused.
    let only = |reason: &str| {
        let parts = json!([draft, {"inlineData": {"data": "bGFzdA=="}, "thought": true}]);
        generated(json!({"candidates": [{"content": {"parts": parts}, "finishReason": reason}]}))
    };
    assert_eq!(data(&only("STOP")), ["bGFzdA=="]);
    assert_eq!(data(&only("IMAGE_SAFETY")), Vec::<&str>::new());
}

#[test]
fn bytes_come_in_every_base64() {
    let forms = ["aGk/Pj8=", "aGk_Pj8=", "aGk/Pj8", "aGk/\nPj8=\n", "data:image/png;base64,aGk/Pj8="];
    for form in forms {
        assert_eq!(media::decode(form).expect(form), Bytes::from_static(b"hi?>?"), "{form}");
    }
    for damaged in ["%%%", "", "data:image/png;base64,", "aGk/P"] {
        assert_eq!(media::decode(damaged).expect_err(damaged).code, UnusableResult, "{damaged}");
    }
}

#[test]
fn a_file_without_a_media_type_is_known_by_its_beginning() {
    let reply = generated(json!({"candidates": [{"content": {"parts": [
        {"inlineData": {"mimeType": "IMAGE/WEBP", "data": "YQ=="}}, {"inlineData": {"mimeType": "", "data": "YQ=="}},
        {"inlineData": {"mimeType": "application/octet-stream", "data": "YQ=="}}]}}]}));
    let files = generate::media(&reply);
    assert_eq!(files[0].media_type(b"\x89PNG", Kind::Image), "image/webp", "what the API says");
    assert_eq!(files[1].media_type(b"\xff\xd8\xff\xe0", Kind::Image), "image/jpeg");
    assert_eq!(files[2].media_type(b"\x89PNG\r\n", Kind::Image), "image/png");
    assert_eq!(files[2].media_type(b"no idea", Kind::Image), "image/png");
    assert_eq!(files[2].media_type(b"\0\0\0\x20ftypisom", Kind::Video), "video/mp4");
}

#[test]
fn a_pictures_request() {
    let mut job = picture().job;
    job.body.seed = Some(7);
    let size = ImageSize { aspect: "16:9".to_owned(), size: "2K" };
    let inputs = [("Image/PNG; x=y".to_owned(), Bytes::from_static(b"hello"))];
    let body = generate::request(&job, &size, &inputs, 2_560).expect("small");
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
                "candidateCount": 1,
                "maxOutputTokens": 2_560,
            },
        })
    );
    job.body.seed = None;
    assert_eq!(generate::seed(&job), workflow::seed_of(job.id) & 0x7fff_ffff);
    let large = [("image/png".to_owned(), Bytes::from(vec![0_u8; 16_000_000]))];
    let failure = generate::request(&job, &size, &large, 2_560).expect_err("too large");
    assert_eq!((failure.code, failure.field.as_deref()), (InvalidJob, Some("body.inputs")));
    job.body.prompt = None;
    let failure = generate::request(&job, &size, &[], 2_560).expect_err("a workflow");
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
    let videos = interactions::media(&reply, Kind::Video);
    assert_eq!((videos.len(), videos[0].media_type), (1, Some("video/mp4")));
    assert_eq!(videos[0].source, Source::Uri("https://x.example/v1beta/files/a:download"));
    let images = interactions::media(&reply, Kind::Image);
    assert_eq!((images.len(), images[0].media_type), (1, None));
    assert_eq!(images[0].source, Source::Data("aGVsbG8="));
}

#[test]
fn several_videos_are_all_kept_and_other_files_are_not() {
    let video = |name: &str| json!({"type": "video", "uri": format!("https://x.example/files/{name}")});
    let reply = interaction(json!({"id": "v1", "status": "COMPLETED", "steps": [
        {"type": "model_output", "content": [video("a"), {"type": "audio", "data": "YQ=="}, video("b")]},
        {"type": "thought", "content": [video("draft")]},
        {"type": "model_output", "content": [{"type": null, "mimeType": "video/mp4", "fileUri": "https://x.example/files/c"}]},
    ]}));
    let uris: Vec<_> = interactions::media(&reply, Kind::Video).into_iter().map(|file| file.source).collect();
    let expected = ["a", "b", "c"].map(|name| format!("https://x.example/files/{name}"));
    assert_eq!(uris, expected.each_ref().map(|uri| Source::Uri(uri)));
}

#[test]
fn a_background_picture_is_capped_too() {
    let assignment = picture();
    let size = ImageSize { aspect: "1:1".to_owned(), size: "1K" };
    let wanted = Wanted::Image { size, output_max: 2_560 };
    let body = interactions::request(&assignment.job, assignment.id(), "some-model", &wanted, &[], None);
    let body: Value = serde_json::from_slice(&body.expect("small")).expect("JSON");
    assert_eq!(body["generation_config"]["max_output_tokens"], 2_560);
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
