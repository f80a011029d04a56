//! Messages that lie in a queue and that its consumer will never deliver: everything up to their number is acknowledged
//! there, and they stay. A drill whose broker was killed again and again left one in JOBS (nats-server 2.15.1).
//!
//! Such a message is published again as it is, and then deleted. The router that gets the copy treats it like any second
//! delivery: it finds the job's tracks, or takes the job up. An assignment cannot be published again where it lies: its
//! subject holds one message. It becomes a failed attempt, `interrupted`, as one that is taken back.

use std::collections::BTreeSet;

use schemas::topology::stream;
use schemas::{Failure, FailureCode};

use crate::errors::StepError;
use crate::note::Note;
use crate::ports::{Record, StoredMessage};
use crate::router::ports::RouterPorts;
use crate::router::withdraw;

/// Orphans of one consumer that are seen in one look, at most.
const EACH_MAX: usize = 100;

/// The streams whose messages are looked at.
pub const STREAMS: [&str; 3] = [stream::JOBS, stream::WORK, stream::DEAD];

/// What was an orphan at the last look, by stream and sequence. A message must be one twice: an acknowledgement that is
/// on its way makes one for a moment.
#[derive(Debug, Default)]
pub struct Orphans(BTreeSet<(&'static str, u64)>);

impl Orphans {
    /// Looks at a stream: publishes again what was an orphan before, and remembers what is one now.
    ///
    /// # Errors
    /// The broker failed in between; the next look goes on.
    pub async fn look<P: RouterPorts>(&mut self, ports: &P, stream: &'static str) -> Result<(), StepError> {
        let mut now = BTreeSet::new();
        for (filter, passed) in ports.acknowledged_up_to(stream).await? {
            let mut from = 1;
            for _ in 0..EACH_MAX {
                let Some(orphan) = ports.next_message(stream, &filter, from).await? else { break };
                if orphan.sequence > passed {
                    break;
                }
                from = orphan.sequence + 1;
                if !self.0.contains(&(stream, orphan.sequence)) {
                    now.insert((stream, orphan.sequence));
                    continue;
                }
                self.mend(ports, stream, orphan).await?;
            }
        }
        self.0.retain(|(of, _)| *of != stream);
        self.0.extend(now);
        Ok(())
    }

    async fn mend<P: RouterPorts>(
        &self,
        ports: &P,
        stream: &'static str,
        orphan: StoredMessage,
    ) -> Result<(), StepError> {
        let sequence = orphan.sequence;
        tracing::warn!(
            stream,
            sequence,
            subject = orphan.subject,
            "no consumer delivers this message: sent on its way"
        );
        ports.note(Note::Orphan { stream });
        if stream == stream::WORK {
            let failure = Failure::new(FailureCode::Interrupted, "the broker delivered it to no worker");
            return withdraw::undeliverable(ports, sequence, failure).await;
        }
        // Several routers may see it: under this id the broker stores it once. It is not the job's id, so intake does not
        // take the copy for the first of its id, and looks for tracks.
        let id = format!("{stream}.{sequence}.again");
        ports.store(Record::Copy { id: &id, message: &orphan }).await?;
        ports.delete(stream, sequence).await?;
        Ok(())
    }
}
