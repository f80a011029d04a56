//! The fleet's configuration as every process sees it: the four documents of the `CONFIG` bucket,
//! watched, so that a change holds everywhere within moments and without a restart.
//!
//! Every process checks what it reads, whoever stored it: it uses the newest revision of a document that is good, and
//! says which newer one it refuses (log, gauge `argosy_config_refused`, `argosy doctor`). One that starts does the
//! same, so a restart changes nothing; where no stored revision is good it does not start. While a newer one is refused
//! the process starts nothing new that is paid ([`FleetConfig::unreadable`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::StreamExt;
pub use policy::validate::KEYS;
use policy::validate::{self, Document, Refused};
pub use protocol::FleetConfig;
use protocol::PortError;
use schemas::topology::bucket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Fault};
use crate::require::require;
use crate::topology::open_bucket;
use crate::trouble::Trouble;
use crate::{metrics, telemetry};

/// How long reading the earlier revisions of a document may take.
const HISTORY_LIMIT: Duration = Duration::from_secs(10);

/// Reads all four documents once.
///
/// # Errors
/// [`Exit::TopologyMissing`] when bucket or document is not there, [`Exit::Config`] when no stored revision of one is
/// good.
pub async fn load(jetstream: &jetstream::Context) -> Result<FleetConfig, Fault> {
    let store = open_bucket(jetstream, bucket::CONFIG).await?;
    let (policy, catalog) = (document(&store).await?, document(&store).await?);
    let (prices, tenants) = (document(&store).await?, document(&store).await?);
    let mut config = FleetConfig {
        policy: policy.used,
        catalog: catalog.used,
        prices: prices.used,
        tenants: tenants.used,
        unreadable: Vec::new(),
    };
    let newest = [policy.is_newest, catalog.is_newest, prices.is_newest, tenants.is_newest];
    for (key, is_newest) in KEYS.into_iter().zip(newest) {
        config.mark(key, is_newest);
    }
    Ok(config)
}

/// A document as a process reads it first.
struct Loaded<T> {
    used: Arc<T>,
    /// It is the newest revision, and none is refused.
    is_newest: bool,
}

