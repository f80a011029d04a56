//! The four configuration documents: read, checked, set, and seeded where they are missing.

use anyhow::{Context as _, bail};
use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use async_nats::jetstream::{self};
use policy::validate::{self, Document, KEYS};
use runtime::exit::{Exit, Fault};
use schemas::topology::bucket;
use schemas::{PaidConsent, TenantsConfig, codec};
use serde_json::{Value, json};

/// How often a change is made anew because somebody else was faster.
const CHANGE_TRIES: u32 = 5;

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
    /// For simulated providers ([`Self::simulated`]), with waits and expected durations in proportion to simulated providers that are faster
    /// than life. Unscaled, a queue that takes the simulated GPUs seconds would look like nothing beside a
    /// patience of a minute, and nothing would ever overflow.
    ///
    /// # Errors
    /// Never: the shipped documents are JSON, by test.
    pub fn paced(time_scale: f64) -> anyhow::Result<Self> {
        let shipped = Self::simulated();
        let mut policy: Value = serde_json::from_str(&shipped.policy).context("the shipped policy")?;
        scale(&mut policy["patience_ms"], time_scale);
        for (key, value) in [
            ("breaker_open_ms", 3_000),
            ("defer_ms", 300),
            ("backoff_min_ms", 200),
            ("backoff_max_ms", 3_000),
            ("stranded_after_ms", 5_000),
        ] {
            policy[key] = json!(value);
        }
        let mut catalog: Value = serde_json::from_str(&shipped.catalog).context("the shipped catalog")?;
        for service in catalog["services"].as_array_mut().into_iter().flatten() {
            scale(&mut service["startup_ms"], time_scale);
            scale(&mut service["expected_ms"], time_scale);
        }
        Ok(Self { policy: policy.to_string(), catalog: catalog.to_string(), ..shipped })
    }

    /// As shipped, but that paid backends may be used by jobs that ask for them: for simulated providers, whose money is
    /// none.
    #[must_use]
    pub fn simulated() -> Self {
        let tenants = json!({ "default": { "allow_paid": PaidConsent::WhenAsked } }).to_string();
        Self { tenants, ..Self::default() }
    }

    fn of(&self, key: &str) -> &str {
        match key {
            "policy" => &self.policy,
            "catalog" => &self.catalog,
            "prices" => &self.prices,
            _ => &self.tenants,
        }
    }
}

/// A duration in the providers' time, milliseconds.
fn scale(duration_ms: &mut Value, time_scale: f64) {
    if let Some(ms) = duration_ms.as_f64() {
        *duration_ms = json!((ms * time_scale).ceil() as u64);
    }
}

/// Checks a document as its readers do, and that it says nothing that they would not believe.
///
/// # Errors
/// A [`Fault`] with exit code 78 that names the field.
pub fn check(key: &str, text: &[u8]) -> Result<(), Fault> {
    validate::check(key, text).map_err(|refused| Fault::new(Exit::Config, refused.to_string()))
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

/// Puts all documents, whatever is stored.
///
/// # Errors
/// A document is wrong, or the broker refused.
pub async fn replace(jetstream: &jetstream::Context, documents: &Documents) -> anyhow::Result<()> {
    for key in KEYS {
        set(jetstream, key, documents.of(key).as_bytes()).await?;
    }
    Ok(())
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

/// The document `tenants` and its revision.
///
/// # Errors
/// It is not set, cannot be read, or the broker does not answer.
pub async fn tenants(jetstream: &jetstream::Context) -> anyhow::Result<(u64, TenantsConfig)> {
    let (revision, text) = get(jetstream, "tenants").await?;
    let document = codec::decode(None, &text).map_err(|error| {
        Fault::new(
            Exit::Config,
            format!("document tenants: {error}; mend it with `argosy config set tenants`"),
        )
    })?;
    Ok((revision, document))
}

/// Changes the document `tenants` as it is now, whoever else changes it meanwhile; what it is then.
///
/// # Errors
/// The change is refused, what comes of it is wrong (exit code 78), or the broker refused.
pub async fn change_tenants<E: std::error::Error + Send + Sync + 'static>(
    jetstream: &jetstream::Context,
    change: impl Fn(&mut TenantsConfig) -> Result<(), E>,
) -> anyhow::Result<(u64, TenantsConfig)> {
    let store = open(jetstream).await?;
    for _ in 0..CHANGE_TRIES {
        let (revision, mut document) = tenants(jetstream).await?;
        change(&mut document)?;
        let text = serde_json::to_vec_pretty(&document).context("document tenants")?;
        check("tenants", &text)?;
        match store.update("tenants", text.clone().into(), revision).await {
            Ok(revision) => return Ok((revision, document)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
            Err(error) => {
                // Only the answer may have been lost: what is there then is what was written.
                if let Ok((now, there)) = get(jetstream, "tenants").await
                    && now > revision
                    && there == text
                {
                    return Ok((now, document));
                }
                return Err(error).context("document tenants");
            }
        }
    }
    bail!("document tenants: others changed it {CHANGE_TRIES} times meanwhile; try again")
}

/// A document as it is stored.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    /// The newest revision.
    pub revision: u64,
    /// Its text.
    pub text: Vec<u8>,
    /// The newest revision that is good, which every process uses, and the document; none when no stored one is.
    pub used: Option<(u64, T)>,
}

/// Reads a document as its readers do.
///
/// # Errors
/// It is not set, or the broker does not answer.
pub async fn stored<T: Document>(jetstream: &jetstream::Context) -> anyhow::Result<Stored<T>> {
    let (revision, text) = get(jetstream, T::KEY).await?;
    let used = match validate::read(&text) {
        Ok(document) => Some((revision, document)),
        Err(_) => {
            let good = runtime::fleet_config::newest_good(&open(jetstream).await?).await;
            good.with_context(|| format!("document {}", T::KEY))?
        }
    };
    Ok(Stored { revision, text, used })
}
