//! Jobs through routers alone: real decisions over three backends, onto work queues that nobody serves.

use super::cpu::between;
use super::ground::{Ground, Lay};
use super::report::{Row, find};
use super::{BenchOptions, load};
use crate::audience::Audience;
use anyhow::bail;
use schemas::Lane;
use schemas::topology::stream;
use std::time::{Duration, Instant};

/// How often the queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A router that moves nothing for so long has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// Of a hundred jobs, the first ones belong to the start.
const FROM_PERCENT: u64 = 10;

/// What a run came to.
pub(super) struct Routed {
    pub(super) per_second: f64,
    pub(super) router_us: f64,
    pub(super) server_us: f64,
}

/// Measures.
pub(super) async fn rows(
    options: &BenchOptions,
    before: &[Row],
    audience: &mut impl Audience,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (count, name) in [(1, "one"), (2, "two")] {
        let (mut rate, mut router, mut server) = (vec![], vec![], vec![]);
        for run in 0..options.scale.runs {
            let routed = route(options, count, options.scale.jobs).await?;
            audience.line(&format!("  {count} router(s), run {}: {:.0} jobs/s", run + 1, routed.per_second));
            rate.push(routed.per_second);
            router.push(routed.router_us);
            server.push(routed.server_us);
        }
        rows.extend(Row::of(&format!("router.{name}"), "jobs/s", &rate));
        rows.extend(Row::of(&format!("router.{name}.cpu.router"), "us/job", &router));
        rows.extend(Row::of(&format!("router.{name}.cpu.nats-server"), "us/job", &server));
        if let Some(limit) = find(before, "limit.router_shapes") {
            let share: Vec<f64> = rate.iter().map(|rate| rate / limit.spread.median).collect();
            rows.extend(Row::of(&format!("router.{name}.share_of_limit"), "", &share));
        }
    }
    Ok(rows)
}

/// Lets so many routers place so many jobs that lie there.
pub(super) async fn route(options: &BenchOptions, routers: usize, jobs: usize) -> anyhow::Result<Routed> {
    let mut ground = Ground::lay(options, Lay::default()).await?;
    load::fill(&ground.broker, Lane::Standard, &load::tenant()?, jobs).await?;
    let (broker, catalog) = (ground.broker.clone(), ground.catalog.clone());
    let placing = async {
        ground.routers(routers).await?;
        let watched = ground.watched();
        let mut from = None;
        let mut last = (0, Instant::now());
        loop {
            let done = ground.messages(stream::WORK).await?;
            if done > last.0 {
                last = (done, Instant::now());
            }
            if last.1.elapsed() > STALLED_AFTER {
                bail!(
                    "{} of {jobs} jobs were placed, then nothing more; see {}",
                    last.0,
                    ground.dir().display()
                );
            }
            if from.is_none() && done * 100 >= jobs as u64 * FROM_PERCENT {
                from = Some((done, Instant::now(), watched.used()?));
            }
            if let (Some((first, started, used)), true) = (&from, done >= jobs as u64) {
                let (jobs, took) = ((done - first) as f64, started.elapsed());
                let used = between(used, &watched.used()?);
                let each = |name| used.get(name).copied().unwrap_or_default() as f64 / jobs;
                return anyhow::Ok(Routed {
                    per_second: jobs / took.as_secs_f64(),
                    router_us: each("router"),
                    server_us: each("nats-server"),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let routed = load::offer_during(&broker, &catalog, placing).await;
    ground.clear().await?;
    routed
}
