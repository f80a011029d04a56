//! Events into rows: one transaction per batch, and the same rows for any order and any repetition.

mod columns;
mod copy;
mod fresh;
mod load;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use schemas::{Event, Failure};
use uuid::Uuid;

use crate::event_check::{Checked, check};
use crate::fold::{Folded, Told, charge, fold};
use crate::locks::{INGEST_LOCK, MONEY_LOCK};
use crate::{Error, Store, rollup};

use columns::Key;

pub(crate) use write::{Charged, charges as write_charges};

/// Events that one call takes.
pub const INGEST_MAX: usize = 5_000;

/// The rows of so many new jobs are copied in; fewer are upserted as all others are ([`copy`] says why).
const JOBS_COPIED_FROM: usize = 1_000;

/// The kind of a job's last event.
const ENDED: &str = "ended";

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Events that were new.
    pub stored: usize,
    /// Ends among them.
    pub ended: usize,
    /// Events that were there already.
    pub repeated: usize,
    /// Events that cannot be booked: their place in the batch, and why. [`Store::book`] is given none of those.
    pub refused: Vec<(usize, Failure)>,
}

impl Store {
    /// As [`Store::book`], for events that were not checked yet.
    ///
    /// # Errors
    /// As [`Store::book`].
    pub async fn ingest(&self, events: &[Event]) -> Result<Ingested, Error> {
        let mut fresh: Vec<Checked> = Vec::with_capacity(events.len());
        let mut refused = Vec::new();
        for (index, event) in events.iter().enumerate() {
            match check(event.clone()) {
                Ok(checked) => fresh.push(checked),
                Err(failure) => refused.push((index, failure)),
            }
        }
        Ok(Ingested { refused, ..self.book(&fresh).await? })
    }

    /// Stores events and brings the rows of their jobs up to date, in one transaction. An event that is
    /// there already changes nothing. Acknowledge the batch after this returns.
    ///
    /// # Errors
    /// [`Error::TooMany`] above [`INGEST_MAX`]; [`Error::Database`]. Nothing is stored then; with
    /// [`Error::is_about_data`] one of the events is to blame, and smaller batches find it.
    pub async fn book(&self, events: &[Checked]) -> Result<Ingested, Error> {
        if events.len() > INGEST_MAX {
            return Err(Error::TooMany { len: events.len(), max: INGEST_MAX });
        }
        let mut ingested = Ingested::default();
        if events.is_empty() {
            return Ok(ingested);
        }
        // Whatever the database's own default is: what is read after the lock is what was there when it was got.
        let mut transaction = self.pool.begin_with("begin isolation level read committed").await?;
        let connection = &mut *transaction;
        sqlx::query!("select pg_advisory_xact_lock($1)", INGEST_LOCK).execute(&mut *connection).await?;
        let write::Booked { fresh: stored, older } = write::events(connection, events).await?;
        ingested.stored = stored.len();
        ingested.ended = stored.iter().filter(|(_, _, kind)| *kind == ENDED).count();
        ingested.repeated = events.len() - stored.len();
        let mut touched: Vec<Uuid> = stored.iter().map(|(job, _, _)| *job).collect();
        touched.sort_unstable();
        touched.dedup();
        if touched.is_empty() {
            transaction.rollback().await?;
            return Ok(ingested);
        }
        let known: HashSet<Uuid> = older.iter().map(|(job, _, _)| *job).collect();
        let by_job = self.all_events(connection, &touched, events, stored, older).await?;
        let mut folded: Vec<Folded> = by_job.values().filter_map(|events| fold(events)).collect();
        folded.sort_by_key(|folded| known.contains(&folded.job.id.0));
        let new = folded.partition_point(|folded| !known.contains(&folded.job.id.0));
        let (new, changed) = folded.split_at(if new < JOBS_COPIED_FROM { 0 } else { new });
        fresh::jobs(connection, new).await?;
        fresh::attempts(connection, new).await?;
        write::jobs(connection, changed).await?;
        write::attempts(connection, changed).await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", MONEY_LOCK).execute(&mut *connection).await?;
        let requests = load::requests(connection, &touched).await?;
        let charges = settle_all(&folded, requests);
        write::charges(connection, &charges).await?;
        rollup::mark(connection, touched.iter().copied()).await?;
        transaction.commit().await?;
        self.keep_recent(&folded, by_job);
        Ok(ingested)
    }

    /// All events of the jobs that have news: of this batch, kept from before, or read back.
    async fn all_events(
        &self,
        connection: &mut sqlx::PgConnection,
        touched: &[Uuid],
        events: &[Checked],
        stored: Vec<Key>,
        older: Vec<Key>,
    ) -> Result<ByJob, Error> {
        let mut by_job = ByJob::new();
        // Of two events with the same key in one batch, the first was stored; so is only the first folded.
        let mut wanted: HashSet<Key> = stored.into_iter().collect();
        for Checked { event, .. } in events {
            if wanted.remove(&columns::key(event)) {
                by_job.entry(event.job.0).or_default().push(Arc::clone(event));
            }
        }
        let mut missing: BTreeSet<Key> =
            older.into_iter().filter(|(job, _, _)| touched.binary_search(job).is_ok()).collect();
        let kept: Vec<Arc<Event>> = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            touched.iter().flat_map(|job| recent.take(*job)).collect()
        };
        let kept: Vec<Arc<Event>> =
            kept.into_iter().filter(|event| missing.remove(&columns::key(event))).collect();
        let missing: Vec<Key> = missing.into_iter().collect();
        let read = if missing.is_empty() { Vec::new() } else { load::events(connection, &missing).await? };
        for event in kept.into_iter().chain(read.into_iter().map(Arc::new)) {
            by_job.entry(event.job.0).or_default().push(event);
        }
        Ok(by_job)
    }

    /// Keeps the events of jobs that go on; hardly anything follows an end.
    fn keep_recent(&self, folded: &[Folded], mut by_job: ByJob) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for Folded { job, .. } in folded.iter().filter(|folded| folded.job.ended_at_ms.is_none()) {
            if let Some(events) = by_job.remove(&job.id.0) {
                recent.keep(job.id.0, events);
            }
        }
    }
}

/// Events of jobs.
type ByJob = BTreeMap<Uuid, Vec<Arc<Event>>>;

fn settle_all(folded: &[Folded], mut requests: load::Requests) -> Vec<Charged> {
    let mut charges = Vec::new();
    for Folded { job, money, .. } in folded {
        // Attempts that were reserved for and that no event tells of: only the job's end settles them.
        let nothing = Told::nothing(job.ended_at_ms.is_some());
        let reserved = requests.remove(&job.id.0).unwrap_or_default();
        let numbers: BTreeSet<u32> = money.keys().chain(reserved.keys()).copied().collect();
        for attempt in numbers {
            let told = money.get(&attempt).unwrap_or(&nothing);
            if let Some(row) = charge::settle(reserved.get(&attempt).cloned(), told) {
                charges.push(Charged { job: job.id, attempt, tenant: job.tenant.clone(), row });
            }
        }
    }
    charges
}
