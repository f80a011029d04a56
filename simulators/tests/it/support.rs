//! Waiting on conditions, and HTTP without ceremony.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

/// Nothing that these tests wait for takes longer than this, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until the answer is `Some`; panics with `what` at the deadline. The only place that sleeps.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that follows no redirects.
pub(crate) fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(DEADLINE)
        .build()
        .expect("a client without TLS to set up")
}

/// Status and JSON body (`Null` if it is not JSON).
pub(crate) async fn ask(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let bytes = answer.bytes().await.expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// `GET` until the body satisfies the condition.
pub(crate) async fn until(
    http: &reqwest::Client,
    url: &str,
    auth: (&str, &str),
    what: &str,
    good: impl Fn(&Value) -> bool,
) -> Value {
    eventually(what, || async {
        let (_, body) = ask(http.get(url).header(auth.0, auth.1)).await;
        good(&body).then_some(body)
    })
    .await
}

/// A small SD 1.5 workflow.
pub(crate) fn workflow(prompt: &str, seed: u64) -> Value {
    serde_json::json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {"seed": seed, "steps": 4, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "hint-1"}},
    })
}
