//! All events, each once and in order, whatever happens to the broker meanwhile.

use crate::follow::{self, Since, Stored};
use async_nats::jetstream;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::time::Duration;

/// A feed that is silent for so long is opened again: the broker may have forgotten it.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// A broker that is away is asked again after this.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// The events.
pub(super) struct Feed {
    jetstream: jetstream::Context,
    open: Option<BoxStream<'static, anyhow::Result<Stored>>>,
    next: u64,
}

impl Feed {
    /// From the first event on.
    pub(super) const fn of(jetstream: jetstream::Context) -> Self {
        Self { jetstream, open: None, next: 1 }
    }

    /// The number of the next event.
    pub(super) const fn position(&self) -> u64 {
        self.next
    }

    /// The next event; waits for it for ever.
    pub(super) async fn next(&mut self) -> Stored {
        loop {
            match &mut self.open {
                None => match follow::stored(&self.jetstream, &[], Since::Sequence(self.next)).await {
                    Ok(events) => self.open = Some(events.boxed()),
                    Err(error) => {
                        tracing::debug!(error = format!("{error:#}"), "following events again");
                        tokio::time::sleep(REOPEN_AFTER).await;
                    }
                },
                Some(events) => match tokio::time::timeout(SILENT_FOR, events.next()).await {
                    Ok(Some(Ok(stored))) if stored.sequence >= self.next => {
                        self.next = stored.sequence + 1;
                        return stored;
                    }
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(_)) | None) | Err(_) => self.open = None,
                },
            }
        }
    }
}
