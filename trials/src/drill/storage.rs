//! What the broker keeps, as a target: the artifact store, a bucket or a stream fills, and is made larger again.

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::stream::DiscardPolicy;
use schemas::topology::stream;
use std::time::Duration;

/// What is filled: its name in the history, and its stream. The artifact store first, whose turn comes most often.
const FILLED: [(&str, &str); 7] = [
    ("artifact-store", "OBJ_ARTIFACTS"),
    ("attempts", "KV_ATTEMPTS"),
    ("cancels", "KV_CANCELS"),
    ("dead", stream::DEAD),
    ("events", stream::EVENTS),
    ("parked", stream::PARKED),
    ("work", stream::WORK),
];

/// What is full takes so many bytes more: a few small pictures, or some dozens of messages.
const ROOM_BYTES: u64 = 16 * 1024;
/// From a change that the broker did not make to the next try: it may be down, stopped or without a leader.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Something in which the broker keeps a drill's bytes.
#[derive(Debug)]
pub struct Storage {
    jetstream: jetstream::Context,
    /// Its name in the history.
    name: &'static str,
    stream: &'static str,
    /// The limit that it had before the drill.
    max_bytes: i64,
}

impl Storage {
    /// All that is filled, as it is, which is how it is left.
    ///
    /// # Errors
    /// One is not there, or would throw away what is old to stay within its limit.
    pub async fn all(jetstream: &jetstream::Context) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        for (name, stream) in FILLED {
            let config = jetstream.get_stream(stream).await.context(stream)?.cached_info().config.clone();
            anyhow::ensure!(
                config.discard == DiscardPolicy::New,
                "{stream} discards what is old when it is full: make it refuse what is new (discard: new)"
            );
            all.push(Self { jetstream: jetstream.clone(), name, stream, max_bytes: config.max_bytes });
        }
        Ok(all)
    }

    /// The stream behind it.
    #[must_use]
    pub const fn stream(&self) -> &'static str {
        self.stream
    }

    /// What it is called in the history.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Lowers the limit to little more than is held. Tries until the broker did it. Nothing is lost: what is
    /// new is refused, and nothing is discarded.
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
        enlarged.with_context(|| format!("{} was not made larger within {within:?}", self.stream))
    }

    /// Sets the limit by the bytes that are held.
    async fn limit(&self, of_held: impl Fn(u64) -> i64) -> anyhow::Result<()> {
        let stream = self.jetstream.get_stream(self.stream).await.context(self.stream)?;
        let info = stream.cached_info();
        let mut config = info.config.clone();
        config.max_bytes = of_held(info.state.bytes);
        self.jetstream
            .update_stream(config)
            .await
            .with_context(|| format!("the limit of {}", self.stream))?;
        Ok(())
    }
}

/// The limit of what is full soon: above what it holds, and not above its own limit, where it has one.
fn full_max_bytes(held_bytes: u64, max_bytes: i64) -> i64 {
    let full = i64::try_from(held_bytes.saturating_add(ROOM_BYTES)).unwrap_or(i64::MAX);
    if max_bytes > 0 { full.min(max_bytes) } else { full }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_has_room_for_what_it_holds_and_little_more() {
        assert_eq!(full_max_bytes(0, 1 << 32), 16_384);
        assert_eq!(full_max_bytes(1_000_000, 1 << 32), 1_016_384);
        assert_eq!(full_max_bytes(1_000_000, -1), 1_016_384, "no limit of its own");
        assert_eq!(full_max_bytes(1_000_000, 1_000_100), 1_000_100, "never above its own");
        assert_eq!(full_max_bytes(u64::MAX, 0), i64::MAX);
    }
}
