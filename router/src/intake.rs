//! Jobs from one lane: decode, admit, place, acknowledge.
//!
//! Each lane has its own consumer and its own loop, so an urgent job never waits behind a batch. What
//! finds no room is handed back with a delay and waits in the stream; a lane in which nothing found
//! room rests a moment before it asks for more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use policy::admit::{Admitted, admit};
use runtime::clock;
use runtime::exit::Fault;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::subjects::{self, Subject};
use schemas::{Failure, FailureCode, Job, JobFacts, JobId, JobState, Lane, Tenant, topology};

use crate::ending::{self, End, Original};
use crate::fleet::rest;
use crate::history;
use crate::keys::Keyed;
use crate::place::{self, PlaceError, Placed, Placing};
use crate::shared::Router;

/// How long one pull waits for jobs.
const WAIT: Duration = Duration::from_secs(1);

/// How long a lane rests in which nothing found room.
const NO_ROOM_REST: Duration = Duration::from_millis(100);

/// How long a job rests after the broker failed us in between.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// The shortest delay of a deferred job.
const DEFER_MIN_MS: i64 = 50;

type Message = async_nats::jetstream::Message;

/// One lane's intake.
pub struct Intake {
    router: Router,
    lane: Lane,
    consumer: PullConsumer,
    in_hand: usize,
}

/// What is to be done with a job's message.
enum Verdict {
    /// It is settled elsewhere: acknowledge.
    Done,
    /// Hand it back until then (Unix milliseconds).
    Later(i64),
}

impl Intake {
    /// Opens a lane.
    ///
    /// # Errors
    /// Its consumer is not there.
    pub async fn open(router: Router, lane: Lane, in_hand: usize) -> Result<Self, Fault> {
        let name = topology::intake_consumer_name(lane);
        let consumer =
            runtime::topology::consumer(&router.broker.jetstream, topology::stream::JOBS, &name).await?;
        Ok(Self { router, lane, consumer, in_hand: in_hand.clamp(1, 10_000) })
    }

    /// Takes jobs in until stopped.
    ///
    /// # Errors
    /// Never while the broker lives or comes back.
    pub async fn run(self) -> Result<(), Fault> {
        while !self.router.soft.is_cancelled() {
            match self.take_batch().await {
                Ok(true) => {}
                Ok(false) => rest(&self.router, NO_ROOM_REST).await,
                Err(reason) => {
                    tracing::warn!(lane = self.lane.as_str(), reason, "pulling failed, trying again");
                    rest(&self.router, TROUBLE_REST).await;
                }
            }
        }
        Ok(())
    }

