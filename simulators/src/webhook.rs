//! Calls a customer's webhook: a POST with JSON, tried again while it is not answered with 200.

use std::time::Duration;

use serde_json::Value;

/// Deliveries of a webhook.
const TRIES: u32 = 3;

/// Wall time between two of them, however fast the simulation: a client that is away comes back in wall time.
const PAUSE: Duration = Duration::from_secs(10);

/// Sends it; false when it was not accepted in the end.
pub(crate) async fn send(url: &str, body: &Value) -> bool {
    // The client wants a cryptography provider even for plain HTTP; installed once for the process.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let sent = client.post(url).json(body).send().await;
        if sent.is_ok_and(|answer| answer.status() == reqwest::StatusCode::OK) {
            return true;
        }
    }
    false
}
