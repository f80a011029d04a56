//! Interactions: films and pictures, in the background or at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::models::{self, Makes, Model, Tokens};
use super::request::{self, FPS, Shape, Wish};
use super::store::Interaction;
use super::{Gemini, errors, odd};
use crate::admin::Line;
use crate::host::Conn;
use crate::{chance, clock, picture, webhook};

fn invalid(message: &str) -> Response {
    errors::interaction(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn not_found() -> Response {
    errors::interaction(StatusCode::NOT_FOUND, "not_found", "Interaction not found.")
}

/// The part of `response_format` that says what to make; the newest form is an object or a list of them.
fn format(request: &Value) -> &Value {
    let format = &request["response_format"];
    format.as_array().and_then(|list| list.iter().find(|one| one["type"] != "text")).unwrap_or(format)
}

fn parse(model: &Model, request: &Value) -> Result<Wish, String> {
    let (prompt, images) = request::input(&request["input"]);
    if prompt.is_empty() && images == 0 {
        return Err("input is required".to_owned());
    }
    if !request["system_instruction"].is_null() && model.makes == Makes::Films {
        return Err("system_instruction is not supported by this model".to_owned());
    }
    let format = format(request);
    let film = model.makes == Makes::Films;
    let text = |name: &str, default: &'static str| format[name].as_str().map_or(default, |text| text);
    let duration = format["duration"].as_str().unwrap_or("8s");
    let seconds = duration.strip_suffix('s').and_then(|n| n.parse().ok());
    let shape = Shape {
        ratio: text("aspect_ratio", if film { "16:9" } else { "1:1" }),
        size: if film { text("resolution", "720p") } else { text("image_size", "1K") },
        seconds: seconds.ok_or_else(|| format!("duration {duration} is not valid"))?,
    };
    let seed = request["generation_config"]["seed"].as_u64().unwrap_or(0);
    request::wish(model, (prompt, images, seed), &shape)
}

pub(super) async fn create(gemini: Arc<Gemini>, conn: Conn, request: Value) -> Response {
    if gemini.admin.take("interaction_error_string_code").is_some() {
        return invalid("The request could not be understood.");
    }
    let name = request["model"].as_str().unwrap_or_default();
    let Some(model) = models::find(name) else { return errors::no_model(name, models::is_retired(name)) };
    let background = request["background"] == Value::Bool(true);
    if background && request["store"] == Value::Bool(false) {
        return invalid("background requires store to be true.");
    }
    let wish = match parse(model, &request) {
        Ok(wish) => wish,
        Err(message) => return invalid(&message),
    };
    if let Some(wait_ms) = gemini.above_rpm(name) {
        return errors::quota(&errors::Quota::Minute(wait_ms), name);
    }
    let count = gemini.admin.count_post();
    let now_ms = clock::now_ms();
    let seed = gemini.config.seed;
    let key = request.to_string();
    let median_ms =
        if wish.seconds > 0 { gemini.config.video_median_ms } else { gemini.config.image_median_ms };
    let wall = gemini.scale.wall(chance::latency_ms(median_ms, seed, key.as_bytes()));
    let parts: [&[u8]; 3] = [b"interaction", &now_ms.to_be_bytes(), &count.to_be_bytes()];
    let id = format!("v1_{}", chance::hex(seed, &parts, 40));
    let tokens = wish.tokens(seed, id.as_bytes(), 0);
    let output_max = request["generation_config"]["max_output_tokens"].as_u64().unwrap_or(u64::MAX);
    let cut = (tokens.media + tokens.thoughts > output_max).then_some("interaction_incomplete");
    let fate = ["interaction_failed", "usage_missing"].into_iter().find(|f| gemini.admin.take(f).is_some());
    let answer = odd::Answer { id: &id, usual: tokens, output_max };
    let fate = fate.or_else(|| gemini.odd_interaction(count, &answer)).or(cut);
    gemini.store.insert(Interaction {
        status: "in_progress".to_owned(),
        model: name.to_owned(),
        created_ms: now_ms,
        updated_ms: now_ms,
        ready_ms: now_ms + wall.as_millis() as u64,
        fate: fate.map(str::to_owned),
        file: chance::hex(seed, &[b"file", id.as_bytes()], 12),
        id: id.clone(),
        request,
    });
    gemini.admin.count_state("in_progress");
    gemini.spawn(Arc::clone(&gemini).finish(id.clone()));
    let lost = gemini.admin.take("lost_answer").is_some();
    if !background {
        gemini.wait_for(&id).await;
    }
    if lost {
        conn.cut();
    }
    show(&gemini, &id, false).await
}

pub(super) async fn show(gemini: &Gemini, id: &str, with_input: bool) -> Response {
    match gemini.store.get(id) {
        Some(one) => Json(gemini.describe(&one, with_input).await).into_response(),
        None => not_found(),
    }
}

/// A cancelled interaction is not billed here; what the real one bills is undocumented.
pub(super) async fn cancel(gemini: &Gemini, id: &str) -> Response {
    if gemini.store.settle(id, "cancelled", clock::now_ms()) {
        gemini.admin.count_state("cancelled");
        gemini.changed.send_modify(|version| *version += 1);
    }
    show(gemini, id, false).await
}

impl Gemini {
    /// Spends the rest of the time, bills and ends. Goes on after a restart.
    pub(super) async fn finish(self: Arc<Self>, id: String) {
        let Some(one) = self.store.get(&id) else { return };
        let running = self.admin.running();
        let left = one.ready_ms.saturating_sub(clock::now_ms());
        tokio::time::sleep(Duration::from_millis(left)).await;
        drop(running);
        let status = match one.fate.as_deref() {
            Some("interaction_failed") => "failed",
            Some("interaction_incomplete") => "incomplete",
            _ => "completed",
        };
        // Looked at again: it may have been cancelled meanwhile.
        let open = self.store.get(&id).is_some_and(|now| now.status == "in_progress");
        if open && bills(&one) && !self.bill(&one) {
            return;
        }
        if self.store.settle(&id, status, clock::now_ms()) {
            self.admin.count_state(status);
        }
        self.changed.send_modify(|version| *version += 1);
        self.call_webhooks(&one, status).await;
    }

    /// Tells the webhooks of the request; unsigned, unlike the real ones.
    async fn call_webhooks(&self, one: &Interaction, status: &str) {
        let report = json!({"type": format!("interaction.{status}"), "version": "v1",
            "timestamp": clock::rfc3339(clock::now_ms()), "data": {"id": one.id}});
        let uris = one.request["webhook_config"]["uris"].as_array().into_iter().flatten();
        for uri in uris.filter_map(Value::as_str) {
            if !webhook::send(uri, &report).await {
                tracing::warn!(interaction = one.id, "simulator: the webhook was not accepted");
            }
        }
    }

    async fn wait_for(&self, id: &str) {
        let mut changed = self.changed.subscribe();
        while self.store.get(id).is_some_and(|one| one.status == "in_progress") {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// False if the simulator stopped meanwhile.
    fn bill(&self, one: &Interaction) -> bool {
        let Some((model, _, tokens)) = self.made(one) else { return false };
        self.admin.bill_once(Line {
            at_ms: clock::now_ms(),
            what: model.name.to_owned(),
            provider_id: one.id.clone(),
            job_hint: one.request["labels"]["job"].as_str().unwrap_or_default().to_owned(),
            quantity: tokens.total(),
            unit: "tokens".to_owned(),
            amount_micro_usd: model.price(tokens),
        })
    }

    async fn describe(&self, one: &Interaction, with_input: bool) -> Value {
        let mut shown = json!({"id": one.id, "object": "interaction", "status": one.status, "model": one.model,
            "created": clock::rfc3339(one.created_ms), "updated": clock::rfc3339(one.updated_ms)});
        let mut steps = Vec::new();
        if with_input {
            steps.push(json!({"type": "user_input", "content": one.request["input"]}));
        }
        match one.status.as_str() {
            "completed" | "incomplete" => {
                steps.push(json!({"type": "thought"}));
                let content = self.content(one).await;
                steps.push(json!({"type": "model_output", "content": content}));
                if one.fate.as_deref() == Some("null_fields") {
                    steps.push(json!({"type": "model_output", "content": null, "error": null}));
                    shown["errors"] = Value::Null;
                }
                if one.fate.as_deref() != Some("usage_missing") {
                    shown["usage"] = self.usage(one);
                }
            }
            "failed" => {
                let message = "The model could not make this.";
                shown["errors"] = json!([{"code": "generation_failed", "message": message}]);
                steps.push(json!({"type": "model_output", "content": [],
                    "error": {"code": 13, "message": message, "details": []}}));
            }
            _ => {}
        }
        if !steps.is_empty() {
            shown["steps"] = json!(steps);
        }
        shown
    }

    async fn content(&self, one: &Interaction) -> Value {
        let Some((_, wish, _)) = self.made(one) else { return json!([]) };
        if one.fate.as_deref() == Some("words_only") {
            return json!([{"type": "text", "text": odd::WORDS}]);
        }
        let (kind, mime) = if wish.seconds > 0 { ("video", "video/mp4") } else { ("image", "image/png") };
        let default = if wish.seconds > 0 { "uri" } else { "inline" };
        let by_uri = format(&one.request)["delivery"].as_str().unwrap_or(default) == "uri";
        let mut content = Vec::new();
        for copy in 1..=odd::copies(one.fate.as_deref()) {
            if by_uri {
                let file = if copy == 1 { one.file.clone() } else { format!("{}-{copy}", one.file) };
                let uri = format!("{}/v1beta/files/{file}:download?alt=media", self.public_url);
                content.push(json!({"type": kind, "mime_type": mime, "uri": uri}));
            } else {
                let bytes = self.media(one).await;
                content.push(
                    json!({"type": kind, "mime_type": mime, "data": STANDARD.encode(bytes.as_slice())}),
                );
            }
        }
        json!(content)
    }

    fn usage(&self, one: &Interaction) -> Value {
        let Some((model, _, tokens)) = self.made(one) else { return Value::Null };
        let modality = if model.makes == Makes::Films { "video" } else { "image" };
        odd::interaction_usage(one.fate.as_deref(), tokens, modality)
    }

    /// What was asked of which model, and what it takes.
    fn made(&self, one: &Interaction) -> Option<(&'static Model, Wish, Tokens)> {
        let (model, wish) = wish_of(one)?;
        let usual = wish.tokens(self.config.seed, one.id.as_bytes(), 0);
        Some((model, wish, odd::tokens(one.fate.as_deref(), usual)))
    }

    /// The bytes that an interaction made; drawn on demand.
    pub(super) async fn media(&self, one: &Interaction) -> Arc<Vec<u8>> {
        if let Some(bytes) = self.store.media(&one.file) {
            return bytes;
        }
        let Some((_, wish)) = wish_of(one) else { return Arc::default() };
        let drawn = tokio::task::spawn_blocking(move || match wish.seconds {
            0 => picture::png(&wish.scene),
            seconds => picture::mp4_film(&wish.scene, seconds as u32 * FPS, f64::from(FPS)),
        });
        let bytes = Arc::new(drawn.await.unwrap_or_default());
        self.store.keep_media(&one.file, &bytes);
        bytes
    }
}

/// A failure of the provider's own is not billed.
fn bills(one: &Interaction) -> bool {
    one.fate.as_deref() != Some("interaction_failed")
}

fn wish_of(one: &Interaction) -> Option<(&'static Model, Wish)> {
    let model = models::find(&one.model)?;
    Some((model, parse(model, &one.request).ok()?))
}
