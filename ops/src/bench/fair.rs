//! Whether many jobs stay out of the way of others: a tenant with a few beside one with a flood, and urgent jobs
//! behind a flood of those that are not. Each against the same jobs alone on the same fleet.
//!
//! One worker with some slots; it runs jobs for a while, so that there is a real queue. Its backend's bound is one
//! job a slot, where the shipped one is eight: what was assigned waits in the order in which it came, and only
//! what was not can be fair.

use super::ground::{Ground, Lay};
use super::report::Row;
use super::starts::{Starts, starts};
use super::{BenchOptions, load};
use crate::audience::Audience;
use crate::figures::percentile;
use crate::submit;
use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use runtime::broker::Broker;
use schemas::topology::stream;
use schemas::{Event, Fact, Job, JobId, JobState, Lane, Tenant, codec, subjects};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Slots of the worker, several times what the few need.
const SLOTS: u64 = 40;
const BACKLOG_PER_SLOT: u32 = 1;
/// Jobs of the tenant with few, and of the one with many.
const FEW: usize = 10;
const MANY: usize = 100_000;
/// What one of those takes.
const RUN_MS: u64 = 500;
/// What an urgent one takes, and one of those that it comes behind.
const URGENT_RUN_MS: u64 = 50;
/// Urgent ones a second: half of what is kept for them.
const URGENT_RATE: u64 = 100;
/// The urgent ones' percentiles, per mille.
const PERCENTILES: [(&str, usize); 2] = [("p50", 500), ("p99", 990)];
/// Half of the slots are taken within this.
const BUSY_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Measures.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let mut rows = few_beside_many(options, audience).await?;
    rows.extend(interactive_behind_many(options, audience).await?);
    Ok(rows)
}

async fn few_beside_many(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let (mut alone_s, mut beside_s, mut shares, mut given_up) = (vec![], vec![], vec![], false);
    for run in 0..options.scale.runs {
        let few = few(options).await?;
        let (alone, beside) = (few.alone.as_secs_f64(), few.beside.unwrap_or(options.scale.patience));
        let beside = beside.as_secs_f64();
        let line = if few.beside.is_none() { "NOT DONE, given up" } else { "done" };
        audience.line(&format!(
            "  run {}: {FEW} jobs alone done after {alone:.2} s, beside {} of another tenant {line} after {beside:.2} s",
            run + 1,
            few.many
        ));
        given_up |= few.beside.is_none();
        alone_s.push(alone);
        beside_s.push(beside);
        shares.push(beside / alone);
    }
    let of = if given_up { Row::of_given_up } else { Row::of };
    let rows = [
        Row::of("fair.few_alone", "s", &alone_s),
        of("fair.few_beside", "s", &beside_s),
        of("fair.few_beside_many", "", &shares),
    ];
    Ok(rows.into_iter().flatten().collect())
}

struct Few {
    alone: Duration,
    many: usize,
    /// None when it was given up.
    beside: Option<Duration>,
}

async fn few(options: &BenchOptions) -> anyhow::Result<Few> {
    let ground = lay(options, RUN_MS).await?;
    let few = few_on(&ground, MANY.min(options.scale.backlog), options.scale.patience).await;
    ground.clear().await?;
    few
}

async fn few_on(ground: &Ground, many: usize, patience: Duration) -> anyhow::Result<Few> {
    let tenant = Tenant::new("few")?;
    let jobs = |count: usize| (0..count).map(|_| load::job(Lane::Standard, &tenant)).collect::<Vec<_>>();
    warm(&ground.broker, patience).await?;
    let alone = until_done(&ground.broker, &jobs(FEW), patience).await?.context("alone they did not end")?;
    load::fill(&ground.broker, Lane::Standard, &Tenant::new("many")?, many).await?;
    busy(ground).await?;
    let beside = until_done(&ground.broker, &jobs(FEW), patience).await?;
    Ok(Few { alone, many, beside })
}

