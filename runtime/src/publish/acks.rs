//! The broker's words on what was published: one inbox for all, told apart by a number in the subject.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{StatusCode, Subject};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{oneshot, watch};

use crate::limits::REQUEST_TIMEOUT;
use crate::loops::Loops;

/// The broker's error for a subject whose last message is not the expected one.
const ERROR_WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The broker's error for a message that its store refused: also for a subject that holds its one message.
const ERROR_STORE_FAILED: u64 = 10_077;

/// What the broker did with a message.
#[derive(Debug)]
pub(super) enum Answer {
    /// Stored.
    Stored,
    /// Stored before, under the same message id.
    Repeated,
    /// The subject holds something else than was expected.
    Occupied,
    /// Not stored.
    Refused(Refusal),
}

/// Why the broker did not store a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Nothing listens on its subject.
    #[error(
        "no stream takes this subject, or its stream has no leader just now; a job goes to argosy.jobs.<lane>.<tenant>, \
         where the lane is interactive, standard or batch; streams are made by `argosy topology apply`"
    )]
    NoStream,
    /// The answer is none that this version knows.
    #[error("the broker's answer cannot be read: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// The broker answered with an error.
    #[error("{description} (error {err_code})")]
    Broker {
        /// The broker's code.
        err_code: u64,
        /// The broker's words.
        description: String,
    },
}

/// Why the broker's answer did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The message did not leave.
    #[error("{0}")]
    NotSent(#[source] async_nats::client::PublishError),
    /// No answer came for some seconds, or the connection was lost.
    #[error("the broker did not answer")]
    Silent,
}

/// The inbox and who waits for what.
#[derive(Debug, Clone)]
pub(super) struct Acks {
    /// With the final dot.
    inbox: Arc<str>,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<Pending>>;

/// Who waits, by number: numbers are given out in their order and answered nearly so, so that a place in a row will do.
#[derive(Debug, Default)]
struct Pending {
    last: u64,
    /// The reader has ended: nothing is answered any more.
    closed: bool,
    /// Of the numbers up to the last.
    row: VecDeque<Option<oneshot::Sender<Answer>>>,
}

impl Pending {
    fn give_out(&mut self, tell: oneshot::Sender<Answer>) -> u64 {
        self.last += 1;
        self.row.push_back((!self.closed).then_some(tell));
        self.last
    }

    fn take(&mut self, number: u64) -> Option<oneshot::Sender<Answer>> {
        let from_the_end = usize::try_from(self.last.checked_sub(number)?).ok()?;
        let at = self.row.len().checked_sub(from_the_end + 1)?;
        let taken = self.row.get_mut(at)?.take();
        while let Some(None) = self.row.front() {
            self.row.pop_front();
        }
        taken
    }

    /// Nobody waits any more for what was given out up to a number.
    fn forget(&mut self, number: u64) {
        let kept = usize::try_from(self.last.saturating_sub(number)).unwrap_or(usize::MAX);
        self.row.drain(..self.row.len().saturating_sub(kept));
    }
}

/// The loop that reads the inbox.
pub(super) const READER: &str = "reader of publish acknowledgements";

/// Ends all waits when the reader ends, whatever ended it: no publish waits for an answer that nothing reads.
struct Closing(Waiting);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut pending = lock(&self.0);
        pending.closed = true;
        pending.row.clear();
    }
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
        loops: &Loops,
    ) -> Result<Self, async_nats::SubscribeError> {
        let inbox = format!("{}.", client.new_inbox());
        let mut answers = client.subscribe(format!("{inbox}*")).await?;
        let waiting = Waiting::default();
        let (told, prefix) = (Arc::clone(&waiting), inbox.len());
        // Made outside of the loop: a loop that ends before its first step ends the waits too.
        let closing = Closing(Arc::clone(&told));
        loops.run(READER, async move {
            let _closing = closing;
            let mut tick = tokio::time::interval(FORGET_EVERY);
            // The last number that was given out at each of the latest ticks.
            let mut given_out: VecDeque<u64> = [0; FORGET_AFTER].into();
            loop {
                tokio::select! {
                    answer = answers.next() => match answer {
                        Some(answer) => tell(&told, prefix, &answer),
                        None => return,
                    },
                    Ok(()) = lost.changed() => lock(&told).row.clear(),
                    _ = tick.tick() => {
                        let mut pending = lock(&told);
                        given_out.push_back(pending.last);
                        let old = given_out.pop_front().unwrap_or_default();
                        pending.forget(old);
                    }
                }
            }
        });
        Ok(Self { inbox: inbox.into(), waiting })
    }

    /// A place for one answer, and where the broker shall send it.
    pub(super) fn expect(&self) -> (Subject, Awaited) {
        let (tell, told) = oneshot::channel();
        let number = lock(&self.waiting).give_out(tell);
        let reply = format!("{}{number}", self.inbox);
        (reply.into(), Awaited { number, told, waiting: Arc::clone(&self.waiting) })
    }
}

