//! The same router with next to nothing waiting and with a great many jobs waiting: what a job costs it, and what
//! memory it takes, also while there is no room for any of them.

use super::cpu::between;
use super::ground::{Ground, Lay};
use super::report::Row;
use super::{BenchOptions, load};
use crate::audience::Audience;
use anyhow::{Context as _, bail};
use schemas::Lane;
use schemas::topology::stream;
use std::time::{Duration, Instant};

/// What waits where little does.
const FEW: u64 = 1_000;
/// How often the queues are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a router is watched for which there is no room.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// A router that moves nothing for so long has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(30);

const MIB: f64 = 1024.0 * 1024.0;

/// Measures.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let jobs = options.scale.jobs;
    let few = place(options, jobs, FEW).await?;
    audience.line(&format!("  {FEW} waiting: {:.1} us of the router for each job", few.router_us));
    let many = place(options, jobs, options.scale.backlog as u64).await?;
    audience.line(&format!(
        "  {} waiting: {:.1} us, {:.0} MiB; the broker has {:.0} MiB",
        options.scale.backlog,
        many.router_us,
        many.router_bytes / MIB,
        many.server_bytes / MIB
    ));
    let memory = [few.router_bytes, many.router_bytes, idle(options).await?].map(|bytes| bytes / MIB);
    let largest = memory.iter().copied().fold(0.0, f64::max);
    let rows = [
        Row::of("backlog.cpu_few", "us/job", &[few.router_us]),
        Row::of("backlog.cpu_many", "us/job", &[many.router_us]),
        Row::of("backlog.cpu_growth", "", &[many.router_us / few.router_us]),
        Row::of("backlog.router_memory", "MiB", &[largest]),
        Row::of("backlog.router_memory_few", "MiB", &[memory[0]]),
        Row::of("backlog.router_memory_no_room", "MiB", &[memory[2]]),
        Row::of("backlog.server_memory", "MiB", &[many.server_bytes / MIB]),
    ];
    Ok(rows.into_iter().flatten().collect())
}

struct Placed {
    router_us: f64,
    router_bytes: f64,
    server_bytes: f64,
}

/// Has a router place so many jobs while so many wait.
async fn place(options: &BenchOptions, jobs: usize, waiting: u64) -> anyhow::Result<Placed> {
    let mut ground = Ground::lay(options, Lay::default()).await?;
    let tenant = load::tenant()?;
    let total = jobs.max(usize::try_from(waiting)?);
    let first = usize::try_from(waiting)?.min(total);
    load::fill(&ground.broker, Lane::Standard, &tenant, first).await?;
    let (broker, catalog) = (ground.broker.clone(), ground.catalog.clone());
    let placing = async {
        ground.routers(1).await?;
        let watched = ground.watched();
        let mut from = None;
        let mut filled = first as u64;
        let mut last = (0, Instant::now());
        loop {
            let done = ground.messages(stream::WORK).await?;
            if done > last.0 {
                last = (done, Instant::now());
            }
            if last.1.elapsed() > STALLED_AFTER {
                bail!("{done} jobs were placed, then nothing more; see {}", ground.dir().display());
            }
            // What the start costs is not counted.
            if from.is_none() && done > 0 {
                from = Some((done, watched.used()?));
            }
            if let Some((began, used)) = &from
                && done - began >= jobs as u64 * 9 / 10
            {
                let used = between(used, &watched.used()?);
                let resident = watched.resident_bytes();
                let of = |name: &str| resident.get(name).copied().unwrap_or_default() as f64;
                let router_us = used.get("router").copied().context("no router")? as f64;
                return anyhow::Ok(Placed {
                    router_us: router_us / (done - began) as f64,
                    router_bytes: of("router"),
                    server_bytes: of("nats-server"),
                });
            }
            let missing = (done + waiting).min(total as u64).saturating_sub(filled);
            if missing > 0 {
                load::fill(&ground.broker, Lane::Standard, &tenant, usize::try_from(missing)?).await?;
                filled += missing;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let placed = load::offer_during(&broker, &catalog, placing).await;
    ground.clear().await?;
    placed
}

/// A router with everything waiting and nowhere to place it; what it takes, bytes.
async fn idle(options: &BenchOptions) -> anyhow::Result<f64> {
    let mut ground = Ground::lay(options, Lay::default()).await?;
    load::fill(&ground.broker, Lane::Standard, &load::tenant()?, options.scale.backlog).await?;
    ground.routers(1).await?;
    tokio::time::sleep(IDLE_FOR).await;
    let resident = ground.watched().resident_bytes();
    ground.clear().await?;
    Ok(resident.get("router").copied().context("no router")? as f64)
}