/// From the publish of these jobs to the end of the last; none when it is given up.
async fn until_done(broker: &Broker, jobs: &[Job], patience: Duration) -> anyhow::Result<Option<Duration>> {
    let tenant = &jobs.first().context("no jobs")?.tenant;
    let mut events = broker.client.subscribe(subjects::events_of_tenant(tenant)).await?;
    broker.client.flush().await?;
    let mut open: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
    let started = Instant::now();
    submit::jobs(&broker.publisher, jobs).await?;
    let ending = async {
        while !open.is_empty() {
            let message = events.next().await.context("the connection closed")?;
            let event: Event = codec::decode(None, &message.payload)?;
            if let Fact::Ended { state, .. } = event.fact
                && open.remove(&event.job)
            {
                ensure!(state == JobState::Completed, "job {} is {}", event.job, state.as_str());
            }
        }
        anyhow::Ok(started.elapsed())
    };
    tokio::time::timeout(patience, ending).await.ok().transpose()
}

async fn interactive_behind_many(
    options: &BenchOptions,
    audience: &mut impl Audience,
) -> anyhow::Result<Vec<Row>> {
    let alone = interactive(options, 0).await?;
    ensure!(alone.missing == 0, "{} jobs did not start on an empty fleet", alone.missing);
    let behind = interactive(options, options.scale.backlog).await?;
    if behind.missing > 0 {
        audience.line(&format!("  {} interactive jobs DID NOT START, given up", behind.missing));
    }
    let of = if behind.missing > 0 { Row::of_given_up } else { Row::of };
    let mut rows = Vec::new();
    for (name, per_mille) in PERCENTILES {
        let ms = |starts: &Starts| percentile(&starts.waited_us, per_mille).map(|us| us as f64 / 1e3);
        let (alone, behind) = ms(&alone).zip(ms(&behind)).context("nothing was published")?;
        audience.line(&format!(
            "  interactive, publish to start, {name}: {alone:.1} ms alone, {behind:.1} ms behind {} of lane batch",
            options.scale.backlog
        ));
        rows.extend(Row::of(&format!("fair.interactive_alone.{name}"), "ms", &[alone]));
        rows.extend(of(&format!("fair.interactive_behind.{name}"), "ms", &[behind]));
        rows.extend(of(&format!("fair.interactive_behind_many.{name}"), "", &[behind / alone]));
    }
    Ok(rows)
}

/// Interactive jobs, while so many of lane batch wait.
async fn interactive(options: &BenchOptions, waiting: usize) -> anyhow::Result<Starts> {
    let ground = lay(options, URGENT_RUN_MS).await?;
    let timed = async {
        warm(&ground.broker, options.scale.patience).await?;
        if waiting > 0 {
            load::fill(&ground.broker, Lane::Batch, &Tenant::new("many")?, waiting).await?;
            busy(&ground).await?;
        }
        starts(&ground.broker, URGENT_RATE, options.scale.open_loop, options.scale.patience).await
    };
    let timed = timed.await;
    ground.clear().await?;
    timed
}

/// A broker, a router and the worker.
async fn lay(options: &BenchOptions, run_ms: u64) -> anyhow::Result<Ground> {
    let lay = Lay { backlog_per_slot: Some(BACKLOG_PER_SLOT), ..Lay::default() };
    let mut ground = Ground::lay(options, lay).await?;
    ground.routers(1).await?;
    let worker = [
        ("ARGOSY_WORKER__SLOTS", SLOTS.to_string()),
        ("ARGOSY_NULL__CLASS", "image-small".to_owned()),
        ("ARGOSY_NULL__RUN_MS", run_ms.to_string()),
        ("ARGOSY_NULL__TELL", "true".to_owned()),
    ];
    ground.workers("local", 1, &worker).await?;
    ground.joined(1).await?;
    Ok(ground)
}

/// The first job finds everything for the first time.
async fn warm(broker: &Broker, patience: Duration) -> anyhow::Result<()> {
    let first = load::job(Lane::Standard, &Tenant::new("first")?);
    until_done(broker, &[first], patience).await?.context("the first job did not end")?;
    Ok(())
}

/// Waits until half of the slots are taken.
async fn busy(ground: &Ground) -> anyhow::Result<()> {
    let looking = async {
        while ground.messages(stream::WORK).await? < SLOTS / 2 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BUSY_WITHIN, looking).await.context("the worker did not become busy")?
}