    /// Pulls and settles up to `in_hand` jobs; false when none of them found room.
    async fn take_batch(&self) -> Result<bool, String> {
        let batch = self.consumer.batch().max_messages(self.in_hand).expires(WAIT).messages().await;
        let messages = batch.map_err(|error| error.to_string())?;
        let (deferred, placed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        messages
            .for_each_concurrent(self.in_hand, |message| {
                let (deferred, placed) = (Arc::clone(&deferred), Arc::clone(&placed));
                async move {
                    match message {
                        Ok(message) => {
                            let found = if self.settle(&message).await { &placed } else { &deferred };
                            found.store(true, Ordering::Relaxed);
                        }
                        Err(error) => {
                            tracing::warn!(lane = self.lane.as_str(), %error, "a pull ended early");
                        }
                    }
                }
            })
            .await;
        Ok(placed.load(Ordering::Relaxed) || !deferred.load(Ordering::Relaxed))
    }

    /// Settles one message; false when the job was handed back.
    async fn settle(&self, message: &Message) -> bool {
        let acknowledgement = match self.verdict(message).await {
            Ok(Verdict::Done) => AckKind::Ack,
            Ok(Verdict::Later(at_ms)) => {
                let wait_ms = (at_ms - clock::now_ms()).max(DEFER_MIN_MS).unsigned_abs();
                AckKind::Nak(Some(Duration::from_millis(wait_ms)))
            }
            Err(error) => {
                tracing::warn!(lane = self.lane.as_str(), %error, "handing a job back");
                AckKind::Nak(Some(TROUBLE_REST))
            }
        };
        let done = matches!(acknowledgement, AckKind::Ack);
        // A lost acknowledgement is a repeat, and a repeat finds its own tracks (`place::recover`).
        if let Err(error) = message.ack_with(acknowledgement).await {
            tracing::debug!(%error, "acknowledging");
        }
        done
    }

    async fn verdict(&self, message: &Message) -> Result<Verdict, PlaceError> {
        let info = message.info().ok();
        let submitted_at_ms = info.as_ref().map_or_else(clock::now_ms, |info| {
            i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
        });
        let sequence = info.as_ref().map_or(0, |info| info.stream_sequence);
        let redelivered = info.as_ref().is_some_and(|info| info.delivered > 1);
        let taken = match self.read(message, submitted_at_ms) {
            Ok(taken) => taken,
            Err(refused) => return self.refuse(message, sequence, submitted_at_ms, *refused).await,
        };
        let Taken { job, admitted } = taken;
        match self.router.keys.take(&job).await.map_err(PlaceError::Key)? {
            Keyed::First => {}
            Keyed::SameAs(of) => {
                tracing::info!(job = %job.id, %of, "the same job again, by its idempotency key");
                ending::duplicate(&self.router, &job, of).await?;
                return Ok(Verdict::Done);
            }
            Keyed::Refused(failure) => {
                let refused = Refused { id: Some(job.id), job: Some(job), failure };
                return self.refuse(message, sequence, submitted_at_ms, refused).await;
            }
        }
        let facts = JobFacts::of(&job, Some(admitted.class.clone()), submitted_at_ms);
        let end = |state, failure| End {
            tenant: job.tenant.clone(),
            job: job.id,
            attempt: 0,
            facts: facts.clone(),
            state,
            failure: Some(failure),
            attempts: Vec::new(),
        };
        let placing = Placing {
            job: &job,
            admitted: &admitted,
            submitted_at_ms,
            attempt: 1,
            counted_attempts: 0,
            history: &[],
        };
        if redelivered && let Some(placed) = place::recover(&self.router, &placing).await? {
            return Ok(verdict_of(&placed));
        }
        if self.router.cancels.contains(job.id) {
            let failure = Failure::new(FailureCode::Cancelled, "cancelled before it was placed");
            ending::end(&self.router, end(JobState::Cancelled, failure)).await?;
            return Ok(Verdict::Done);
        }
        if job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= clock::now_ms()) {
            let failure = Failure::new(FailureCode::Expired, "its deadline passed while it waited for room");
            ending::end(&self.router, end(JobState::Expired, failure)).await?;
            return Ok(Verdict::Done);
        }
        match place::place(&self.router, placing).await? {
            Placed::Refused(failure) => {
                let state =
                    if failure.code == FailureCode::Expired { JobState::Expired } else { JobState::Failed };
                ending::fail(&self.router, &job, end(state, failure), &original(message)).await?;
                Ok(Verdict::Done)
            }
            placed => Ok(verdict_of(&placed)),
        }
    }

    /// Decodes and admits a job.
    fn read(&self, message: &Message, submitted_at_ms: i64) -> Result<Taken, Box<Refused>> {
        let header = content_type(message);
        let job: Job = codec::decode(header.as_deref(), &message.payload).map_err(|error| {
            let field = match &error {
                codec::DecodeError::Malformed { field, .. } => field.clone(),
                codec::DecodeError::ContentType(_) => CONTENT_TYPE.to_owned(),
            };
            let failure = Failure::invalid(&field, format!("the job cannot be read: {error}"));
            Box::new(Refused { job: None, id: sniff_id(header.as_deref(), &message.payload), failure })
        })?;
        let config = self.router.config();
        let payload_bytes = message.payload.len();
        let admitted = match same_address(message, &job) {
            Err(failure) => Err(failure),
            // As of the time it was submitted: a deadline that passes while it waits is no fault of the job's.
            Ok(()) => admit(&job, &config.catalog, &config.policy, payload_bytes, submitted_at_ms),
        };
        match admitted {
            Ok(admitted) => Ok(Taken { job, admitted }),
            Err(failure) => Err(Box::new(Refused { id: Some(job.id), job: Some(job), failure })),
        }
    }

