//! What keeps providers out, and a person's word that it is over: bucket `BREAKERS`.

use anyhow::{Context as _, bail};
use async_nats::jetstream::{self, kv};
use futures::StreamExt as _;
use schemas::breaker::{BreakerKind, BreakerRecord};
use schemas::topology::bucket;
use schemas::{Backend, codec};

/// How often a breaker is closed anew because a router wrote in between.
const TRIES: u32 = 5;

async fn open(jetstream: &jetstream::Context) -> anyhow::Result<kv::Store> {
    let store = jetstream.get_key_value(bucket::BREAKERS).await;
    store.context("bucket BREAKERS: run `argosy topology apply`")
}

/// All breakers that were ever written, by key, each with its revision.
///
/// # Errors
/// The bucket is not there, or the broker does not answer.
pub async fn list(jetstream: &jetstream::Context) -> anyhow::Result<Vec<(BreakerRecord, u64)>> {
    let store = open(jetstream).await?;
    let mut keys = store.keys().await.context("reading bucket BREAKERS")?;
    let mut all = Vec::new();
    while let Some(key) = keys.next().await {
        let entry =
            store.entry(key.context("reading bucket BREAKERS")?).await.context("reading bucket BREAKERS")?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else { continue };
        // What a newer version wrote may not be readable here.
        if let Ok(record) = codec::decode::<BreakerRecord>(None, &entry.value) {
            all.push((record, entry.revision));
        }
    }
    all.sort_by_key(|(record, _)| record.key());
    Ok(all)
}

/// Who closes which breakers, and why.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Of which backend.
    pub backend: Backend,
    /// Of this model only; of all of them when absent.
    pub model: Option<String>,
    /// The person.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, Unix milliseconds.
    pub time_ms: i64,
}

/// Closes the breakers of a backend that are open or half open; which. Where none is, the word is written all the same,
/// for the workers that hold the breakers of servers of our own.
///
/// # Errors
/// The broker does not answer, or routers write faster than this.
pub async fn reset(jetstream: &jetstream::Context, reset: &Reset) -> anyhow::Result<Vec<BreakerRecord>> {
    let store = open(jetstream).await?;
    let closed = |kind, model| BreakerRecord {
        why: Some(reset.why.clone()),
        ..BreakerRecord::closed(reset.backend.clone(), kind, model, reset.by.clone(), reset.time_ms)
    };
    let mut done = Vec::new();
    for (record, revision) in list(jetstream).await? {
        let is_meant = reset.model.is_none() || record.model == reset.model;
        if record.backend == reset.backend && is_meant && record.open_until_ms.is_some() {
            let closed = closed(record.kind, record.model);
            write(&store, &closed, Some(revision)).await?;
            done.push(closed);
        }
    }
    if done.is_empty() {
        write(&store, &closed(BreakerKind::Failing, reset.model.clone()), None).await?;
    }
    Ok(done)
}

async fn write(store: &kv::Store, record: &BreakerRecord, revision: Option<u64>) -> anyhow::Result<()> {
    let (key, value) = (record.key(), codec::encode(record));
    let (mut revision, mut lost) = (revision, None);
    for _ in 0..TRIES {
        let known = match revision.take() {
            Some(revision) => revision,
            None => {
                let entry = store.entry(&key).await.context("reading bucket BREAKERS")?;
                // It says who closed it and when: it is this record, and only the broker's answer was lost.
                if entry.as_ref().is_some_and(|entry| entry.value == value) {
                    return Ok(());
                }
                entry.map_or(0, |entry| entry.revision)
            }
        };
        match store.update(&key, value.clone().into(), known).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {}
            Err(error) => lost = Some(error),
        }
    }
    match lost {
        Some(error) => Err(error).context("writing bucket BREAKERS"),
        None => bail!("{key}: routers write faster than this; try again"),
    }
}
