//! The artifact store as a target: it fills, and is made larger again.

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::stream::{DiscardPolicy, Stream};
use schemas::topology::bucket;
use std::time::Duration;

/// A filled store takes so many bytes more: a few small pictures.
const ROOM_BYTES: u64 = 16 * 1024;
/// From a change that the broker did not make to the next try: it may be down, stopped or without a leader.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The artifact store of a drill.
#[derive(Debug)]
pub struct ArtifactStore {
    jetstream: jetstream::Context,
    /// The limit that it had before the drill.
    max_bytes: i64,
}

impl ArtifactStore {
    /// The store as it is, which is how it is left.
    ///
    /// # Errors
    /// It is not there, or would throw away files to stay within its limit.
    pub async fn of(jetstream: &jetstream::Context) -> anyhow::Result<Self> {
        let config = stream(jetstream).await?.cached_info().config.clone();
        anyhow::ensure!(
            config.discard == DiscardPolicy::New,
            "the artifact store discards old files when it is full: make it refuse new ones (discard: new)"
        );
        Ok(Self { jetstream: jetstream.clone(), max_bytes: config.max_bytes })
    }

    /// Lowers the limit to little more than is held. Tries until the broker did it. Nothing is lost: the store refuses
    /// what is new, and discards nothing.
    pub async fn fill(&self) {
        while self.limit(|held_bytes| full_max_bytes(held_bytes, self.max_bytes)).await.is_err() {
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    /// Raises the limit to what it was before the drill. Tries until the broker did it.
    pub async fn enlarge(&self) {
        while self.limit(|_| self.max_bytes).await.is_err() {
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    /// Raises the limit to what it was before the drill, and tries for no longer than `within`.
    ///
    /// # Errors
    /// The broker did not do it in time.
    pub async fn enlarge_within(&self, within: Duration) -> anyhow::Result<()> {
        let enlarged = tokio::time::timeout(within, self.enlarge()).await;
        enlarged.with_context(|| format!("the artifact store was not made larger within {within:?}"))
    }

    /// Sets the limit by the bytes that are held.
    async fn limit(&self, of_held: impl Fn(u64) -> i64) -> anyhow::Result<()> {
        let stream = stream(&self.jetstream).await?;
        let info = stream.cached_info();
        let mut config = info.config.clone();
        config.max_bytes = of_held(info.state.bytes);
        self.jetstream.update_stream(config).await.context("the limit of the artifact store")?;
        Ok(())
    }
}

async fn stream(jetstream: &jetstream::Context) -> anyhow::Result<Stream> {
    jetstream.get_stream(format!("OBJ_{}", bucket::ARTIFACTS)).await.context("the artifact store")
}

/// The limit of a store that is full soon: above what it holds, and not above its own limit, where it has one.
fn full_max_bytes(held_bytes: u64, max_bytes: i64) -> i64 {
    let full = i64::try_from(held_bytes.saturating_add(ROOM_BYTES)).unwrap_or(i64::MAX);
    if max_bytes > 0 { full.min(max_bytes) } else { full }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_store_has_room_for_what_it_holds_and_little_more() {
        assert_eq!(full_max_bytes(0, 1 << 32), 16_384);
        assert_eq!(full_max_bytes(1_000_000, 1 << 32), 1_016_384);
        assert_eq!(full_max_bytes(1_000_000, -1), 1_016_384, "a store without a limit");
        assert_eq!(full_max_bytes(1_000_000, 1_000_100), 1_000_100, "never above its own");
        assert_eq!(full_max_bytes(u64::MAX, 0), i64::MAX);
    }
}
