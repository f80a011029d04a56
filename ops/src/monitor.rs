//! A nats-server's monitoring port.

use crate::doctor::Varz;
use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// It answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Asks each node what it says about itself.
///
/// # Errors
/// One does not answer, or not as a nats-server does.
pub async fn varz(urls: &[String]) -> anyhow::Result<Vec<Varz>> {
    pages(urls, "varz").await
}

/// The names of the connections that each node has.
///
/// # Errors
/// One does not answer, or not as a nats-server does.
pub async fn connections(urls: &[String]) -> anyhow::Result<Vec<String>> {
    let nodes: Vec<Connz> = pages(urls, "connz?limit=4096").await?;
    Ok(nodes.into_iter().flat_map(|node| node.connections).map(|connection| connection.name).collect())
}

#[derive(Deserialize)]
struct Connz {
    #[serde(default)]
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    #[serde(default)]
    name: String,
}

async fn pages<T: DeserializeOwned>(urls: &[String], name: &str) -> anyhow::Result<Vec<T>> {
    runtime::tls::install();
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
    let mut nodes = Vec::new();
    for url in urls {
        let page = format!("{}/{name}", url.trim_end_matches('/'));
        let answer = async { client.get(&page).send().await?.error_for_status()?.json::<T>().await };
        nodes.push(answer.await.with_context(|| format!("the monitoring page {page}"))?);
    }
    Ok(nodes)
}
