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
use anyhow::{Context as _, ensure};
use client::submit;
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
/// How often the few come beside the many: at moments spread over that time, since slots fall free together.
const TIMES: u32 = 5;
/// What an urgent one takes, and one of those that it comes behind.
const URGENT_RUN_MS: u64 = 50;
/// Urgent ones a second: half of what is kept for them.
const URGENT_RATE: u64 = 100;
/// The urgent ones' percentiles, per mille.
const PERCENTILES: [(&str, usize); 2] = [("p50", 500), ("p99", 990)];
/// What is alone is over within this.
const ALONE_WITHIN: Duration = Duration::from_secs(30);
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
    let many = MANY.min(options.scale.backlog);
    for run in 1..=options.scale.runs {
        let few = few(options, many).await?;
        let alone = few.alone.as_secs_f64();
        audience.line(&format!("  run {run}: {FEW} jobs alone done after {alone:.2} s"));
        for beside in few.beside {
            let (words, time) = match beside {
                Some(time) => ("done", time),
                None => ("NOT DONE, given up", options.scale.patience),
            };
            let beside_many = time.as_secs_f64();
            audience.line(&format!("    beside {many} of another tenant {words} after {beside_many:.2} s"));
            given_up |= beside.is_none();
            beside_s.push(beside_many);
            shares.push(beside_many / alone);
        }
        alone_s.push(alone);
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
    /// Each time that they came; none when it was given up, which is the last.
    beside: Vec<Option<Duration>>,
}

async fn few(options: &BenchOptions, many: usize) -> anyhow::Result<Few> {
    let ground = lay(options, RUN_MS).await?;
    let few = few_on(&ground, many, options.scale.patience).await;
    ground.clear().await?;
    few
}

async fn few_on(ground: &Ground, many: usize, patience: Duration) -> anyhow::Result<Few> {
    let broker = &ground.broker;
    let tenant = Tenant::new("few")?;
    let jobs = || (0..FEW).map(|_| load::job(Lane::Standard, &tenant)).collect::<Vec<_>>();
    warm(broker).await?;
    let alone = until_done(broker, &jobs(), ALONE_WITHIN).await?.context("alone they did not end")?;
    load::fill(broker, Lane::Standard, &Tenant::new("many")?, many).await?;
    busy(ground).await?;
    let mut beside = Vec::new();
    for nth in 0..TIMES {
        tokio::time::sleep(Duration::from_millis(RUN_MS) * nth / TIMES).await;
        let took = until_done(broker, &jobs(), patience).await?;
        still_waiting(ground).await?;
        beside.push(took);
        if took.is_none() {
            break;
        }
    }
    Ok(Few { alone, beside })
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
    let missing = |all: &[Starts]| all.iter().map(|starts| starts.missing).sum::<usize>();
    ensure!(missing(&alone) == 0, "{} jobs did not start on an empty fleet", missing(&alone));
    let behind = interactive(options, options.scale.backlog).await?;
    let missing = missing(&behind);
    if missing > 0 {
        audience.line(&format!("  {missing} interactive jobs DID NOT START, given up"));
    }
    let of = if missing > 0 { Row::of_given_up } else { Row::of };
    let mut rows = Vec::new();
    for (name, per_mille) in PERCENTILES {
        let ms = |starts: &Starts| Some(percentile(&starts.waited_us, per_mille)? as f64 / 1e3);
        let all = |runs: &[Starts]| runs.iter().map(ms).collect::<Option<Vec<f64>>>();
        let (alone, behind) = all(&alone).zip(all(&behind)).context("nothing was published")?;
        for (alone, behind) in alone.iter().zip(&behind) {
            audience.line(&format!(
                "  interactive, publish to start, {name}: {alone:.1} ms alone, {behind:.1} ms behind {} of lane batch",
                options.scale.backlog
            ));
        }
        let shares: Vec<f64> = behind.iter().zip(&alone).map(|(behind, alone)| behind / alone).collect();
        rows.extend(Row::of(&format!("fair.interactive_alone.{name}"), "ms", &alone));
        rows.extend(of(&format!("fair.interactive_behind.{name}"), "ms", &behind));
        rows.extend(of(&format!("fair.interactive_behind_many.{name}"), "", &shares));
    }
    Ok(rows)
}

/// Interactive jobs, while so many of lane batch wait; several times in a row, until some do not start.
async fn interactive(options: &BenchOptions, waiting: usize) -> anyhow::Result<Vec<Starts>> {
    let ground = lay(options, URGENT_RUN_MS).await?;
    let timed = async {
        warm(&ground.broker).await?;
        let mut patience = ALONE_WITHIN;
        if waiting > 0 {
            load::fill(&ground.broker, Lane::Batch, &Tenant::new("many")?, waiting).await?;
            busy(&ground).await?;
            patience = options.scale.patience;
        }
        let mut runs = Vec::new();
        for _ in 0..options.scale.runs {
            let starts = starts(&ground.broker, URGENT_RATE, options.scale.open_loop, patience).await?;
            if waiting > 0 {
                still_waiting(&ground).await?;
            }
            let missing = starts.missing;
            runs.push(starts);
            if missing > 0 {
                break;
            }
        }
        Ok(runs)
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
async fn warm(broker: &Broker) -> anyhow::Result<()> {
    let first = load::job(Lane::Standard, &Tenant::new("first")?);
    until_done(broker, &[first], ALONE_WITHIN).await?.context("the first job did not end")?;
    Ok(())
}

/// What is to be in the way is still there.
async fn still_waiting(ground: &Ground) -> anyhow::Result<()> {
    ensure!(ground.messages(stream::JOBS).await? > 0, "the flood was over before the jobs beside it");
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
