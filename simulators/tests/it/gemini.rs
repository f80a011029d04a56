//! The simulated Gemini API: answers, refusals, quotas, downloads, money.

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::gemini::{Config, Server};

use crate::support::{ask, client, eventually, until};

const KEY: (&str, &str) = ("x-goog-api-key", "sim-gemini-key");
const FLASH: &str = "gemini-3.1-flash-image";
const OMNI: &str = "gemini-omni-1.1-flash";

fn fast() -> Config {
    Config { time_scale: 0.001, ..Config::default() }
}

fn picture(server: &Server, model: &str, size: &str) -> reqwest::RequestBuilder {
    let body = json!({"contents": [{"parts": [{"text": "a red fox"}]}], "generationConfig": {
        "responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "1:1", "imageSize": size}}});
    let url = format!("{}/v1beta/models/{model}:generateContent", server.url());
    client().post(url).header(KEY.0, KEY.1).json(&body)
}

fn film(server: &Server, background: bool) -> reqwest::RequestBuilder {
    let body = json!({"model": OMNI, "input": [{"type": "text", "text": "the fox turns"}], "background": background,
        "response_format": {"type": "video", "aspect_ratio": "16:9", "resolution": "360p", "duration": "3s",
            "delivery": "uri"}, "labels": {"job": "j-1"}});
    client().post(format!("{}/v1beta/interactions", server.url())).header(KEY.0, KEY.1).json(&body)
}

async fn finished(server: &Server, id: &str) -> Value {
    let url = format!("{}/v1beta/interactions/{id}", server.url());
    until(&client(), &url, KEY, "the end", |body| body["status"] != "in_progress").await
}

#[tokio::test]
async fn a_picture_is_billed_by_the_usage_it_reports() {
    let server = Server::start(fast()).await.unwrap();
    let (status, body) = ask(picture(&server, FLASH, "512")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let parts = body["candidates"][0]["content"]["parts"].as_array().unwrap();
    assert_eq!(parts[0]["thought"], true);
    assert_eq!(parts.last().unwrap()["inlineData"]["mimeType"], "image/png");
    let usage = |name: &str| body["usageMetadata"][name].as_u64().unwrap();
    assert_eq!(usage("candidatesTokenCount"), 747);
    let micro =
        usage("promptTokenCount") * 500_000 + usage("thoughtsTokenCount") * 3_000_000 + 747 * 60_000_000;
    assert_eq!(server.admin().invoice().total_micro_usd, micro.div_ceil(1_000_000));
    assert_eq!(server.admin().invoice().lines[0].provider_id, body["responseId"].as_str().unwrap());
}

#[tokio::test]
async fn errors_cost_nothing() {
    let server = Server::start(fast()).await.unwrap();
    for (name, status, at, wanted) in [
        ("http_429_minute", 429, "/error/details/2/retryDelay", json!("0.037s")),
        ("http_429_day", 429, "/error/status", json!("RESOURCE_EXHAUSTED")),
        ("http_429_limit_zero", 429, "/error/details/1/violations/0/quotaValue", json!("0")),
        ("http_503", 503, "/error/status", json!("UNAVAILABLE")),
        ("api_key_invalid", 400, "/error/details/0/reason", json!("API_KEY_INVALID")),
        ("error_in_array", 500, "/0/error/status", json!("INTERNAL")),
    ] {
        server.admin().set_faults(vec![Fault::times(name, 1)]).unwrap();
        let (got, body) = ask(picture(&server, FLASH, "512")).await;
        assert_eq!((got.as_u16(), body.pointer(at)), (status, Some(&wanted)), "{name}: {body}");
    }
    assert_eq!(server.admin().invoice().total_micro_usd, 0);
}

#[tokio::test]
async fn answers_without_a_picture_cost_what_they_count() {
    let server = Server::start(fast()).await.unwrap();
    let mut total = 0;
    for (name, at, wanted) in [
        ("prompt_blocked", "/promptFeedback/blockReason", json!("PROHIBITED_CONTENT")),
        ("image_safety", "/candidates/0/finishReason", json!("IMAGE_SAFETY")),
        ("no_image", "/candidates/0/finishReason", json!("NO_IMAGE")),
        ("finish_other", "/candidates/0/finishReason", json!("OTHER")),
        ("words_only", "/candidates/0/finishReason", json!("STOP")),
    ] {
        server.admin().set_faults(vec![Fault::times(name, 1)]).unwrap();
        let (got, body) = ask(picture(&server, FLASH, "512")).await;
        assert_eq!((got.as_u16(), body.pointer(at)), (200, Some(&wanted)), "{name}: {body}");
        let usage = |name: &str| body["usageMetadata"][name].as_u64().unwrap_or_default();
        let text = usage("thoughtsTokenCount") + usage("candidatesTokenCount");
        total += (usage("promptTokenCount") * 500_000 + text * 3_000_000).div_ceil(1_000_000);
        assert_eq!(server.admin().invoice().total_micro_usd, total, "{name}");
    }
    assert_eq!(server.admin().invoice().lines.len(), 5);
}

#[tokio::test]
async fn output_tokens_are_capped_when_asked() {
    let server = Server::start(fast()).await.unwrap();
    let body = json!({"contents": [{"parts": [{"text": "a red fox"}]}],
        "generationConfig": {"maxOutputTokens": 700, "responseModalities": ["IMAGE"]}});
    let url = format!("{}/v1beta/models/{FLASH}:generateContent", server.url());
    let (_, body) = ask(client().post(url).header(KEY.0, KEY.1).json(&body)).await;
    assert_eq!(body["candidates"][0]["finishReason"], "MAX_TOKENS", "{body}");
    assert!(server.admin().invoice().total_micro_usd > 0, "the thoughts are billed");
}

#[tokio::test]
async fn the_same_seed_draws_the_same_odd_answers() {
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let server = Server::start(fast()).await.unwrap();
        server.admin().set_faults(vec![Fault::always("odd_answer")]).unwrap();
        let mut shapes = Vec::new();
        for _ in 0..6 {
            let (_, body) = ask(picture(&server, FLASH, "512")).await;
            let parts = body["candidates"][0]["content"]["parts"].as_array().map_or(0, Vec::len);
            shapes.push(format!("{parts} {}", body["candidates"][0]["finishReason"]));
        }
        drawn.push(shapes);
    }
    assert_eq!(drawn[0], drawn[1]);
    assert!(drawn[0].iter().any(|shape| *shape != drawn[0][0]), "not all alike: {:?}", drawn[0]);
}

#[tokio::test]
async fn shares_of_answers_are_odd_and_keep_to_the_cap() {
    let server = Server::start(Config { odd_answers_percent: 100, ..fast() }).await.unwrap();
    let body = json!({"contents": [{"parts": [{"text": "a red fox"}]}],
        "generationConfig": {"maxOutputTokens": 2000, "responseModalities": ["IMAGE"]}});
    let url = format!("{}/v1beta/models/{FLASH}:generateContent", server.url());
    let mut shapes = std::collections::BTreeSet::new();
    for _ in 0..24 {
        let (got, body) = ask(client().post(&url).header(KEY.0, KEY.1).json(&body)).await;
        assert_eq!(got, StatusCode::OK, "{body}");
        let candidate = &body["candidates"][0];
        let images = candidate["content"]["parts"].as_array().into_iter().flatten();
        let images = images.filter(|part| !part["inlineData"].is_null()).count();
        assert!(images <= 1, "three pictures are above the cap: {body}");
        shapes.insert(format!("{images} {}", candidate["finishReason"]));
    }
    assert!(shapes.len() > 2, "{shapes:?}");
    let bill = server.admin().invoice();
    assert!(bill.lines.len() == 24 && bill.lines.iter().all(|line| line.amount_micro_usd > 0), "{bill:?}");
}

#[tokio::test]
async fn keys_models_and_sizes_are_checked() {
    let server = Server::start(fast()).await.unwrap();
    let models = format!("{}/v1beta/models", server.url());
    assert_eq!(ask(client().get(&models)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(client().get(&models).header(KEY.0, "wrong")).await.0, StatusCode::BAD_REQUEST);
    let (_, list) = ask(client().get(format!("{models}?pageSize=2")).header(KEY.0, KEY.1)).await;
    assert_eq!((list["models"].as_array().unwrap().len(), &list["nextPageToken"]), (2, &json!("2")));
    for (model, size, status, text) in [
        ("gemini-2.5-flash-image", "1K", 404, "no longer available"),
        ("gemini-nonsense", "1K", 404, "not found"),
        (OMNI, "1K", 400, "only supports Interactions API"),
        ("gemini-3-pro-image", "512", 400, "not supported"),
    ] {
        let (got, body) = ask(picture(&server, model, size)).await;
        assert_eq!(got.as_u16(), status, "{model}");
        assert!(body["error"]["message"].as_str().unwrap().contains(text), "{body}");
    }
    for method in ["predict", "predictLongRunning"] {
        let url = format!("{models}/imagen-4.0-generate-001:{method}");
        assert_eq!(ask(client().post(url).header(KEY.0, KEY.1)).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_lost_answer_is_billed() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("lost_answer", 1)]).unwrap();
    assert!(picture(&server, FLASH, "512").send().await.is_err());
    eventually("the bill", || async { server.admin().invoice().lines.pop() }).await;
}

#[tokio::test]
async fn usage_may_be_missing_although_it_is_billed() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("usage_missing", 1)]).unwrap();
    let (_, body) = ask(picture(&server, FLASH, "512")).await;
    assert!(body["usageMetadata"].is_null());
    assert_eq!(server.admin().invoice().lines.len(), 1);
}

#[tokio::test]
async fn a_film_comes_by_redirect_and_the_other_host_sees_a_leaked_key() {
    let server = Server::start(fast()).await.unwrap();
    let (_, created) = ask(film(&server, true)).await;
    assert_eq!(created["status"], "in_progress");
    let id = created["id"].as_str().unwrap();
    let done = finished(&server, id).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(
        done["usage"]["output_tokens_by_modality"],
        json!([{"modality": "video", "tokens": 3 * 1931}])
    );
    let uri = done["steps"].as_array().unwrap().last().unwrap()["content"][0]["uri"].as_str().unwrap();
    let file = uri.split(":download").next().unwrap();
    until(&client(), file, KEY, "the file", |body| body["state"] == "ACTIVE").await;
    let redirect = client().get(uri).header(KEY.0, KEY.1).send().await.unwrap();
    assert_eq!(redirect.status(), StatusCode::FOUND);
    let elsewhere = redirect.headers()[LOCATION].to_str().unwrap().to_owned();
    assert!(!elsewhere.starts_with(&server.url()), "another port");
    let bytes = client().get(&elsewhere).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[4..8], b"ftyp");
    assert_eq!(server.admin().stats().key_leaks, 0);
    client().get(&elsewhere).header(KEY.0, KEY.1).send().await.unwrap();
    assert_eq!(server.admin().stats().key_leaks, 1);
    let line = server.admin().invoice().lines.remove(0);
    let usage = |name: &str| done["usage"][name].as_u64().unwrap();
    let micro = usage("total_input_tokens") * 1_500_000 + usage("total_output_tokens") * 17_500_000;
    assert_eq!((line.amount_micro_usd, line.job_hint.as_str()), (micro.div_ceil(1_000_000), "j-1"));
    server.admin().set_faults(vec![Fault::times("file_expired", 1)]).unwrap();
    assert_eq!(ask(client().get(uri).header(KEY.0, KEY.1)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn interactions_fail_in_their_own_ways() {
    let server = Server::start(fast()).await.unwrap();
    server.admin().set_faults(vec![Fault::times("interaction_error_string_code", 1)]).unwrap();
    let (status, body) = ask(film(&server, true)).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    for (fault, status, lines) in
        [("interaction_failed", "failed", 0), ("completed_without_content", "completed", 1)]
    {
        server.admin().set_faults(vec![Fault::times(fault, 1)]).unwrap();
        let (_, body) = ask(film(&server, false)).await;
        assert_eq!(body["status"], status, "{fault}");
        assert_eq!(body["steps"].as_array().unwrap().last().unwrap()["content"], json!([]), "{fault}");
        assert_eq!(server.admin().invoice().lines.len(), lines, "what was counted is billed: {fault}");
    }
    let (_, created) = ask(film(&server, true)).await;
    let cancel = format!("{}/v1beta/interactions/{}/cancel", server.url(), created["id"].as_str().unwrap());
    let cancelled = ask(client().post(cancel).header(KEY.0, KEY.1)).await.1;
    let billed = 1 + usize::from(cancelled["status"] == "completed");
    assert_eq!(server.admin().invoice().lines.len(), billed, "a cancelled one is not");
}

#[tokio::test]
async fn requests_above_the_limit_are_told_when_to_come_back() {
    let server = Server::start(Config { rpm: Some(1), ..Config::default() }).await.unwrap();
    let (status, body) = ask(film(&server, true)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, body) = ask(film(&server, true)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let delay = body["error"]["details"][2]["retryDelay"].as_str().unwrap().trim_end_matches('s').to_owned();
    let seconds: f64 = delay.parse().unwrap();
    assert!((50.0..=60.0).contains(&seconds), "{delay}");
}

#[tokio::test]
async fn an_interaction_outlives_a_restart_and_is_billed_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { time_scale: 0.005, state_dir: Some(dir.path().to_owned()), ..Config::default() };
    let server = Server::start(config.clone()).await.unwrap();
    let (_, created) = ask(film(&server, true)).await;
    let id = created["id"].as_str().unwrap();
    drop(server);
    let server = Server::start(config.clone()).await.unwrap();
    assert_eq!(finished(&server, id).await["status"], "completed");
    let invoice = server.admin().invoice();
    assert_eq!(invoice.lines.len(), 1);
    drop(server);
    assert_eq!(Server::start(config).await.unwrap().admin().invoice(), invoice);
}
