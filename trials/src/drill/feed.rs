//! All events, each once and in order, whatever happens to the broker meanwhile.

use async_nats::jetstream;
use client::follow::{self, Since, Stored};
use futures::StreamExt as _;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A subscription that is silent for so long is opened again: the broker may have forgotten it.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// A broker that is away is asked again after this.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// Events read ahead.
const AHEAD: usize = 1_000;

/// The events.
pub(super) struct Feed {
    stored: mpsc::Receiver<Stored>,
    next: u64,
    _task: JoinSet<()>,
}

impl Feed {
    /// From the first event on.
    pub(super) fn of(jetstream: jetstream::Context) -> Self {
        let (sender, stored) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        task.spawn(read(jetstream, sender));
        Self { stored, next: 1, _task: task }
    }

    /// The number of the next event.
    pub(super) const fn position(&self) -> u64 {
        self.next
    }

    /// The next event; waits for it for ever.
    pub(super) async fn next(&mut self) -> Stored {
        match self.stored.recv().await {
            Some(stored) => {
                self.next = stored.sequence + 1;
                stored
            }
            // The reader ends only with the feed.
            None => std::future::pending().await,
        }
    }
}

async fn read(jetstream: jetstream::Context, sender: mpsc::Sender<Stored>) {
    let mut next = 1;
    loop {
        match follow::stored(&jetstream, &[], Since::Sequence(next)).await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Ok(Some(Ok(stored))) = tokio::time::timeout(SILENT_FOR, events.next()).await {
                    if stored.sequence < next {
                        continue;
                    }
                    next = stored.sequence + 1;
                    if sender.send(stored).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "following events again");
                tokio::time::sleep(REOPEN_AFTER).await;
            }
        }
    }
}
