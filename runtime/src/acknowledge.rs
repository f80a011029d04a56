//! Acknowledgements of what is taken from a work queue, each a moment late: the newest is kept until a newer one
//! comes, and for some milliseconds at most.
//!
//! nats-server deletes a queue's file and begins another whenever the last message of it is acknowledged. In a fleet
//! that keeps up that is once for each message, and on ext4 the new file took half of the broker's time at 1,000
//! jobs a second (docs/log/2026-11-28-what-paid.md). With the newest message still there the queue never runs empty.
//!
//! A kept word that is lost (a process that is killed) is a repeat like any other: what it acknowledges is done.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{Client, Subject};
use tokio::sync::Notify;

use crate::loops::Loops;

/// How long the newest is kept at least; at most twice as long. Short beside what anybody sees of a queue: the
/// backlog is asked for every few hundred milliseconds.
const KEPT_FOR: Duration = Duration::from_millis(20);

/// The loop that sends what was kept for long enough.
const KEEPER: &str = "keeper of acknowledgements";

/// Acknowledges deliveries of one stream. Clones share what is kept.
#[derive(Debug, Clone)]
pub struct Acknowledger {
    client: Client,
    kept: Arc<Kept>,
    /// They run for as long as something acknowledges.
    _loops: Loops,
}

#[derive(Debug, Default)]
struct Kept {
    newest: Mutex<Option<Newest>>,
    begun: Notify,
}

#[derive(Debug)]
struct Newest {
    sequence: u64,
    reply: Subject,
}

impl Kept {
    /// Takes one in; the reply subject of the one that is to be acknowledged now.
    fn exchange(&self, arrived: Newest) -> Option<Subject> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match newest.take() {
            None => {
                *newest = Some(arrived);
                self.begun.notify_one();
                None
            }
            Some(kept) if kept.sequence > arrived.sequence => {
                *newest = Some(kept);
                Some(arrived.reply)
            }
            Some(kept) => {
                *newest = Some(arrived);
                Some(kept.reply)
            }
        }
    }

    /// The newest, and who it is: taken if it is still the one that was seen before.
    fn look(&self, seen: Option<u64>) -> Look {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match newest.take() {
            None => Look::Nothing,
            Some(kept) if seen == Some(kept.sequence) => Look::Due(kept.reply),
            Some(kept) => {
                let sequence = kept.sequence;
                *newest = Some(kept);
                Look::Young(sequence)
            }
        }
    }
}

#[derive(Debug)]
enum Look {
    Nothing,
    Young(u64),
    Due(Subject),
}

impl Acknowledger {
    pub(crate) fn open(client: Client, loops: &Loops) -> Self {
        let kept = Arc::new(Kept::default());
        loops.run(KEEPER, keep(client.clone(), Arc::clone(&kept)));
        Self { client, kept, _loops: loops.clone() }
    }

    /// Acknowledges the delivery of a stream's message by its sequence and reply subject. No confirmation is awaited.
    pub async fn acknowledge(&self, sequence: u64, reply: Subject) {
        if let Some(reply) = self.kept.exchange(Newest { sequence, reply }) {
            say(&self.client, reply).await;
        }
    }

    /// Acknowledges what is still kept: before the process ends.
    pub async fn finish(&self) {
        let kept = self.kept.newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Newest { reply, .. }) = kept {
            say(&self.client, reply).await;
        }
    }
}

async fn keep(client: Client, kept: Arc<Kept>) {
    loop {
        kept.begun.notified().await;
        let mut seen = None;
        loop {
            tokio::time::sleep(KEPT_FOR).await;
            match kept.look(seen) {
                Look::Young(sequence) => seen = Some(sequence),
                Look::Due(reply) => {
                    say(&client, reply).await;
                    break;
                }
                Look::Nothing => break,
            }
        }
    }
}

async fn say(client: &Client, reply: Subject) {
    if let Err(error) = client.publish(reply, AckKind::Ack.into()).await {
        tracing::debug!(%error, "acknowledging; the broker delivers it again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(sequence: u64) -> Newest {
        Newest { sequence, reply: sequence.to_string().into() }
    }

    #[test]
    fn the_newest_is_kept_whatever_the_order() {
        let kept = Kept::default();
        let told: Vec<Option<String>> = [2, 1, 5, 3, 6]
            .into_iter()
            .map(|sequence| kept.exchange(newest(sequence)).map(|reply| reply.to_string()))
            .collect();
        let expected = [None, Some("1"), Some("2"), Some("3"), Some("5")];
        assert_eq!(told, expected.map(|reply| reply.map(str::to_owned)));
        assert!(matches!(kept.look(None), Look::Young(6)));
        assert!(matches!(kept.look(Some(5)), Look::Young(6)));
        assert!(matches!(kept.look(Some(6)), Look::Due(reply) if reply.as_str() == "6"));
        assert!(matches!(kept.look(Some(6)), Look::Nothing));
    }
}