/// Follows changes until stopped. A document that is not good is reported, and the newest good one stays.
///
/// # Errors
/// Never while the broker lives or comes back.
pub async fn follow(
    jetstream: jetstream::Context,
    current: watch::Sender<FleetConfig>,
    stop: CancellationToken,
) -> Result<(), Fault> {
    let mut reported = Reported::default();
    let mut trouble = Trouble::new("following the configuration");
    loop {
        let wait = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = follow_once(&jetstream, &current, &mut reported) => match ended {
                Ok(()) => trouble.failed(&"the watch closed"),
                Err(fault) => trouble.failed(&fault),
            },
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The refused revision of each document that was reported: a watch that is opened again brings it again.
type Reported = BTreeMap<String, u64>;

async fn follow_once(
    jetstream: &jetstream::Context,
    current: &watch::Sender<FleetConfig>,
    reported: &mut Reported,
) -> Result<(), Fault> {
    let store = open_bucket(jetstream, bucket::CONFIG).await?;
    let watching = store.watch_with_history(">").await;
    let mut changes = watching.map_err(|error| missing(&telemetry::chain(&error)))?;
    while let Some(entry) = changes.next().await {
        let entry = entry.map_err(|error| missing(&telemetry::chain(&error)))?;
        if entry.operation != kv::Operation::Put {
            if let Some(key) = KEYS.into_iter().find(|key| *key == entry.key) {
                tracing::error!(
                    document = key,
                    "the document was removed from bucket CONFIG: it stays in force here, and nothing new is paid"
                );
                mark(current, key, false);
            }
            continue;
        }
        match entry.key.as_str() {
            "policy" => take(&store, &entry, reported, current, |all| &mut all.policy).await,
            "catalog" => take(&store, &entry, reported, current, |all| &mut all.catalog).await,
            "prices" => take(&store, &entry, reported, current, |all| &mut all.prices).await,
            "tenants" => take(&store, &entry, reported, current, |all| &mut all.tenants).await,
            _ => {}
        }
    }
    Ok(())
}

/// Puts a document in its place; those who watch are woken by what is new only.
fn set<T: PartialEq>(
    current: &watch::Sender<FleetConfig>,
    place: impl Fn(&mut FleetConfig) -> &mut Arc<T>,
    new: T,
) {
    current.send_if_modified(|all| {
        let place = place(all);
        let changes = **place != new;
        if changes {
            *place = Arc::new(new);
        }
        changes
    });
}

/// Takes note of whether the newest revision of a document can be read.
fn mark(current: &watch::Sender<FleetConfig>, document: &'static str, is_readable: bool) {
    current.send_if_modified(|all| all.mark(document, is_readable));
}

/// Takes a new revision of a document, or the newest good one in its stead.
async fn take<T: Document + PartialEq>(
    store: &kv::Store,
    entry: &kv::Entry,
    reported: &mut Reported,
    current: &watch::Sender<FleetConfig>,
    place: impl Fn(&mut FleetConfig) -> &mut Arc<T>,
) {
    match validate::read(&entry.value) {
        Ok(document) => {
            tracing::debug!(document = entry.key, revision = entry.revision, "configuration taken");
            reported.remove(&entry.key);
            metrics::CONFIG_REFUSED.of([T::KEY.into()]).set(0.0);
            set(current, place, document);
            mark(current, T::KEY, true);
        }
        Err(refused) => {
            if reported.insert(entry.key.clone(), entry.revision) != Some(entry.revision) {
                report::<T>(&refused, entry.revision);
            }
            mark(current, T::KEY, false);
            // Between two looks there may have been a good one that the others took.
            match newest_good::<T>(store).await {
                Ok(Some((_, document))) => set(current, place, document),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(document = entry.key, %error, "reading earlier revisions");
                }
            }
        }
    }
}

fn report<T: Document>(refused: &Refused, revision: u64) {
    metrics::CONFIG_REFUSED.of([T::KEY.into()]).set(1.0);
    let cure = cure::<T>();
    tracing::error!(document = T::KEY, error = %refused, revision, cure, "configuration refused: the newest good one stays, and nothing new is paid");
}

fn cure<T: Document>() -> String {
    format!("mend it and set it with `argosy config set {} FILE`", T::KEY)
}

async fn document<T: Document>(store: &kv::Store) -> Result<Loaded<T>, Fault> {
    let entry = require(&format!("bucket {}", bucket::CONFIG), || store.entry(T::KEY)).await?;
    let entry = entry.filter(|entry| entry.operation == kv::Operation::Put);
    let entry = entry.ok_or_else(|| missing(&format!("key {} is not set", T::KEY)))?;
    let refused = match validate::read(&entry.value) {
        Ok(document) => return Ok(Loaded { used: Arc::new(document), is_newest: true }),
        Err(refused) => refused,
    };
    match newest_good(store).await {
        Ok(Some((used, document))) => {
            report::<T>(&refused, entry.revision);
            tracing::error!(document = T::KEY, revision = used, "starting with an earlier revision");
            Ok(Loaded { used: Arc::new(document), is_newest: false })
        }
        Ok(None) => {
            let (bucket, cure) = (bucket::CONFIG, cure::<T>());
            let message = format!("bucket {bucket}: {refused}; no earlier revision is good either: {cure}");
            Err(Fault::new(Exit::Config, message))
        }
        Err(error) => Err(Fault::new(Exit::BrokerAbsent, error.to_string())),
    }
}

/// The newest revision of a document that is good, with its number.
///
/// # Errors
/// The broker did not answer in time.
pub async fn newest_good<T: Document>(store: &kv::Store) -> Result<Option<(u64, T)>, PortError> {
    fn away(error: impl Into<protocol::errors::Source>) -> PortError {
        PortError::Away { what: "bucket CONFIG", source: error.into() }
    }
    let reading = async {
        let mut revisions = store.history(T::KEY).await.map_err(away)?;
        let mut newest = None;
        while let Some(entry) = revisions.next().await {
            let entry = entry.map_err(away)?;
            if entry.operation != kv::Operation::Put {
                continue;
            }
            if let Ok(document) = validate::read(&entry.value) {
                newest = Some((entry.revision, document));
            }
        }
        Ok(newest)
    };
    let read = tokio::time::timeout(HISTORY_LIMIT, reading).await;
    read.unwrap_or_else(|_| Err(away(format!("within {} s", HISTORY_LIMIT.as_secs()))))
}

fn missing(reason: &str) -> Fault {
    let message = format!("bucket {}: {reason}; run `argosy topology apply`", bucket::CONFIG);
    Fault::new(Exit::TopologyMissing, message)
}
