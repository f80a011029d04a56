//! A nats-server's monitoring port.

use crate::doctor::Varz;
use anyhow::Context as _;
use std::time::Duration;

/// It answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks each node what it says about itself.
///
/// # Errors
/// One does not answer, or not as a nats-server does.
pub async fn varz(urls: &[String]) -> anyhow::Result<Vec<Varz>> {
    runtime::tls::install();
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
    let mut nodes = Vec::new();
    for url in urls {
        let page = format!("{}/varz", url.trim_end_matches('/'));
        let answer = async { client.get(&page).send().await?.error_for_status()?.json::<Varz>().await };
        nodes.push(answer.await.with_context(|| format!("the monitoring page {page}"))?);
    }
    Ok(nodes)
}
