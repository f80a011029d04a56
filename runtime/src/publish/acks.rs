//! The broker's words on what was published: one inbox for all, told apart by a number in the subject.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::StatusCode;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::broker::REQUEST_TIMEOUT;

/// The broker's error for a subject whose last message is not the expected one.
const ERROR_WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The broker's error for a message that its store refused: also for a subject that holds its one message.
const ERROR_STORE_FAILED: u64 = 10_077;

/// What the broker did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Stored.
    Stored,
    /// Stored before, under the same message id.
    Repeated,
    /// The subject holds something else than was expected.
    Occupied,
    /// Not stored, in the broker's words.
    Refused(String),
}

/// The inbox and who waits for what.
#[derive(Debug, Clone)]
pub(super) struct Acks {
    /// With the final dot.
    inbox: Arc<str>,
    waiting: Waiting,
    /// Reads the inbox for as long as anybody publishes.
    _reader: Arc<JoinSet<()>>,
}

type Waiting = Arc<Mutex<Pending>>;

#[derive(Debug, Default)]
struct Pending {
    last: u64,
    tell: HashMap<u64, oneshot::Sender<Answer>>,
}

/// How often the inbox is looked through for answers that do not come: one timer for all of them.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// An answer is waited for for so many of those, and the one that has begun.
const FORGET_AFTER: usize = REQUEST_TIMEOUT.as_secs().div_ceil(FORGET_EVERY.as_secs()) as usize;

impl Acks {
    /// `lost` changes whenever the connection is lost: answers that were awaited then never come.
    pub(super) async fn open(
        client: &async_nats::Client,
        mut lost: watch::Receiver<u64>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let inbox = format!("{}.", client.new_inbox());
        let mut answers = client.subscribe(format!("{inbox}*")).await?;
        let waiting = Waiting::default();
        let (told, prefix) = (Arc::clone(&waiting), inbox.len());
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut tick = tokio::time::interval(FORGET_EVERY);
            // The last number that was given out at each of the latest ticks.
            let mut given_out: VecDeque<u64> = [0; FORGET_AFTER].into();
            loop {
                tokio::select! {
                    answer = answers.next() => match answer {
                        Some(answer) => tell(&told, prefix, &answer),
                        None => return,
                    },
                    Ok(()) = lost.changed() => lock(&told).tell.clear(),
                    _ = tick.tick() => {
                        let mut pending = lock(&told);
                        given_out.push_back(pending.last);
                        let old = given_out.pop_front().unwrap_or_default();
                        pending.tell.retain(|number, _| *number > old);
                    }
                }
            }
        });
        Ok(Self { inbox: inbox.into(), waiting, _reader: Arc::new(reader) })
    }

    /// A place for one answer, and where the broker shall send it.
    pub(super) fn expect(&self) -> (String, Awaited) {
        let (tell, told) = oneshot::channel();
        let mut pending = lock(&self.waiting);
        pending.last += 1;
        let number = pending.last;
        pending.tell.insert(number, tell);
        drop(pending);
        let reply = format!("{}{number}", self.inbox);
        (reply, Awaited { number, told, waiting: Arc::clone(&self.waiting) })
    }
}

fn tell(waiting: &Waiting, prefix: usize, answer: &async_nats::Message) {
    let number = answer.subject.get(prefix..).and_then(|number| number.parse().ok());
    let tell = number.and_then(|number: u64| lock(waiting).tell.remove(&number));
    if let Some(tell) = tell {
        // Whoever gave up waiting publishes again under the same id.
        let _ = tell.send(read(answer.status, &answer.payload));
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, Pending> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One answer to come. Dropped, it is waited for no more.
#[derive(Debug)]
pub(super) struct Awaited {
    number: u64,
    told: oneshot::Receiver<Answer>,
    waiting: Waiting,
}

impl Awaited {
    /// None when the connection was lost, or when no answer came for some seconds.
    pub(super) async fn answer(mut self) -> Option<Answer> {
        (&mut self.told).await.ok()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        lock(&self.waiting).tell.remove(&self.number);
    }
}

/// A publish acknowledgement, as far as we read it.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    duplicate: bool,
    #[serde(default, borrow)]
    error: Option<WireError<'a>>,
}

#[derive(Deserialize)]
struct WireError<'a> {
    #[serde(default)]
    err_code: u64,
    #[serde(default, borrow)]
    description: std::borrow::Cow<'a, str>,
}

fn read(status: Option<StatusCode>, payload: &[u8]) -> Answer {
    if status == Some(StatusCode::NO_RESPONDERS) {
        return Answer::Refused("no stream takes it, or the broker has no leader for it".to_owned());
    }
    let wire: Wire<'_> = match serde_json::from_slice(payload) {
        Ok(wire) => wire,
        Err(error) => return Answer::Refused(format!("the broker's answer cannot be read: {error}")),
    };
    match wire.error {
        None if wire.duplicate => Answer::Repeated,
        None => Answer::Stored,
        Some(error) if is_occupied(&error) => Answer::Occupied,
        Some(WireError { err_code, description }) => {
            Answer::Refused(format!("{description} (error {err_code})"))
        }
    }
}

/// The store fails for other reasons too (a full stream): only the per-subject words mean "occupied".
fn is_occupied(error: &WireError<'_>) -> bool {
    error.err_code == ERROR_WRONG_LAST_SEQUENCE
        || (error.err_code == ERROR_STORE_FAILED && error.description.contains("per subject"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let refused = |words: &str| Answer::Refused(words.to_owned());
        let error = |code: u64, words: &str| {
            format!(
                r#"{{"error":{{"code":503,"err_code":{code},"description":"{words}"}},"stream":"WORK","seq":0}}"#
            )
        };
        for (payload, answer) in [
            (r#"{"stream":"JOBS","seq":7}"#.to_owned(), Answer::Stored),
            (r#"{"stream":"JOBS","seq":7,"domain":"hub","duplicate":true}"#.to_owned(), Answer::Repeated),
            (error(10_071, "wrong last sequence: 4"), Answer::Occupied),
            (error(10_077, "maximum messages per subject exceeded"), Answer::Occupied),
            (error(10_077, "maximum bytes exceeded"), refused("maximum bytes exceeded (error 10077)")),
            (error(10_023, r#"no \"room\""#), refused(r#"no "room" (error 10023)"#)),
        ] {
            assert_eq!(read(None, payload.as_bytes()), answer, "{payload}");
        }
        assert!(matches!(read(Some(StatusCode::NO_RESPONDERS), b""), Answer::Refused(_)));
        assert!(matches!(read(None, b"not JSON"), Answer::Refused(_)));
    }
}
