//! Failed attempts: `policy` says what follows, this carries it out.
//!
//! A wait before the next attempt is the dead letter itself, handed back with a delay that counts from
//! the letter's own time; so a router that dies in between changes nothing.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use policy::admit::admit;
use policy::dispose::{Disposition, dispose};
use runtime::clock;
use runtime::exit::Fault;
use runtime::metrics;
use runtime::publish::Message as Publish;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{AttemptFacts, DeadLetter, Event, Fact, Failure, FailureCode, JobState, subjects, topology};

use crate::ending::{self, End, Original};
use crate::fleet::rest;
use crate::place::{self, PlaceError, Placed, Placing};
use crate::shared::Router;
use crate::too_new::Resting;

/// Dead letters in hand at once.
const IN_HAND: usize = 64;

/// How long one pull waits.
const WAIT: Duration = Duration::from_secs(1);

/// How long a letter rests after the broker failed us in between.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// Deliveries on which the `retrying` event is published: the first, and one more in case the first died.
const TELL_DELIVERIES: i64 = 2;

type Message = async_nats::jetstream::Message;

/// The dead letters' consumer.
pub struct Dead {
    router: Router,
    consumer: PullConsumer,
    /// Letters of a newer schema that were handed back.
    resting: Resting,
}

impl Dead {
    /// Opens it.
    ///
    /// # Errors
    /// The consumer is not there.
    pub async fn open(router: Router) -> Result<Self, Fault> {
        let jetstream = &router.broker.jetstream;
        let consumer =
            runtime::topology::consumer(jetstream, topology::stream::DEAD, topology::DEAD_CONSUMER).await?;
        Ok(Self { router, consumer, resting: Resting::default() })
    }

