//! Jobs through routers alone: real decisions over three backends, onto work queues that nobody serves.

use super::cpu::between;
use super::ground::{Ground, Lay};
use super::report::Row;
use super::{BenchOptions, limit, load};
use crate::audience::Audience;
use anyhow::bail;
use schemas::Lane;
use schemas::topology::stream;
use std::time::{Duration, Instant};

/// How often the queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A router that moves nothing for so long has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// A run takes three seconds, and on a shared machine the next one differs by a tenth or two: so many times as many.
const TIMES: usize = 2;
/// Of a hundred jobs, the first ones belong to the start.
const FROM_PERCENT: u64 = 10;

/// What a run came to.
pub(super) struct Routed {
    pub(super) per_second: f64,
    pub(super) router_us: f64,
    pub(super) server_us: f64,
}

/// Measures, each run beside its limit.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let mut figures: Vec<(String, &str, Vec<f64>)> = Vec::new();
    let mut note = |name: String, unit, figure| match figures.iter_mut().find(|(known, ..)| *known == name) {
        Some((_, _, runs)) => runs.push(figure),
        None => figures.push((name, unit, vec![figure])),
    };
    for run in 0..options.scale.runs * TIMES {
        let limit = limit::router_shapes(options).await?;
        audience.line(&format!("  run {}: the limit {:.0} jobs/s", run + 1, limit.per_second));
        note("limit.router_shapes".to_owned(), "jobs/s", limit.per_second);
        note("limit.router_shapes.cpu.client".to_owned(), "us/job", limit.client_us);
        note("limit.router_shapes.cpu.nats-server".to_owned(), "us/job", limit.server_us);
        for (count, name) in [(1, "one"), (2, "two")] {
            let routed = route(options, count, options.scale.jobs).await?;
            audience.line(&format!("  run {}: {count} router(s) {:.0} jobs/s", run + 1, routed.per_second));
            note(format!("router.{name}"), "jobs/s", routed.per_second);
            note(format!("router.{name}.cpu.router"), "us/job", routed.router_us);
            note(format!("router.{name}.cpu.nats-server"), "us/job", routed.server_us);
            note(format!("router.{name}.share_of_limit"), "", routed.per_second / limit.per_second);
        }
    }
    Ok(figures.iter().filter_map(|(name, unit, runs)| Row::of(name, unit, runs)).collect())
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
