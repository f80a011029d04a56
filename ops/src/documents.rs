//! The four configuration documents: read, checked, set, and seeded where they are missing.

use anyhow::{Context as _, bail};
use async_nats::jetstream::kv::{CreateErrorKind, Store};
use async_nats::jetstream::{self};
use runtime::exit::{Exit, Fault};
use runtime::fleet_config::KEYS;
use schemas::topology::bucket;
use schemas::{Catalog, PolicyConfig, PriceList, TenantsConfig, codec};

/// The documents as JSON text, to be put where none are yet.
#[derive(Debug, Clone)]
pub struct Documents {
    /// How to decide.
    pub policy: String,
    /// What can be made.
    pub catalog: String,
    /// What it costs.
    pub prices: String,
    /// Who may do what.
    pub tenants: String,
}

impl Default for Documents {
    /// As shipped.
    fn default() -> Self {
        Self {
            policy: policy::defaults::POLICY_JSON.to_owned(),
            catalog: policy::defaults::CATALOG_JSON.to_owned(),
            prices: policy::defaults::PRICES_JSON.to_owned(),
            tenants: policy::defaults::TENANTS_JSON.to_owned(),
        }
    }
}

impl Documents {
    fn of(&self, key: &str) -> &str {
        match key {
            "policy" => &self.policy,
            "catalog" => &self.catalog,
            "prices" => &self.prices,
            _ => &self.tenants,
        }
    }
}

/// Reads a document as its type would, and checks what the type cannot.
///
/// # Errors
/// A [`Fault`] with exit code 78 that names the field.
pub fn check(key: &str, text: &[u8]) -> Result<(), Fault> {
    let wrong = |reason: String| Fault::new(Exit::Config, format!("document {key}: {reason}"));
    let unreadable = |error: codec::DecodeError| wrong(error.to_string());
    match key {
        "policy" => {
            let document: PolicyConfig = codec::decode(None, text).map_err(unreadable)?;
            policy::validate::policy(&document).map_err(|error| wrong(error.to_string()))
        }
        "catalog" => {
            let document: Catalog = codec::decode(None, text).map_err(unreadable)?;
            policy::validate::catalog(&document).map_err(|error| wrong(error.to_string()))
        }
        "prices" => {
            let document: PriceList = codec::decode(None, text).map_err(unreadable)?;
            policy::cost::validate(&document).map_err(|error| wrong(error.to_string()))
        }
        "tenants" => codec::decode::<TenantsConfig>(None, text).map(|_| ()).map_err(unreadable),
        _ => Err(Fault::new(
            Exit::Config,
            format!("`{key}` is not a document: the documents are {}", KEYS.join(", ")),
        )),
    }
}

/// The bucket.
///
/// # Errors
/// A [`Fault`] with exit code 73 when it is not there.
pub async fn open(jetstream: &jetstream::Context) -> Result<Store, Fault> {
    jetstream.get_key_value(bucket::CONFIG).await.map_err(|error| {
        let message = format!("bucket {}: {error}; run `argosy topology apply`", bucket::CONFIG);
        Fault::new(Exit::TopologyMissing, message)
    })
}

/// Puts the documents where none are yet; says which.
///
/// # Errors
/// A document is wrong, or the broker refused.
pub async fn seed(
    jetstream: &jetstream::Context,
    documents: &Documents,
) -> anyhow::Result<Vec<&'static str>> {
    let store = open(jetstream).await?;
    let mut seeded = Vec::new();
    for key in KEYS {
        let text = documents.of(key);
        check(key, text.as_bytes())?;
        match store.create(key, text.to_owned().into()).await {
            Ok(_) => seeded.push(key),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("document {key}")),
        }
    }
    Ok(seeded)
}

/// Checks and sets a document; returns its revision.
///
/// # Errors
/// It is wrong (exit code 78), or the broker refused.
pub async fn set(jetstream: &jetstream::Context, key: &str, text: &[u8]) -> anyhow::Result<u64> {
    check(key, text)?;
    let store = open(jetstream).await?;
    store.put(key, text.to_vec().into()).await.with_context(|| format!("document {key}"))
}

/// A document's revision and text.
///
/// # Errors
/// It is not set, or the broker does not answer.
pub async fn get(jetstream: &jetstream::Context, key: &str) -> anyhow::Result<(u64, Vec<u8>)> {
    let store = open(jetstream).await?;
    let entry = store.entry(key).await.with_context(|| format!("document {key}"))?;
    match entry {
        Some(entry) if entry.operation == jetstream::kv::Operation::Put => {
            Ok((entry.revision, entry.value.to_vec()))
        }
        _ => bail!(Fault::new(
            Exit::TopologyMissing,
            format!("document {key} is not set: run `argosy topology apply`")
        )),
    }
}
