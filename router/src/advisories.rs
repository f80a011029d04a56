//! Messages that the broker gave up on: after the last delivery it says so once, and keeps the message, undelivered, for
//! ever. Such an assignment killed its workers: it becomes a failed attempt, `poison`.
//!
//! Workers count deliveries themselves and give up much sooner; this is the net below them.

use std::time::Duration;

use protocol::router::{RouterPorts as _, withdraw};
use protocol::{Answer, Ports as _};
use runtime::exit::Fault;
use schemas::topology::{self, stream};
use serde::Deserialize;

use crate::message::QueueMessage;
use crate::shared::Router;
use crate::source::{BYTES_MAX, Source};

/// Advisories in hand at once.
const IN_HAND: usize = 32;

/// How long one pull waits, and how long to rest after trouble.
const WAIT: Duration = Duration::from_secs(5);

/// The part of the broker's advisory that is needed.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream: String,
    stream_seq: u64,
    deliveries: u64,
}

/// Follows advisories until stopped.
///
/// # Errors
/// The consumer is not there.
pub async fn follow(router: Router) -> Result<(), Fault> {
    let (stream, name) = (stream::ADVISORIES, topology::ADVISORY_CONSUMER);
    let mut source = Source::open(&router, stream, name, "pulling advisories").await?;
    while !router.is_stopping() {
        let pulling = async {
            let Some(mut pull) = source.pull(&router, (IN_HAND, BYTES_MAX), WAIT).await else { return };
            while let Some(taken) = source.next(&mut pull).await {
                let answer = follow_up(&router, &taken.message.payload).await;
                router.answer(&QueueMessage::advisory(taken), answer).await;
            }
        };
        tokio::select! {
            () = pulling => {}
            () = router.stopping() => {}
        }
    }
    Ok(())
}

async fn follow_up(router: &Router, payload: &[u8]) -> Answer {
    let advisory: Advisory = match serde_json::from_slice(payload) {
        Ok(advisory) => advisory,
        Err(error) => {
            tracing::warn!(%error, "an advisory cannot be read");
            return Answer::HandBack(Some(WAIT));
        }
    };
    if advisory.stream != stream::WORK {
        return Answer::Acknowledge;
    }
    match withdraw::given_up(router, advisory.stream_seq, advisory.deliveries).await {
        Ok(()) => Answer::Acknowledge,
        Err(error) => {
            tracing::warn!(%error, "an advisory was not followed, trying again");
            Answer::HandBack(Some(WAIT))
        }
    }
}
