//! What routers say of jobs that come with an idempotency key: a key that was used before makes no new job.

use anyhow::Context as _;
use async_nats::Subscriber;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use runtime::broker::Broker;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{Event, Fact, Failure, Job, JobId, subjects};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A router that has the job in hand has told by then; one that is away tells whoever follows the job.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Up to so many jobs are listened to by a subject each; more, by all events.
const SUBJECTS_MAX: usize = 32;

/// What a router said of a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// It is this earlier job.
    SameAs(JobId),
    /// It was not accepted.
    Refused(Failure),
}

/// Listens to events of jobs with a key, from before they are published.
pub(crate) struct Keyed {
    jobs: BTreeSet<JobId>,
    events: SelectAll<Subscriber>,
}

impl Keyed {
    /// Begins to listen.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(crate) async fn listen(broker: &Broker, jobs: &[Job]) -> anyhow::Result<Self> {
        let keyed = jobs.iter().filter(|job| job.idempotency_key.is_some());
        let jobs: BTreeSet<JobId> = keyed.map(|job| job.id).collect();
        let filters: Vec<String> = if jobs.len() > SUBJECTS_MAX {
            vec![subjects::EVENTS_FILTER.to_owned()]
        } else {
            jobs.iter().map(|job| subjects::events_of_job(*job)).collect()
        };
        let mut events = Vec::with_capacity(filters.len());
        for filter in filters {
            events.push(broker.client.subscribe(filter).await.context("listening to events")?);
        }
        broker.client.flush().await.context("listening to events")?;
        Ok(Self { jobs, events: select_all(events) })
    }

    /// What was told of them, as far as it is told soon.
    pub(crate) async fn told(mut self) -> BTreeMap<JobId, Told> {
        let mut told = BTreeMap::new();
        let listening = async {
            while !self.jobs.is_empty() {
                let Some(message) = self.events.next().await else { return };
                let header = message.headers.as_ref().and_then(|all| Some(all.get(CONTENT_TYPE)?.as_str()));
                let Ok(event) = codec::decode::<Event>(header, &message.payload) else { continue };
                if !self.jobs.remove(&event.job) {
                    continue;
                }
                match event.fact {
                    Fact::Duplicate { of } => drop(told.insert(event.job, Told::SameAs(of))),
                    Fact::Refused { failure } => drop(told.insert(event.job, Told::Refused(failure))),
                    // It is made.
                    _ => {}
                }
            }
        };
        let _ = tokio::time::timeout(TOLD_WITHIN, listening).await;
        told
    }
}