    /// Follows up failed attempts until stopped.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        while !self.router.soft.is_cancelled() {
            let batch = self.consumer.batch().max_messages(IN_HAND).expires(WAIT).messages().await;
            match batch {
                Ok(messages) => {
                    let settle = async |message: Result<Message, _>| match message {
                        Ok(message) => self.settle(&message).await,
                        Err(error) => tracing::warn!(%error, "a pull of dead letters ended early"),
                    };
                    messages.for_each_concurrent(IN_HAND, settle).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "pulling dead letters failed, trying again");
                    rest(&self.router, TROUBLE_REST).await;
                }
            }
        }
        Ok(())
    }

    async fn settle(&self, message: &Message) {
        let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
        let header = header.map(|value| value.as_str().to_owned());
        let delivered = message.info().map_or(1, |info| info.delivered);
        let schemas = &self.router.schemas;
        let followed = match codec::decode::<DeadLetter>(header.as_deref(), &message.payload) {
            // Its constraints may say what this router does not understand.
            Ok(letter) => match schemas.check(letter.assignment.job.schema_version.into()) {
                Some(failure) => self.too_new(message, header, failure).await,
                None => self.follow_up(letter, delivered).await,
            },
            Err(error) => match schemas.check_letter(header.as_deref(), &message.payload) {
                Some(failure) => self.too_new(message, header, failure).await,
                None => {
                    let words = format!("a dead letter cannot be read: {error}");
                    self.park(message, header, Failure::new(FailureCode::InvalidJob, words)).await
                }
            },
        };
        let acknowledgement = match followed {
            Ok(None) => AckKind::Ack,
            Ok(Some(at_ms)) => {
                let wait_ms = (at_ms - clock::now_ms()).max(1).unsigned_abs();
                AckKind::Nak(Some(Duration::from_millis(wait_ms)))
            }
            Err(error) => {
                tracing::warn!(%error, "handing a dead letter back");
                AckKind::Nak(Some(TROUBLE_REST))
            }
        };
        if let Err(error) = message.ack_with(acknowledgement).await {
            tracing::debug!(%error, "acknowledging");
        }
    }

    /// Carries out what follows; a time when the letter is to be looked at again.
    async fn follow_up(&self, letter: DeadLetter, delivered: i64) -> Result<Option<i64>, PlaceError> {
        let config = self.router.config();
        let job = &letter.assignment.job;
        let disposition = if self.router.cancels.contains(job.id) {
            Disposition::End { state: JobState::Cancelled }
        } else {
            dispose(&letter, &config.policy)
        };
        let code = letter.ended_attempt.failure.as_ref().map_or(FailureCode::Unknown, |failure| failure.code);
        if delivered == 1 {
            let follows = disposition.as_str();
            metrics::ROUTER_DISPOSITIONS.of([code.as_str().into(), follows.into()]).increment(1);
        }
        let attempts = all_attempts(&letter);
        let at_ms = match disposition {
            Disposition::End { state } => {
                let failure = letter.ended_attempt.failure.clone();
                self.end(&letter, state, failure, attempts).await?;
                return Ok(None);
            }
            Disposition::Retry { at_ms, .. }
            | Disposition::Failover { at_ms, .. }
            | Disposition::Snooze { at_ms }
            | Disposition::Reconcile { at_ms } => at_ms,
        };
        if delivered <= TELL_DELIVERIES {
            self.tell_retrying(&letter, &disposition, at_ms).await?;
        }
        if at_ms > clock::now_ms() {
            return Ok(Some(at_ms));
        }
        self.place_next(&letter, &disposition, attempts, delivered > 1).await
    }

    async fn place_next(
        &self,
        letter: &DeadLetter,
        disposition: &Disposition,
        attempts: Vec<AttemptFacts>,
        seen_before: bool,
    ) -> Result<Option<i64>, PlaceError> {
        let (job, config) = (&letter.assignment.job, self.router.config());
        let submitted_at_ms = letter.assignment.submitted_at_ms;
        if job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= clock::now_ms()) {
            let failure = Failure::new(FailureCode::Expired, "its deadline passed before the next attempt");
            self.end(letter, JobState::Expired, Some(failure), attempts).await?;
            return Ok(None);
        }
        let admitted = match admit(job, &config.catalog, &config.policy, 0, submitted_at_ms) {
            Ok(admitted) => admitted,
            // The catalog changed under the job.
            Err(failure) => {
                self.end(letter, JobState::Failed, Some(failure), attempts).await?;
                return Ok(None);
            }
        };
        // Told with the attempt it was made for: what follows need not carry it.
        let history: Vec<AttemptFacts> =
            attempts.iter().map(|facts| AttemptFacts { decision: None, ..facts.clone() }).collect();
        let placing = Placing {
            job,
            admitted: &admitted,
            submitted_at_ms,
            attempt: letter.assignment.attempt + 1,
            counted_attempts: letter.assignment.counted_attempts + u32::from(disposition.is_counted()),
            history: &history,
        };
        let recovered = if seen_before { place::recover(&self.router, &placing).await? } else { None };
        let placed = match recovered {
            Some(placed) => placed,
            None => place::place(&self.router, placing).await?,
        };
        match placed {
            Placed::Done => Ok(None),
            Placed::Later(at_ms) => Ok(Some(at_ms)),
            Placed::Refused(failure) => {
                let state =
                    if failure.code == FailureCode::Expired { JobState::Expired } else { JobState::Failed };
                self.end(letter, state, Some(failure), attempts).await?;
                Ok(None)
            }
        }
    }

    async fn tell_retrying(
        &self,
        letter: &DeadLetter,
        disposition: &Disposition,
        next_at_ms: i64,
    ) -> Result<(), PlaceError> {
        let job = &letter.assignment.job;
        let fact = Fact::Retrying {
            facts: letter.assignment.facts(),
            ended_attempt: letter.ended_attempt.clone(),
            disposition: disposition.as_str().to_owned(),
            next_at_ms,
        };
        let event = Event::new(letter.time_ms, job.tenant.clone(), job.id, letter.assignment.attempt, fact);
        self.router.broker.publisher.publish(&Publish::event(&event)).await?;
        Ok(())
    }

    async fn end(
        &self,
        letter: &DeadLetter,
        state: JobState,
        failure: Option<Failure>,
        attempts: Vec<AttemptFacts>,
    ) -> Result<(), PlaceError> {
        let job = &letter.assignment.job;
        let end = End {
            tenant: job.tenant.clone(),
            job: job.id,
            attempt: letter.assignment.attempt,
            facts: letter.assignment.facts(),
            state,
            failure,
            attempts,
        };
        if state == JobState::Failed {
            ending::fail(&self.router, job, end, &Original::of(job)).await?;
        } else {
            ending::end(&self.router, end).await?;
        }
        Ok(())
    }

    /// Hands a letter of a newer schema back, or puts it aside; its job does not end.
    async fn too_new(
        &self,
        message: &Message,
        content_type: Option<String>,
        failure: Failure,
    ) -> Result<Option<i64>, PlaceError> {
        let info = message.info().ok();
        let published_at_ms = info.map_or(0, |info| clock::ms_of_ns(info.published.unix_timestamp_nanos()));
        match self.resting.rest(&self.router.schemas, published_at_ms) {
            Some(rest) => Ok(Some(clock::now_ms() + i64::try_from(rest.as_millis()).unwrap_or_default())),
            None => self.park(message, content_type, failure).await,
        }
    }

    async fn park(
        &self,
        message: &Message,
        content_type: Option<String>,
        failure: Failure,
    ) -> Result<Option<i64>, PlaceError> {
        let job = match subjects::parse(&message.subject) {
            Some(subjects::Subject::Dead(_, job)) => Some(job),
            _ => None,
        };
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        let original = Original {
            subject: message.subject.to_string(),
            content_type,
            payload: message.payload.to_vec(),
        };
        let id = format!("dead.{sequence}.parked");
        ending::park(&self.router, id, (None, job), failure, &original, Vec::new()).await?;
        Ok(None)
    }
}

fn all_attempts(letter: &DeadLetter) -> Vec<AttemptFacts> {
    let mut attempts = letter.assignment.history.clone();
    attempts.push(letter.ended_attempt.clone());
    attempts
}
