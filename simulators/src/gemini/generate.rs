//! `generateContent`: one picture, synchronously.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::models::{self, Makes, Model};
use super::request::{self, Shape, Wish};
use super::{Gemini, errors};
use crate::admin::Line;
use crate::host::Conn;
use crate::{chance, clock, picture};

/// Words that come with a picture unless only pictures were asked for.
const CAPTION: &str = "Here is the picture you asked for.";
const CAPTION_TOKENS: u64 = 9;

pub(super) async fn generate(gemini: Arc<Gemini>, conn: Conn, name: &str, body: Value) -> Response {
    let Some(model) = models::find(name) else { return errors::no_model(name, models::is_retired(name)) };
    if model.makes == Makes::Films {
        return errors::invalid("This model only supports Interactions API.");
    }
    let wish = match parse(model, &body) {
        Ok(wish) => wish,
        Err(message) => return errors::invalid(&message),
    };
    if let Some(wait_ms) = gemini.above_rpm(name) {
        return errors::quota(&errors::Quota::Minute(wait_ms), name);
    }
    let count = gemini.admin.count_post();
    let key = body.to_string();
    let (answer, wait) = oneshot::channel();
    // On its own, so that a client that hangs up does not get its money back.
    let work = Arc::clone(&gemini).work(model, wish, (key, count), with_words(&body), answer);
    gemini.spawn(work);
    let Ok(answer) = wait.await else {
        return errors::rpc(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "An internal error has occurred.",
            Value::Null,
        );
    };
    if gemini.admin.take("lost_answer").is_some() {
        conn.cut();
    }
    Json(answer).into_response()
}

fn with_words(body: &Value) -> bool {
    body["generationConfig"]["responseModalities"]
        .as_array()
        .is_none_or(|list| list.iter().any(|one| one == "TEXT"))
}

fn parse(model: &Model, body: &Value) -> Result<Wish, String> {
    let (prompt, images) = request::contents(body);
    if prompt.is_empty() && images == 0 {
        return Err("contents is not specified".to_owned());
    }
    let config = &body["generationConfig"];
    if let Some(odd) =
        ["personGeneration", "outputMimeType"].iter().find(|k| !config["imageConfig"][**k].is_null())
    {
        return Err(format!("{odd} parameter is not supported in Gemini API."));
    }
    let shape = Shape {
        ratio: config["imageConfig"]["aspectRatio"].as_str().unwrap_or("1:1"),
        size: config["imageConfig"]["imageSize"].as_str().unwrap_or("1K"),
        seconds: 0,
    };
    request::wish(model, (prompt, images, config["seed"].as_u64().unwrap_or(0)), &shape)
}

impl Gemini {
    /// Works, bills and answers.
    async fn work(
        self: Arc<Self>,
        model: &'static Model,
        wish: Wish,
        (key, count): (String, u64),
        words: bool,
        answer: oneshot::Sender<Value>,
    ) {
        let _running = self.admin.running();
        let now_ms = clock::now_ms();
        let response_id = chance::hex(
            self.config.seed,
            &[b"response", key.as_bytes(), &now_ms.to_be_bytes(), &count.to_be_bytes()],
            24,
        );
        let latency_ms = chance::latency_ms(self.config.image_median_ms, self.config.seed, key.as_bytes());
        tokio::time::sleep(self.scale.wall(latency_ms)).await;
        let tokens = wish.tokens(self.config.seed, key.as_bytes(), if words { CAPTION_TOKENS } else { 0 });
        if let Some(blocked) = self.blocked(wish.input_tokens) {
            self.admin.count_state("blocked");
            let tail = json!({"modelVersion": model.name, "responseId": response_id});
            answer.send(merged(blocked, &tail)).ok();
            return;
        }
        let scene = wish.scene.clone();
        let Ok(png) = tokio::task::spawn_blocking(move || picture::png(&scene)).await else { return };
        let mut parts = vec![json!({"text": "Thinking about the composition.", "thought": true})];
        if words {
            parts.push(json!({"text": CAPTION}));
        }
        let data = STANDARD.encode(&png);
        parts.push(json!({"inlineData": {"mimeType": "image/png", "data": data}, "thoughtSignature": "c2ltdWxhdGVk"}));
        let mut body = json!({
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0,
                "safetyRatings": []}],
            "modelVersion": model.name, "responseId": response_id,
        });
        if self.admin.take("usage_missing").is_none() {
            let mut details = vec![json!({"modality": "IMAGE", "tokenCount": tokens.media})];
            if tokens.text > 0 {
                details.push(json!({"modality": "TEXT", "tokenCount": tokens.text}));
            }
            body["usageMetadata"] = json!({
                "promptTokenCount": tokens.input, "candidatesTokenCount": tokens.media + tokens.text,
                "thoughtsTokenCount": tokens.thoughts, "totalTokenCount": tokens.total(),
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.input}],
                "candidatesTokensDetails": details,
            });
        }
        self.admin.count_state("completed");
        let billed = self.admin.bill_once(Line {
            at_ms: clock::now_ms(),
            what: model.name.to_owned(),
            provider_id: response_id,
            job_hint: String::new(),
            quantity: tokens.total(),
            unit: "tokens".to_owned(),
            amount_micro_usd: model.price(tokens),
        });
        if billed {
            answer.send(body).ok();
        }
    }

    /// An answer without a picture, if such a fault is armed. Nothing is billed for it.
    fn blocked(&self, input: u64) -> Option<Value> {
        let usage = json!({"promptTokenCount": input, "totalTokenCount": input});
        if self.admin.take("prompt_blocked").is_some() {
            let feedback = json!({"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []});
            return Some(json!({"promptFeedback": feedback, "usageMetadata": usage}));
        }
        let (reason, message) = if self.admin.take("image_safety").is_some() {
            ("IMAGE_SAFETY", "The picture was withheld because it may violate the usage policies.")
        } else if self.admin.take("no_image").is_some() {
            ("NO_IMAGE", "The model did not make a picture.")
        } else {
            return None;
        };
        let candidate = json!({"content": {"role": "model", "parts": []}, "finishReason": reason,
            "finishMessage": message, "index": 0});
        Some(json!({"candidates": [candidate], "usageMetadata": usage}))
    }
}

fn merged(mut body: Value, tail: &Value) -> Value {
    for (name, value) in tail.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}
