//! Room in the stream of events: booked facts leave it, in their order and up to a sequence. Before they do, what has to
//! stay is stored once more behind them: the marker of each end, and what is known of open jobs.
//!
//! Every step may be repeated, by any number of ledgers at once: a marker is stored only right after the very end whose
//! place it takes, and nothing is removed before its replacement is confirmed.

use std::collections::HashSet;

use futures::future::try_join_all;
use policy::retention::{self, Limits, Log, OfJob, Replacement, Stored};
use schemas::subjects::{self, Subject};
use schemas::{Event, Fact, JobId, Tenant, codec};

use crate::errors::{PortError, PublishError, StepError};
use crate::ports::StoredMessage;

/// Facts that are looked at in one go.
const WINDOW: usize = 2_000;

/// Facts that are replaced at once. As few as this are all polled together, which the simulation needs: it wakes no single
/// future.
const AT_ONCE: usize = 30;

/// A fact as it lies in the stream.
#[derive(Debug, Clone)]
pub struct StoredFact {
    /// When it was stored, Unix milliseconds.
    pub at_ms: i64,
    /// The message.
    pub message: StoredMessage,
}

/// What making room needs of the world.
pub trait LogPorts {
    /// The time, Unix milliseconds.
    fn now_ms(&self) -> i64;
    /// The stream of events as it stands; none where it is empty.
    fn log(&self) -> impl Future<Output = Result<Option<Log>, PortError>>;
    /// Its first facts up to a sequence, so many at most.
    fn first_facts(
        &self,
        up_to: u64,
        most: usize,
    ) -> impl Future<Output = Result<Vec<StoredFact>, PortError>>;
    /// Where the last fact of a kind of a job lies, if there is one.
    fn last_of(
        &self,
        tenant: &Tenant,
        job: JobId,
        kind: &'static str,
    ) -> impl Future<Output = Result<Option<u64>, PortError>>;
    /// When the oldest message was published that waits in a lane, at a backend or as a failed attempt; now, where none
    /// waits.
    fn oldest_open_ms(&self) -> impl Future<Output = Result<i64, PortError>>;
    /// Stores the marker of an end right after that end.
    fn store_marker(&self, marker: &Event, after: u64) -> impl Future<Output = Result<(), PublishError>>;
    /// Stores a fact once more. With `is_last` only where nothing follows it on its subject.
    fn store_again(
        &self,
        message: &StoredMessage,
        is_last: bool,
    ) -> impl Future<Output = Result<(), PublishError>>;
    /// Removes everything up to a sequence.
    fn remove_up_to(&self, sequence: u64) -> impl Future<Output = Result<(), PortError>>;
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Facts that left.
    pub removed: usize,
    /// Ends of which a marker stays.
    pub markers: usize,
    /// Facts that were stored once more.
    pub copies: usize,
}

impl Made {
    /// Whether most of what left had to be stored again.
    #[must_use]
    pub const fn is_in_vain(&self) -> bool {
        self.copies * 4 > self.removed * 3
    }
}

/// Makes room if that is due; none where nothing could leave.
///
/// # Errors
/// The broker failed in between; doing it again is safe.
pub async fn make_room<P: LogPorts>(ports: &P, limits: &Limits) -> Result<Option<Made>, StepError> {
    let now_ms = ports.now_ms();
    let Some(log) = ports.log().await?.filter(|log| log.is_due(limits, now_ms)) else { return Ok(None) };
    let mut facts = ports.first_facts(log.booked_up_to, WINDOW).await?;
    let ended: HashSet<JobId> = facts.iter().filter_map(ended_job).collect();
    let stored: Vec<Stored> = facts.iter().map(measure).collect();
    let Some(up_to) = retention::cut(&log, &stored, limits, now_ms) else { return Ok(None) };
    facts.retain(|fact| fact.message.sequence <= up_to);
    // Looked at after the facts: what comes in from now on is younger than all of them.
    let oldest_open_ms = ports.oldest_open_ms().await?;
    let look = Look { ports, ended: &ended, oldest_open_ms, now_ms, up_to };
    let mut replaced = Vec::with_capacity(facts.len());
    for some in facts.chunks(AT_ONCE) {
        replaced.extend(try_join_all(some.iter().map(|fact| look.replace(fact))).await?);
    }
    ports.remove_up_to(up_to).await?;
    let count = |what: Replacement| replaced.iter().filter(|replaced| **replaced == what).count();
    let (markers, copies) = (count(Replacement::Marker), count(Replacement::Copy));
    Ok(Some(Made { removed: facts.len(), markers, copies }))
}

