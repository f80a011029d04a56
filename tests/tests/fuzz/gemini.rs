//! Gemini's answers of both families, and its errors in all their shapes.

use schemas::{Kind, samples};
use worker_gemini::gemini::wire::{FileReply, GenerateReply, Interaction, ModelsPage};
use worker_gemini::gemini::{download, errors, generate, interactions, media, usage};

use crate::target::{self, Target};

const GENERATED: [&str; 5] = [
    r#"[{"candidates":[{"content":{"parts":null}},{"content":[{"parts":{"inline_data":{"mime_type":"image/png","data":"data:image/png;base64,aGVs\nbG8"},"thought":"true"}}],"finish_reason":"STOP"}],"usageMetadata":{"prompt_token_count":"12","candidatesTokenCount":12.5,"thoughtsTokenCount":null,"totalTokenCount":"many"}}]"#,
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"draft","thought":true},{"inlineData":{"mimeType":"image/png","data":"aGVsbG8="}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":1290,"thoughtsTokenCount":40,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290}]},"responseId":"r1"}"#,
    r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT","blockReasonMessage":"no"}}"#,
    r#"{"candidates":[{"finishReason":"IMAGE_SAFETY","finishMessage":"words"}],"usageMetadata":{"promptTokenCount":3}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"I cannot"}]},"finishReason":"MAX_TOKENS"}]}"#,
];
const INTERACTIONS: [&str; 4] = [
    r#"{"id":"v1","status":"in_progress"}"#,
    r#"{"id":"v1","status":"completed","steps":[{"type":"user_input","content":[{"type":"text","text":"x"}]},{"type":"model_output","content":[{"type":"video","mime_type":"video/mp4","uri":"https://generativelanguage.googleapis.com/v1beta/files/abc:download?alt=media"},{"type":"image","data":"aGVsbG8="}]}],"usage":{"total_input_tokens":9,"total_output_tokens":34752,"total_thought_tokens":2,"output_tokens_by_modality":[{"modality":"video","tokens":34752}]}}"#,
    r#"{"id":"v1","status":"failed","errors":[{"code":"content_policy","message":"x"}],"steps":[{"type":"model_output","content":{"type":"text","text":"y"},"error":{"code":13,"message":"x"}}]}"#,
    r#"{"id":"v1","status":"cancelled","usage":{"total_input_tokens":1}}"#,
];
const ERRORS: [&str; 5] = [
    r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You exceeded your quota. Please retry in 3.957525076s.","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProject","quotaValue":"250"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#,
    r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
    r#"{"error":{"code":"invalid_request","message":"x"}}"#,
    r#"{"error":"words"}"#,
    "<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title></html>",
];

fn generated(bytes: &[u8]) -> bool {
    let Ok(reply) = serde_json::from_slice::<GenerateReply>(bytes) else { return false };
    let files = generate::media(&reply);
    decoded(&files);
    for has_media in [false, !files.is_empty()] {
        target::price(&usage::of_tokens(reply.tokens.as_ref(), Kind::Image, has_media), "gemini");
    }
    let _ = generate::failure(&reply);
    true
}

fn decoded(files: &[media::MediaRef<'_>]) {
    for file in files {
        match file.source {
            media::Source::Data(data) => drop(media::decode(data)),
            media::Source::Uri(uri) => drop(download::file_id(uri)),
        }
    }
}

fn interaction(bytes: &[u8]) -> bool {
    let Ok(reply) = serde_json::from_slice::<Interaction>(bytes) else { return false };
    for kind in [Kind::Image, Kind::Video] {
        let media = interactions::media(&reply, kind);
        decoded(&media);
        target::price(&usage::of_interaction(&reply, kind, !media.is_empty()), "gemini");
    }
    let _ = interactions::failure(&reply);
    true
}

/// Any text can be an error's body, and has a meaning under any status.
fn error(bytes: &[u8]) -> bool {
    let body = String::from_utf8_lossy(bytes);
    for status in [302, 400, 401, 403, 404, 408, 409, 413, 418, 429, 499, 500, 503, 504] {
        let _ = errors::refused(status, &body, None, "model", samples::TIME_MS);
        let _ = errors::is_stopped(status, &errors::said(&body));
    }
    true
}

#[test]
fn answers() {
    target::run(vec![
        Target::new("gemini generate", GENERATED, generated),
        Target::new("gemini interaction", INTERACTIONS, interaction),
        Target::new("gemini error", ERRORS, error),
        Target::new("gemini models", [r#"{"models":[{"name":"models/a"}],"nextPageToken":"t"}"#], |bytes| {
            serde_json::from_slice::<ModelsPage>(bytes).is_ok()
        }),
        Target::new("gemini file", [r#"{"state":"ACTIVE"}"#], |bytes| {
            serde_json::from_slice::<FileReply>(bytes).is_ok()
        }),
    ]);
}
