//! What one does with a running fleet: submit, wait for the ends, audit.

use super::Stack;
use crate::audit;
use anyhow::{Context as _, bail};
use client::follow::{self, Since, Tracker};
use client::submit;
use futures::StreamExt as _;
use ledger_read::Reader;
use policy::invariants::AuditReport;
use schemas::api::BackendsReply;
use schemas::{Health, Job, JobId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Connections for reading; the ledger's own are its own.
const READ_CONNECTIONS: u32 = 4;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Stack {
    /// Publishes jobs through the path every client takes.
    ///
    /// # Errors
    /// One was not accepted.
    pub async fn submit(&self, jobs: &[Job]) -> anyhow::Result<()> {
        submit::jobs(&self.broker.publisher, jobs).await
    }

    /// Waits until all of these jobs have ended, from the events; returns how.
    ///
    /// # Errors
    /// The deadline passed: the error says which are where.
    pub async fn wait_ended(&self, jobs: &[JobId], within: Duration) -> anyhow::Result<Tracker> {
        let mut tracker = Tracker::of(jobs.iter().copied());
        let following = async {
            let mut events = Box::pin(follow::events(&self.broker.jetstream, jobs, Since::Ever).await?);
            while !tracker.is_done() {
                let event = events.next().await.context("stream EVENTS ended")??;
                tracker.note(&event);
            }
            anyhow::Ok(())
        };
        if let Ok(followed) = tokio::time::timeout(within, following).await {
            followed?;
            return Ok(tracker);
        }
        let mut open: BTreeMap<&str, Vec<JobId>> = BTreeMap::new();
        for (job, view) in tracker.jobs().iter().filter(|(_, view)| !view.state.is_terminal()) {
            open.entry(view.state.as_str()).or_default().push(*job);
        }
        bail!("{} of {} jobs ended within {within:?}; open: {open:?}", tracker.ended(), jobs.len())
    }

    /// Waits until a router sees so many healthy workers.
    ///
    /// # Errors
    /// The deadline passed: the error says what it saw last.
    pub async fn wait_workers(&self, workers: usize, within: Duration) -> anyhow::Result<BackendsReply> {
        let mut seen = String::from("no router answered");
        let looking = async {
            loop {
                let asked =
                    client::api::request_empty::<BackendsReply>(&self.broker.client, "backends").await;
                match asked {
                    Ok(reply) if healthy(&reply) >= workers && reply.ledger_available => return reply,
                    Ok(reply) => {
                        seen = format!(
                            "{} of {workers} workers healthy, ledger available: {}",
                            healthy(&reply),
                            reply.ledger_available
                        );
                    }
                    Err(error) => seen = format!("{error:#}"),
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(within, looking).await {
            Ok(reply) => Ok(reply),
            Err(_) => bail!("the fleet was not complete within {within:?}: {seen}"),
        }
    }

    /// A connection to the ledger's database, for reading.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn reader(&self) -> anyhow::Result<Reader> {
        Ok(Reader::connect(&self.database_url, READ_CONNECTIONS).await?)
    }

    /// Waits until the ledger has booked the ends of these jobs and holds no reservation any more, then
    /// audits streams, ledger and the simulators' invoices. What is not booked by the deadline is a finding.
    ///
    /// # Errors
    /// The database or a simulator does not answer.
    pub async fn audit(&self, accepted: &[JobId], within: Duration) -> anyhow::Result<AuditReport> {
        let reader = self.reader().await?;
        let accepted: BTreeSet<JobId> = accepted.iter().copied().collect();
        let settled = audit::settled(&reader, &accepted, &self.simulators, within).await;
        reader.close().await;
        settled
    }
}

fn healthy(reply: &BackendsReply) -> usize {
    let workers = reply.backends.iter().flat_map(|backend| &backend.workers);
    workers.filter(|offer| offer.health == Health::Healthy).count()
}
