//! Jobs that are open and of which no stream holds anything: an operator purged `WORK` or deleted from it.
//!
//! Placements are looked at once they are old enough, each until its job has ended. What is certainly gone ends with that
//! reason ([`crate::router::unended`]).

use std::collections::BTreeMap;

use schemas::topology::stream;
use schemas::{Event, Fact, Failure, FailureCode, JobId, JobState, Tenant, codec, subjects};

use crate::errors::StepError;
use crate::router::history::{self, History};
use crate::router::ports::{Delivery, RouterPorts};
use crate::router::unended;

/// What is on its way from one stream to the next, or in the hand of a worker that is stopped, is there after this.
const QUIET_MS: i64 = 600_000;

/// Placements that are read in one look.
const READ_MAX: usize = 500;

/// Open jobs that are looked at in one look.
const LOOKED_AT_MAX: usize = 200;

/// Open jobs that are remembered.
const OPEN_MAX: usize = 100_000;

/// Messages of a lane and tenant that are read to see whether the job lies among them.
const LANE_MAX: usize = 1_000;

/// What is known of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// It has ended.
    Over,
    /// A stream holds it, or may.
    Held,
    /// Nothing held it: it is ended now.
    Ended,
}

/// The placements that were read, and the open jobs among them.
#[derive(Debug, Default)]
pub struct Lost {
    next: u64,
    /// When each is looked at next, Unix milliseconds.
    open: BTreeMap<JobId, (Tenant, i64)>,
}

impl Lost {
    /// Reads the placements that have become old enough, and looks at the open jobs that are due; how many ended.
    ///
    /// # Errors
    /// The broker failed in between; the next look goes on.
    pub async fn look_around<P: RouterPorts>(&mut self, ports: &P) -> Result<u64, StepError> {
        for _ in 0..READ_MAX {
            if self.open.len() >= OPEN_MAX {
                break;
            }
            let from = self.next.max(1);
            let placed = ports.next_message(stream::EVENTS, subjects::ASSIGNED_FILTER, from).await?;
            let Some(message) = placed else { break };
            let event = codec::decode::<Event>(message.content_type.as_deref(), &message.payload).ok();
            if event.as_ref().is_some_and(|event| is_young(event, ports.now_ms())) {
                break;
            }
            self.next = message.sequence + 1;
            if let Some(event) = event {
                self.open.insert(event.job, (event.tenant, 0));
            }
        }
        let now_ms = ports.now_ms();
        let due = self.open.iter().filter(|(_, (_, at_ms))| *at_ms <= now_ms).take(LOOKED_AT_MAX);
        let due: Vec<(JobId, Tenant)> = due.map(|(job, (tenant, _))| (*job, tenant.clone())).collect();
        let mut ended = 0;
        for (job, tenant) in due {
            // Nearly all have ended: one look-up for each.
            let looked = match ports.last_ended(&tenant, job).await? {
                Some(_) => Looked::Over,
                None => look(ports, job).await?,
            };
            if looked == Looked::Held {
                self.open.insert(job, (tenant, now_ms + QUIET_MS));
            } else {
                self.open.remove(&job);
                ended += u64::from(looked == Looked::Ended);
            }
        }
        Ok(ended)
    }
}

/// Looks at one job, and ends it if it is certainly gone.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn look<P: RouterPorts>(ports: &P, job: JobId) -> Result<Looked, StepError> {
    if is_queued_or_failed(ports, job).await? {
        return Ok(Looked::Held);
    }
    let history = history::read(ports, job).await?;
    if history.ended().is_some() {
        return Ok(Looked::Over);
    }
    let (Some(last), Some(facts)) = (history.events.last(), history.facts()) else { return Ok(Looked::Held) };
    let subject = subjects::jobs(facts.lane, &last.tenant);
    if ports.now_ms() - last.time_ms < quiet_ms(ports, &history)
        || may_lie_in_lane(ports, &subject, job).await?
        // Put aside for a newer router, it has not ended.
        || ports.next_message(stream::PARKED, &subjects::parked_too_new(job), 1).await?.is_some()
        // What went back from there to its queue meanwhile.
        || is_queued_or_failed(ports, job).await?
    {
        return Ok(Looked::Held);
    }
    tracing::warn!(%job, "no stream holds anything of an open job: its assignment was removed");
    let words = "its assignment was removed from stream WORK, and the job's body with it: publish it again";
    let gone = Failure::new(FailureCode::Interrupted, words);
    let ended = unended::end(ports, job, JobState::Failed, gone, None).await?;
    Ok(if ended { Looked::Ended } else { Looked::Over })
}

fn is_young(event: &Event, now_ms: i64) -> bool {
    (0..QUIET_MS).contains(&(now_ms - event.time_ms))
}

/// How long nothing must have been heard of a job: a worker that has its assignment in hand may still end it.
fn quiet_ms<P: RouterPorts>(ports: &P, history: &History) -> i64 {
    let Some(Fact::Assigned { backend, class, .. }) = history.last_assigned().map(|event| &event.fact) else {
        return QUIET_MS;
    };
    let catalog = ports.config().catalog;
    let timeout_ms = catalog.service(backend, class).map_or(0, |service| service.timeout_ms);
    QUIET_MS.max(i64::try_from(timeout_ms.saturating_mul(2)).unwrap_or(i64::MAX))
}

async fn is_queued_or_failed<P: RouterPorts>(ports: &P, job: JobId) -> Result<bool, StepError> {
    Ok(ports.queued(job).await?.is_some() || ports.failed(job).await?.is_some())
}

/// Whether the job's own message is in its lane, as it is while its placement is being resumed; also where too many lie
/// there to be sure.
async fn may_lie_in_lane<P: RouterPorts>(ports: &P, subject: &str, job: JobId) -> Result<bool, StepError> {
    let mut next = 1;
    for _ in 0..LANE_MAX {
        let Some(message) = ports.read_job(subject, next).await? else { return Ok(false) };
        next = message.sequence() + 1;
        if message.job().is_ok_and(|there| there.id == job) {
            return Ok(true);
        }
    }
    Ok(true)
}
