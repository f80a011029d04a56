//! The fleet's configuration as every process sees it: the four documents of the `CONFIG` bucket,
//! watched, so that a change holds everywhere within moments and without a restart.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::StreamExt;
use schemas::topology::bucket;
use schemas::{Catalog, PolicyConfig, PriceList, TenantsConfig, codec};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Fault};
use crate::telemetry;
use crate::there::there;
use crate::topology::open_bucket;

/// The keys of the bucket.
pub const KEYS: [&str; 4] = ["policy", "catalog", "prices", "tenants"];

/// How long to wait before a broken watch is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// The four documents.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// How to decide.
    pub policy: Arc<PolicyConfig>,
    /// What can be made.
    pub catalog: Arc<Catalog>,
    /// What it costs.
    pub prices: Arc<PriceList>,
    /// Who may do what.
    pub tenants: Arc<TenantsConfig>,
}

/// Reads all four documents once.
///
/// # Errors
/// [`Exit::TopologyMissing`] when bucket or document is not there, [`Exit::Config`] when one cannot be read.
pub async fn load(jetstream: &jetstream::Context) -> Result<FleetConfig, Fault> {
    let store = open_bucket(jetstream, bucket::CONFIG).await?;
    Ok(FleetConfig {
        policy: Arc::new(document(&store, "policy").await?),
        catalog: Arc::new(document(&store, "catalog").await?),
        prices: Arc::new(document(&store, "prices").await?),
        tenants: Arc::new(document(&store, "tenants").await?),
    })
}

/// Follows changes until stopped. A document that cannot be read is reported and the last good one stays.
///
/// # Errors
/// Never while the broker lives or comes back.
pub async fn follow(
    jetstream: jetstream::Context,
    current: watch::Sender<FleetConfig>,
    stop: CancellationToken,
) -> Result<(), Fault> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = follow_once(&jetstream, &current) => {
                if let Err(fault) = ended {
                    tracing::warn!(%fault, "configuration watch ended, opening it again");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(REOPEN_AFTER) => {}
        }
    }
}

async fn follow_once(
    jetstream: &jetstream::Context,
    current: &watch::Sender<FleetConfig>,
) -> Result<(), Fault> {
    let store = open_bucket(jetstream, bucket::CONFIG).await?;
    let watching = store.watch_with_history(">").await;
    let mut changes = watching.map_err(|error| missing(&telemetry::chain(&error)))?;
    while let Some(entry) = changes.next().await {
        let entry = entry.map_err(|error| missing(&telemetry::chain(&error)))?;
        if entry.operation == kv::Operation::Put {
            take(current, &entry);
        }
    }
    Ok(())
}

fn take(current: &watch::Sender<FleetConfig>, entry: &kv::Entry) {
    let outcome = match entry.key.as_str() {
        "policy" => read(entry).map(|document| current.send_modify(|all| all.policy = Arc::new(document))),
        "catalog" => read(entry).map(|document| current.send_modify(|all| all.catalog = Arc::new(document))),
        "prices" => read(entry).map(|document| current.send_modify(|all| all.prices = Arc::new(document))),
        "tenants" => read(entry).map(|document| current.send_modify(|all| all.tenants = Arc::new(document))),
        _ => Ok(()),
    };
    match outcome {
        Ok(()) => tracing::debug!(key = entry.key, revision = entry.revision, "configuration taken"),
        Err(error) => {
            tracing::error!(key = entry.key, %error, "configuration refused, the last good one stays");
        }
    }
}

fn read<T: DeserializeOwned>(entry: &kv::Entry) -> Result<T, codec::DecodeError> {
    codec::decode(None, &entry.value)
}

async fn document<T: DeserializeOwned>(store: &kv::Store, key: &str) -> Result<T, Fault> {
    let bytes = there(&format!("bucket {}", bucket::CONFIG), || store.get(key)).await?;
    let bytes = bytes.ok_or_else(|| missing(&format!("key {key} is not set")))?;
    codec::decode(None, &bytes).map_err(|error| {
        Fault::new(Exit::Config, format!("document {key} of bucket {}: {error}", bucket::CONFIG))
    })
}

fn missing(reason: &str) -> Fault {
    let message = format!("bucket {}: {reason}; run `argosy topology apply`", bucket::CONFIG);
    Fault::new(Exit::TopologyMissing, message)
}