struct Look<'a, P> {
    ports: &'a P,
    /// Jobs whose ends are among the facts.
    ended: &'a HashSet<JobId>,
    oldest_open_ms: i64,
    now_ms: i64,
    up_to: u64,
}

impl<P: LogPorts> Look<'_, P> {
    /// Stores what has to stand in the place of a fact.
    async fn replace(&self, fact: &StoredFact) -> Result<Replacement, StepError> {
        let message = &fact.message;
        let Some(Subject::Event(tenant, job, kind)) = subjects::parse(&message.subject) else {
            // Put aside by the ledger, with its bytes.
            return Ok(Replacement::Nothing);
        };
        let event: Option<Event> = match kind.as_str() {
            "ended" | "duplicate" => codec::decode(message.content_type.as_deref(), &message.payload).ok(),
            _ => None,
        };
        let of = OfJob {
            is_ended: self.is_ended(&tenant, job, &kind).await?,
            may_come_back: match &event {
                Some(event) => self.may_come_back(event).await?,
                None => true,
            },
        };
        let is_marker = event.as_ref().is_some_and(Event::is_marker);
        let replacement = retention::replacement(&kind, is_marker, of);
        let stored = match (replacement, event.and_then(|event| event.marker())) {
            (Replacement::Nothing, _) => Ok(()),
            (Replacement::Marker, Some(marker)) => self.ports.store_marker(&marker, message.sequence).await,
            // An end that cannot be read arbitrates as it is.
            (Replacement::Marker | Replacement::Copy, _) => {
                self.ports.store_again(message, ["assigned", "ended"].contains(&kind.as_str())).await
            }
        };
        match stored {
            // Something follows on its subject, and stands for it.
            Ok(()) | Err(PublishError::Occupied { .. }) => Ok(replacement),
            Err(error) => Err(error.into()),
        }
    }

    async fn is_ended(&self, tenant: &Tenant, job: JobId, kind: &str) -> Result<bool, PortError> {
        if !["assigned", "retrying"].contains(&kind) || self.ended.contains(&job) {
            return Ok(self.ended.contains(&job));
        }
        Ok(self.ports.last_of(tenant, job, "ended").await?.is_some())
    }

    /// Whether a router may still get the job, and must find that it has ended.
    async fn may_come_back(&self, event: &Event) -> Result<bool, PortError> {
        let submitted_at_ms = match &event.fact {
            Fact::Ended { facts, .. } => facts.submitted_at_ms,
            _ => event.time_ms,
        };
        if retention::may_come_back(submitted_at_ms, event.time_ms, self.oldest_open_ms, self.now_ms) {
            return Ok(true);
        }
        // What tells where an open job is must not outlive the end: a placement that was stored again, and what a stopped
        // worker's attempt left behind.
        for kind in ["assigned", "retrying"] {
            let last = self.ports.last_of(&event.tenant, event.job, kind).await?;
            if last.is_some_and(|sequence| sequence > self.up_to) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn ended_job(fact: &StoredFact) -> Option<JobId> {
    match subjects::parse(&fact.message.subject) {
        Some(Subject::Event(_, job, kind)) if kind == "ended" => Some(job),
        _ => None,
    }
}

fn measure(fact: &StoredFact) -> Stored {
    // What the broker keeps beside it.
    const HEADERS_BYTES: usize = 100;
    let StoredMessage { subject, payload, sequence, .. } = &fact.message;
    let bytes = (subject.len() + payload.len() + HEADERS_BYTES) as u64;
    Stored { sequence: *sequence, at_ms: fact.at_ms, bytes }
}
