//! The yardstick: what the broker lets the best client do that we can write, with the same messages on the same
//! streams, and no routing. What a figure of ours is a share of is measured right before it, in each run anew: a
//! machine that is shared changes by the minute.
//!
//! `limit.bridge` moves messages of a job's size from one work queue to another (consume, publish confirmed,
//! acknowledge). `limit.router_shapes` does what a router does for a free job: what it publishes is as large as an
//! assignment with its decision.

use super::cpu::{self, between};
use super::ground::{Ground, Lay};
use super::open_loop::open_loop;
use super::report::Row;
use super::{BenchOptions, load};
use crate::audience::Audience;
use anyhow::{Context as _, anyhow, bail};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use policy::fleet::Fleet;
use policy::plan::{Assign, Plan};
use runtime::broker::Broker;
use runtime::clock::now_us;
use runtime::publish::{Message, Sent};
use schemas::topology::{intake_consumer_name, stream};
use schemas::{
    Assignment, Backend, CarriedDecision, Class, JobId, Lane, Queue, SCHEMA_VERSION, codec, subjects,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages of one pull, and published without an acknowledgement at once.
const PULLED: usize = 1_000;

/// Measures the bare bridge.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let mut bridge = Vec::new();
    for run in 0..options.scale.runs {
        let moved = moved(options, false).await?;
        audience.line(&format!("  run {}: {:.0} messages/s", run + 1, moved.per_second));
        bridge.push(moved.per_second);
    }
    Ok(Row::of("limit.bridge", "messages/s", &bridge).into_iter().collect())
}

/// Measures once what a router is compared with.
pub(super) async fn router_shapes(options: &BenchOptions) -> anyhow::Result<Moved> {
    moved(options, true).await
}

async fn moved(options: &BenchOptions, in_shape: bool) -> anyhow::Result<Moved> {
    let ground = Ground::lay(options, Lay::default()).await?;
    let moved = move_all(&ground, options.scale.jobs, in_shape).await;
    ground.clear().await?;
    moved
}

/// What a measurement came to.
pub(super) struct Moved {
    pub(super) per_second: f64,
    pub(super) client_us: f64,
    pub(super) server_us: f64,
}

/// Fills the stream of jobs, then moves all of them on.
async fn move_all(ground: &Ground, jobs: usize, in_shape: bool) -> anyhow::Result<Moved> {
    let broker = &ground.broker;
    load::fill(broker, Lane::Standard, &load::tenant()?, jobs).await?;
    let assignment = if in_shape { Some(assignment(ground)?) } else { None };
    let watched = ground.watched();
    let (before, own_before, started) = (watched.used()?, cpu::own_us()?, Instant::now());
    bridge(broker, jobs, assignment.as_deref()).await?;
    let took = started.elapsed();
    let used = between(&before, &watched.used()?);
    let each = |us: u64| us as f64 / jobs as f64;
    Ok(Moved {
        per_second: jobs as f64 / took.as_secs_f64(),
        client_us: each(cpu::own_us()? - own_before),
        server_us: each(used.get("nats-server").copied().unwrap_or_default()),
    })
}

/// An assignment as a router writes it for a plain job, as bytes.
fn assignment(ground: &Ground) -> anyhow::Result<Vec<u8>> {
    let job = load::job(Lane::Standard, &load::tenant()?);
    let documents = client::documents::Documents::simulated();
    let policy = serde_json::from_str(&documents.policy)?;
    let prices = serde_json::from_str(&documents.prices)?;
    let tenants: schemas::TenantsConfig = serde_json::from_str(&documents.tenants)?;
    let admitted = policy::admit::admit(&job, &ground.catalog, &policy, 0, job.time_ms)
        .map_err(|failure| anyhow!("the benchmark's own job is refused: {}", failure.message))?;
    let mut fleet = Fleet::default();
    for offer in load::offers(&ground.catalog)? {
        let told_at_ms = offer.time_ms;
        fleet.upsert_offer(offer, told_at_ms);
    }
    let plan = policy::plan::plan(&policy::plan::PlanInput {
        job: &job,
        admitted: &admitted,
        attempt: 1,
        counted_attempts: 0,
        history: &[],
        fleet: &fleet,
        catalog: &ground.catalog,
        prices: &prices,
        policy: &policy,
        tenant: tenants.of(&job.tenant),
        ledger_available: true,
        unreadable: None,
        refused: &[],
        choice: policy::plan::Choice::Weighted,
        now_ms: job.time_ms,
    });
    let Plan::Assign(assign) = plan else { bail!("the benchmark's own job is not placed") };
    let Assign { decision, backend, class, capability, model, timeout_ms, reserve_micro_usd } = *assign;
    Ok(codec::encode(&Assignment {
        schema_version: SCHEMA_VERSION,
        time_ms: job.time_ms,
        submitted_at_ms: job.time_ms,
        attempt: 1,
        counted_attempts: 0,
        backend,
        class,
        capability,
        model,
        timeout_ms,
        reserved_micro_usd: reserve_micro_usd,
        decision: Some(CarriedDecision::new(&decision)),
        warnings: Vec::new(),
        job,
        history: Vec::new(),
    }))
}

