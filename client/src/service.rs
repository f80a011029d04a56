//! The facade for a Rust service: one connection, and the few calls that nearly every service makes.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use runtime::broker::Broker;
use runtime::clock::now_ms;
use runtime::config::NatsConfig;
use runtime::publish::Published;
use schemas::api::{CancelReply, JobRequest, StatusReply};
use schemas::{Artifact, Body, Event, Input, Job, JobId, Tenant};

use crate::follow::{JobView, Since, Tracker};
use crate::{api, files, follow, submit};

/// A connection to a fleet. It reconnects by itself for as long as it lives.
#[derive(Clone)]
pub struct Client {
    broker: Broker,
}

impl Client {
    /// Connects to the broker of a fleet, such as `nats://127.0.0.1:4222`; several addresses are separated by commas.
    /// The broker sees the connection under `name`.
    ///
    /// # Errors
    /// No broker answers for ten seconds, or it is too old.
    pub async fn connect(url: &str, name: &str) -> anyhow::Result<Self> {
        Self::connect_with(&NatsConfig { url: url.into(), ..NatsConfig::default() }, name).await
    }

    /// Connects with credentials, another patience, or group writes.
    ///
    /// # Errors
    /// As [`Client::connect`]; the credentials file cannot be used.
    pub async fn connect_with(config: &NatsConfig, name: &str) -> anyhow::Result<Self> {
        Ok(Self { broker: Broker::connect(config, name).await? })
    }

    /// Submits a job and waits until the broker has stored it: from then on it is never lost. The same job may be
    /// submitted again after an error; it runs once.
    ///
    /// # Errors
    /// The broker is away, or its stream is full. Whether the job was accepted is then unknown.
    pub async fn submit(&self, job: &Job) -> anyhow::Result<Published> {
        submit::job(&self.broker.publisher, job).await
    }

    /// Stores a file that a job brings, and returns the entry for `body.inputs`.
    ///
    /// # Errors
    /// The file is too large, or the store refused it.
    pub async fn upload(&self, tenant: &Tenant, name: &str, bytes: &[u8]) -> anyhow::Result<Input> {
        submit::input(&self.broker.jetstream, tenant, name, bytes).await
    }

    /// Follows a job from its beginning, whether it has ended or not.
    ///
    /// # Errors
    /// The stream of events is not there, or the broker does not answer.
    pub async fn follow(&self, job: JobId) -> anyhow::Result<Following> {
        let events = follow::events(&self.broker.jetstream, &[job], Since::Ever).await?;
        let tracker = Tracker::of([job]);
        Ok(Following { client: self.clone(), job, events: events.boxed(), tracker })
    }

    /// Where a tenant's job is, what happened to it, and what it waits for. To a tenant a job of another is unknown.
    ///
    /// # Errors
    /// As [`api::request`].
    pub async fn status(&self, tenant: &Tenant, job: JobId) -> anyhow::Result<StatusReply> {
        api::request_as(&self.broker.client, Some(tenant), "status", &JobRequest::of(job)).await
    }

    /// Cancels a tenant's job wherever it is. What the provider charges for work that had begun is charged.
    ///
    /// # Errors
    /// As [`api::request`].
    pub async fn cancel(&self, tenant: &Tenant, job: JobId) -> anyhow::Result<CancelReply> {
        api::request_as(&self.broker.client, Some(tenant), "cancel", &JobRequest::of(job)).await
    }

    /// All files that a job made. The view itself names the first [`schemas::Manifest::INLINE_MAX`].
    ///
    /// # Errors
    /// The list of very many files is a file, which is not in the store.
    pub async fn artifacts(&self, view: &JobView) -> anyhow::Result<Vec<Artifact>> {
        files::all(&self.broker.jetstream, view).await
    }

    /// Fetches a file that a job made, and compares it with its announced hash.
    ///
    /// # Errors
    /// The file is not in the store, or not what was announced.
    pub async fn fetch(&self, artifact: &Artifact) -> anyhow::Result<bytes::Bytes> {
        files::fetch(&self.broker.jetstream, artifact).await
    }

    /// The connection below, for the functions of the other modules.
    #[must_use]
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }
}

/// A job with a new id, made now: lane `standard`, without constraints and preferences. Its fields are public.
#[must_use]
pub fn new_job(tenant: Tenant, body: Body) -> Job {
    Job::new(JobId::new(), tenant, body, now_ms())
}

/// A job that is followed until it is over.
pub struct Following {
    client: Client,
    job: JobId,
    events: BoxStream<'static, anyhow::Result<Event>>,
    tracker: Tracker,
}

impl Following {
    /// Waits for the next event and returns what is then known of the job; none once the job is over. A job that
    /// repeats the idempotency key of an earlier one is that job, which is then followed in its place.
    ///
    /// # Errors
    /// The stream of events broke off; follow the job again.
    pub async fn next(&mut self) -> anyhow::Result<Option<&JobView>> {
        if let Some(first) = self.view().same_as {
            *self = self.client.clone().follow(first).await?;
        }
        if self.view().is_over() {
            return Ok(None);
        }
        let event = self.events.next().await.context("the stream of events ended")??;
        self.tracker.note(&event);
        Ok(Some(self.view()))
    }

    /// Waits until the job is over, and returns how it ended.
    ///
    /// # Errors
    /// As [`Following::next`].
    pub async fn end(mut self) -> anyhow::Result<JobView> {
        while self.next().await?.is_some() {}
        Ok(self.view().clone())
    }

    /// What is known of the job so far.
    #[must_use]
    pub fn view(&self) -> &JobView {
        let jobs: &BTreeMap<JobId, JobView> = self.tracker.jobs();
        &jobs[&self.job]
    }
}