    /// Puts a publish aside that is no job: parked with its bytes, told where tenant and id are known,
    /// and only then acknowledged.
    async fn refuse(
        &self,
        message: &Message,
        sequence: u64,
        submitted_at_ms: i64,
        refused: Refused,
    ) -> Result<Verdict, PlaceError> {
        let Refused { job, id, failure } = refused;
        let tenant = match subjects::parse(&message.subject) {
            Some(Subject::Jobs(_, tenant)) => Some(tenant),
            _ => None,
        };
        metrics::counter!("argosy_router_refused_total", "code" => failure.code.as_str()).increment(1);
        tracing::info!(
            job = id.map(|id| id.to_string()),
            tenant = tenant.as_ref().map(Tenant::as_str),
            field = failure.field.as_deref().unwrap_or_default(),
            reason = failure.message,
            "refused"
        );
        let about = (tenant.as_ref(), id);
        let parked_id = format!("jobs.{sequence}.parked");
        ending::park(&self.router, parked_id, about, failure.clone(), &original(message), Vec::new()).await?;
        let (Some(tenant), Some(id)) = (tenant, id) else { return Ok(Verdict::Done) };
        ending::refuse(&self.router, &tenant, id, &failure).await?;
        // A job that runs under this id is not ended by a bad publish that borrows it.
        let history = history::read(&self.router.broker, id).await.map_err(PlaceError::History)?;
        if let Some(job) = job.filter(|_| history.facts().is_none()) {
            let facts = JobFacts::of(&job, None, submitted_at_ms);
            let end = End {
                tenant,
                job: id,
                attempt: 0,
                facts,
                state: JobState::Failed,
                failure: Some(failure),
                attempts: Vec::new(),
            };
            ending::end(&self.router, end).await?;
        }
        Ok(Verdict::Done)
    }
}

struct Taken {
    job: Job,
    admitted: Admitted,
}

struct Refused {
    job: Option<Job>,
    id: Option<JobId>,
    failure: Failure,
}

fn verdict_of(placed: &Placed) -> Verdict {
    match placed {
        Placed::Later(at_ms) => Verdict::Later(*at_ms),
        Placed::Done | Placed::Refused(_) => Verdict::Done,
    }
}

fn content_type(message: &Message) -> Option<String> {
    let headers = message.headers.as_ref()?;
    headers.get(CONTENT_TYPE).map(|value| value.as_str().to_owned())
}

fn original(message: &Message) -> Original {
    Original {
        subject: message.subject.to_string(),
        content_type: content_type(message),
        payload: message.payload.to_vec(),
    }
}

/// A job says whose it is and how urgent, and so does its subject; permissions and queues go by the
/// subject, so the two must agree.
fn same_address(message: &Message, job: &Job) -> Result<(), Failure> {
    let Some(Subject::Jobs(lane, tenant)) = subjects::parse(&message.subject) else {
        return Ok(());
    };
    let expected = subjects::jobs(job.lane, &job.tenant);
    if job.tenant != tenant {
        let message =
            format!("the job says `{}`, its subject `{tenant}`: publish it to {expected}", job.tenant);
        return Err(Failure::invalid("tenant", message));
    }
    if job.lane != lane && job.lane != Lane::Unknown {
        let (said, subject) = (job.lane.as_str(), lane.as_str());
        let message = format!("the job says `{said}`, its subject `{subject}`: publish it to {expected}");
        return Err(Failure::invalid("lane", message));
    }
    Ok(())
}

/// The id of a job that cannot be read as one, if it has a readable `id`.
fn sniff_id(content_type: Option<&str>, payload: &[u8]) -> Option<JobId> {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: JobId,
    }
    codec::decode::<OnlyId>(content_type, payload).ok().map(|only| only.id)
}