fn tell(waiting: &Waiting, prefix: usize, answer: &async_nats::Message) {
    let number = answer.subject.get(prefix..).and_then(|number| number.parse().ok());
    let tell = number.and_then(|number: u64| lock(waiting).take(number));
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
    /// The answer; [`Unanswered::Silent`] when the connection was lost, or when no answer came for some seconds.
    pub(super) async fn answer(mut self) -> Result<Answer, Unanswered> {
        (&mut self.told).await.map_err(|_| Unanswered::Silent)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        lock(&self.waiting).take(self.number);
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
        return Answer::Refused(Refusal::NoStream);
    }
    let wire: Wire<'_> = match serde_json::from_slice(payload) {
        Ok(wire) => wire,
        Err(error) => return Answer::Refused(Refusal::Unreadable(error)),
    };
    match wire.error {
        None if wire.duplicate => Answer::Repeated,
        None => Answer::Stored,
        Some(error) if is_occupied(&error) => Answer::Occupied,
        Some(WireError { err_code, description }) => {
            Answer::Refused(Refusal::Broker { err_code, description: description.into_owned() })
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
    fn each_number_is_told_once_in_any_order_and_what_is_forgotten_never() {
        let mut pending = Pending::default();
        let mut told: Vec<_> = (1..=5)
            .map(|number| {
                let (tell, told) = oneshot::channel();
                assert_eq!(pending.give_out(tell), number);
                told
            })
            .collect();
        for number in [3, 1, 2] {
            pending.take(number).expect("waits").send(Answer::Stored).expect("is listened to");
            assert!(pending.take(number).is_none(), "{number} is told");
        }
        assert_eq!(pending.row.len(), 2, "those in front are gone");
        for number in [0, 6, u64::MAX] {
            assert!(pending.take(number).is_none(), "{number} was never given out");
        }
        pending.forget(4);
        assert!(pending.take(4).is_none());
        assert!(pending.take(5).is_some());
        pending.forget(9);
        assert!(pending.row.is_empty());
        let heard: Vec<bool> = told.iter_mut().map(|told| told.try_recv().is_ok()).collect();
        assert_eq!(heard, [true, true, true, false, false]);
    }

    #[test]
    fn answers_are_read() {
        let refused = |err_code: u64, words: &str| {
            Answer::Refused(Refusal::Broker { err_code, description: words.to_owned() })
        };
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
            (error(10_077, "maximum bytes exceeded"), refused(10_077, "maximum bytes exceeded")),
            (error(10_023, r#"no \"room\""#), refused(10_023, r#"no "room""#)),
        ] {
            let found = read(None, payload.as_bytes());
            assert_eq!(format!("{found:?}"), format!("{answer:?}"), "{payload}");
        }
        let silent = read(Some(StatusCode::NO_RESPONDERS), b"");
        assert!(matches!(silent, Answer::Refused(Refusal::NoStream)));
        let Answer::Refused(refusal) = read(None, b"not JSON") else { panic!("it is no answer") };
        assert!(std::error::Error::source(&refusal).is_some(), "{refusal}");
    }
}
