//! What one client process can publish, acknowledged: one by one, and many at once.

use super::ground::{Ground, Lay};
use super::report::Row;
use super::{BenchOptions, load};
use crate::audience::Audience;
use client::submit;
use schemas::Lane;
use std::time::Instant;

/// One by one takes so much longer that fewer will do.
const ONE_BY_ONE_PART: usize = 20;

/// Measures.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let (mut single, mut bulk) = (Vec::new(), Vec::new());
    let tenant = load::tenant()?;
    for run in 0..options.scale.runs {
        let ground = Ground::lay(options, Lay::default()).await?;
        let publisher = &ground.broker.publisher;
        let few = (options.scale.jobs / ONE_BY_ONE_PART).max(1);
        let started = Instant::now();
        for _ in 0..few {
            submit::job(publisher, &load::job(Lane::Standard, &tenant)).await?;
        }
        single.push(few as f64 / started.elapsed().as_secs_f64());
        let jobs: Vec<_> = (0..options.scale.jobs).map(|_| load::job(Lane::Standard, &tenant)).collect();
        let started = Instant::now();
        submit::jobs(publisher, &jobs).await?;
        bulk.push(jobs.len() as f64 / started.elapsed().as_secs_f64());
        ground.clear().await?;
        let (one, many) = (single[run], bulk[run]);
        audience.line(&format!("  run {}: {one:.0}/s one by one, {many:.0}/s in bulk", run + 1));
    }
    let rows = [Row::of("submit.one_by_one", "jobs/s", &single), Row::of("submit.bulk", "jobs/s", &bulk)];
    Ok(rows.into_iter().flatten().collect())
}
