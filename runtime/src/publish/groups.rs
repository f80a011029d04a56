//! Writes in groups, for a broker that syncs each: what is published while a group is on its way makes up the
//! next one. A group is an atomic batch (nats-server's ADR-50) and costs one sync; whatever the broker objects to
//! in a group is found by publishing its messages one by one.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use tokio::sync::{mpsc, oneshot};

use super::acks::{Answer, Awaited, Unanswered};
use super::message::Message;
use super::wire::Wire;
use crate::loops::Loops;

/// The most messages of a group: the broker takes no more in one batch.
const GROUP_MAX: usize = 1_000;

/// The most bytes of a group's payloads: the broker holds them in memory until the last has come.
const GROUP_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Messages that may wait for the next group; then publishing waits.
const WAITING_MAX: usize = 4_096;

/// What is written in groups; a group is of one stream.
const STREAMS: [&str; 4] = ["argosy.jobs.", "argosy.work.", "argosy.dead.", "argosy.events."];

/// The loop that writes the groups of one stream.
pub(super) const WRITER: &str = "writer of groups";

/// One queue for each stream, each with a task that empties it.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    queues: Arc<[mpsc::Sender<Waiting>]>,
}

struct Waiting {
    message: Message,
    tell: oneshot::Sender<Result<Answer, Unanswered>>,
}

impl Groups {
    pub(super) fn open(wire: &Wire, loops: &Loops) -> Self {
        let queues = STREAMS.iter().map(|_| {
            let (queue, waiting) = mpsc::channel(WAITING_MAX);
            loops.run(WRITER, write(wire.clone(), waiting));
            queue
        });
        Self { queues: queues.collect() }
    }

    /// Puts a message into the next group of its stream; none for one that is not written in groups.
    pub(super) async fn join(
        &self,
        message: &Message,
    ) -> Option<oneshot::Receiver<Result<Answer, Unanswered>>> {
        let stream = STREAMS.iter().position(|prefix| message.subject.starts_with(prefix))?;
        let (tell, told) = oneshot::channel();
        // It fails only when the writer is gone, and then `told` says that nobody answers.
        let _ = self.queues[stream].send(Waiting { message: message.clone(), tell }).await;
        Some(told)
    }
}

async fn write(wire: Wire, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(first) = waiting.recv().await {
        let mut bytes = first.message.payload.len();
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && bytes < GROUP_MAX_BYTES
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.message.payload.len();
            group.push(next);
        }
        if group.len() > 1 && matches!(together(&wire, &group).await, Some(Answer::Stored)) {
            for Waiting { tell, .. } in group {
                let _ = tell.send(Ok(Answer::Stored));
            }
        } else {
            one_by_one(&wire, group).await;
        }
    }
}

/// The group as a batch; nothing of it is stored unless the answer is that all is.
async fn together(wire: &Wire, group: &[Waiting]) -> Option<Answer> {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let (last, others) = group.split_last()?;
    for (index, one) in others.iter().enumerate() {
        wire.tell(&one.message, headers(&one.message, &id, index + 1)).await.ok()?;
    }
    let mut committing = headers(&last.message, &id, group.len());
    committing.insert(NATS_BATCH_COMMIT, "1");
    wire.ask(&last.message, committing).await.ok()?.answer().await.ok()
}

fn headers(message: &Message, id: &str, sequence: usize) -> HeaderMap {
    let mut headers = message.headers();
    headers.insert(NATS_BATCH_ID, id);
    headers.insert(NATS_BATCH_SEQUENCE, sequence.to_string().as_str());
    headers
}

/// Each message for itself, all on their way at once.
async fn one_by_one(wire: &Wire, group: Vec<Waiting>) {
    let mut sent = Vec::with_capacity(group.len());
    for Waiting { message, tell } in group {
        sent.push((wire.ask(&message, message.headers()).await, tell));
    }
    for (awaited, tell) in sent {
        let answer = match awaited {
            Ok(awaited) => Awaited::answer(awaited).await,
            Err(unanswered) => Err(unanswered),
        };
        let _ = tell.send(answer);
    }
}
