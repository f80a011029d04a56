//! `generateContent`: one picture, synchronously; none or several when told so.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::models::{self, Makes, Model, Tokens};
use super::request::{self, Shape, Wish};
use super::{Gemini, errors, odd};
use crate::admin::Line;
use crate::host::Conn;
use crate::picture::Scene;
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
    let wanted = Wanted { wish, words: with_words(&body), output_max: output_max(&body) };
    let work = Arc::clone(&gemini).work(model, wanted, (key, count), answer);
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

/// A request as far as the answer depends on it.
struct Wanted {
    wish: Wish,
    words: bool,
    /// Tokens of pictures, words and thoughts together.
    output_max: u64,
}

fn output_max(body: &Value) -> u64 {
    body["generationConfig"]["maxOutputTokens"].as_u64().unwrap_or(u64::MAX)
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
        wanted: Wanted,
        (key, count): (String, u64),
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
        let (body, tokens) = self.answer(&wanted, &key, (count, &response_id)).await;
        let tail = json!({"modelVersion": model.name, "responseId": response_id});
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
            answer.send(merged(body, &tail)).ok();
        }
    }

    /// The answer, and what it costs.
    async fn answer(&self, wanted: &Wanted, key: &str, (count, id): (u64, &str)) -> (Value, Tokens) {
        let Wanted { wish, words, output_max } = wanted;
        if let Some(blocked) = self.blocked(wish.input_tokens) {
            self.admin.count_state("blocked");
            return (blocked, Tokens { input: wish.input_tokens, ..Tokens::default() });
        }
        let caption = if *words { CAPTION_TOKENS } else { 0 };
        let usual = wish.tokens(self.config.seed, key.as_bytes(), caption);
        let odd = self.odd_generated(count, &odd::Answer { id, usual, output_max: *output_max });
        let tokens = odd::tokens(odd, usual);
        let output = tokens.media + tokens.text + tokens.thoughts;
        if output > *output_max && odd.is_none() {
            // Cut short while it thinks: no picture yet.
            let cut = Tokens { media: 0, text: 0, thoughts: tokens.thoughts.min(*output_max), ..tokens };
            self.admin.count_state("blocked");
            return (ended("MAX_TOKENS", "", cut, odd), cut);
        }
        match odd {
            Some(odd @ "no_image") => {
                let message = "The model did not make a picture.";
                return (ended("NO_IMAGE", message, tokens, Some(odd)), tokens);
            }
            Some(odd @ "finish_other") => {
                return (ended("OTHER", "The model stopped for another reason.", tokens, Some(odd)), tokens);
            }
            _ => {}
        }
        let mut parts = vec![json!({"text": "Thinking about the composition.", "thought": true})];
        if odd == Some("words_only") {
            parts.push(json!({"text": odd::WORDS}));
        } else if *words {
            parts.push(json!({"text": CAPTION}));
        }
        for copy in 0..odd::copies(odd) {
            let scene = Scene { seed: wish.scene.seed.wrapping_add(copy), ..wish.scene.clone() };
            let png = tokio::task::spawn_blocking(move || picture::png(&scene)).await.unwrap_or_default();
            let mut part = json!({"inlineData": {"mimeType": "image/png", "data": STANDARD.encode(&png)},
                "thoughtSignature": "c2ltdWxhdGVk"});
            if odd == Some("draft_only") {
                part["thought"] = json!(true);
            }
            parts.push(part);
        }
        let mut body = json!({"candidates": [{"content": {"role": "model", "parts": parts},
            "finishReason": "STOP", "index": 0, "safetyRatings": []}]});
        if odd == Some("null_fields") {
            body["promptFeedback"] = Value::Null;
            body["candidates"][0]["safetyRatings"] = Value::Null;
            let nothing =
                json!({"content": {"role": "model", "parts": null}, "finishReason": null, "index": 1});
            body["candidates"].as_array_mut().into_iter().for_each(|list| list.push(nothing.clone()));
        }
        if self.admin.take("usage_missing").is_none() {
            body["usageMetadata"] = odd::generated_usage(odd, tokens);
        }
        self.admin.count_state("completed");
        (body, tokens)
    }

    /// A refusal, if such a fault is armed. Only the prompt is billed for it.
    fn blocked(&self, input: u64) -> Option<Value> {
        let tokens = Tokens { input, ..Tokens::default() };
        if self.admin.take("prompt_blocked").is_some() {
            let feedback = json!({"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []});
            let usage = json!({"promptTokenCount": input, "totalTokenCount": input});
            return Some(json!({"promptFeedback": feedback, "usageMetadata": usage}));
        }
        self.admin.take("image_safety")?;
        let message = "The picture was withheld because it may violate the usage policies.";
        Some(ended("IMAGE_SAFETY", message, tokens, None))
    }
}

/// An answer without a picture.
fn ended(reason: &str, message: &str, tokens: Tokens, odd: Option<&str>) -> Value {
    let candidate = json!({"content": {"role": "model", "parts": []}, "finishReason": reason,
        "finishMessage": message, "index": 0});
    json!({"candidates": [candidate], "usageMetadata": odd::generated_usage(odd, tokens)})
}

fn merged(mut body: Value, tail: &Value) -> Value {
    for (name, value) in tail.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}