/// Consumes, publishes (the assignment where there is one, else what it consumed), acknowledges; as much at once as
/// pays.
async fn bridge(broker: &Broker, jobs: usize, assignment: Option<&[u8]>) -> anyhow::Result<()> {
    let name = intake_consumer_name(Lane::Standard);
    let consumer = runtime::topology::consumer(&broker.jetstream, stream::JOBS, &name).await?;
    let (local, queue) = place()?;
    let publisher = &broker.publisher;
    let mut flying = VecDeque::new();
    let mut pulled = 0;
    while pulled < jobs {
        let mut batch = consumer.batch().max_messages(PULLED.min(jobs - pulled)).messages().await?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow!("pulling: {error}"))?;
            pulled += 1;
            let id = JobId::new();
            let payload = assignment.unwrap_or(&message.payload).to_vec();
            let work = Message::raw(subjects::work(&local, &queue, id), format!("{id}.1.work"), payload);
            flying.push_back((publisher.send(work).await, message));
            if flying.len() > PULLED {
                land(&mut flying).await?;
            }
        }
    }
    while !flying.is_empty() {
        land(&mut flying).await?;
    }
    Ok(())
}

/// The oldest assignment is stored: its message is done with.
async fn land(flying: &mut VecDeque<(Sent, async_nats::jetstream::Message)>) -> anyhow::Result<()> {
    let Some((sent, message)) = flying.pop_front() else { return Ok(()) };
    sent.landed().await?;
    message.ack().await.map_err(|error| anyhow!("acknowledging: {error}"))
}

/// Where raw work waits.
fn place() -> anyhow::Result<(Backend, Queue)> {
    Ok((Backend::new("local")?, Queue::of_class(Class::new("image-small")?)))
}

/// Raw latency, what a fleet's is compared with: published, stored, pulled, published, stored, pulled. Sorted,
/// microseconds.
pub(super) async fn two_hops(options: &BenchOptions, rate: u64) -> anyhow::Result<Vec<u64>> {
    let ground = Ground::lay(options, Lay::default()).await?;
    let broker = &ground.broker;
    let name = intake_consumer_name(Lane::Standard);
    let first = runtime::topology::consumer(&broker.jetstream, stream::JOBS, &name).await?;
    let (local, queue) = place()?;
    let spec = schemas::topology::work_consumer(&local, &queue);
    let second = runtime::topology::ensure_consumer(&broker.jetstream, &spec).await?;
    let total = usize::try_from(rate * options.scale.open_loop.as_secs())?;
    let hop = async {
        let mut at_work = FuturesUnordered::new();
        loop {
            let mut batch =
                first.batch().max_messages(256).expires(Duration::from_secs(1)).messages().await?;
            loop {
                tokio::select! {
                    message = batch.next() => match message {
                        None => break,
                        Some(message) => {
                            let message = message.map_err(|error| anyhow!("pulling: {error}"))?;
                            let subject = subjects::work(&local, &queue, JobId::new());
                            at_work.push(async move {
                                let id = JobId::new().to_string();
                                let work = Message::raw(subject, id, message.payload.to_vec());
                                broker.publisher.publish(&work).await?;
                                message.ack().await.map_err(|error| anyhow!("acknowledging: {error}"))
                            });
                        }
                    },
                    Some(done) = at_work.next() => done?,
                }
            }
        }
    };
    let arrive = async {
        let mut latencies = Vec::with_capacity(total);
        while latencies.len() < total {
            let mut batch =
                second.batch().max_messages(256).expires(Duration::from_secs(1)).messages().await?;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| anyhow!("pulling: {error}"))?;
                let stamp = message.payload.first_chunk::<8>().context("no stamp")?;
                latencies.push((now_us() - i64::from_be_bytes(*stamp)).max(0).unsigned_abs());
                message.ack().await.map_err(|error| anyhow!("acknowledging: {error}"))?;
            }
        }
        anyhow::Ok(latencies)
    };
    let tenant = load::tenant()?;
    let publish = open_loop(rate, total, async || {
        let mut payload = now_us().to_be_bytes().to_vec();
        payload.extend([0; 300]);
        let id = JobId::new().to_string();
        let message = Message::raw(subjects::jobs(Lane::Standard, &tenant), id, payload);
        broker.publisher.publish(&message).await?;
        Ok(())
    });
    let mut latencies = tokio::select! {
        arrived = futures::future::try_join(publish, arrive) => arrived?.1,
        ended = hop => { let ended: anyhow::Result<()> = ended; ended?; unreachable!("the bridge has no end") }
    };
    ground.clear().await?;
    latencies.sort_unstable();
    Ok(latencies)
}
