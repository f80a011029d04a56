//! The whole life of a job with few and with many workers joined: what workers cost by being there.

use super::ground::{Ground, Lay};
use super::report::Row;
use super::{BenchOptions, fleet};
use crate::audience::Audience;

/// How many are joined.
const JOINED: [usize; 6] = [1, 2, 4, 16, 64, 256];
/// Beyond so many processes, each is several workers.
const PROCESSES_MAX: usize = 16;
/// Of the sustained run, a part will do for each.
const LASTING_PART: u32 = 20;

/// Measures.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut in_all = Vec::new();
    for joined in JOINED.into_iter().filter(|joined| *joined <= options.scale.workers) {
        let lived = live(options, joined).await?;
        let us = lived.cpu_us_in_all();
        let shares: Vec<_> = lived.cpu_us.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
        audience.line(&format!(
            "  {joined} joined: {:.0} jobs/s, {us:.0} us of processor time each: {}",
            lived.per_second,
            shares.join(", ")
        ));
        rows.extend(Row::of(&format!("workers.{joined}.cpu_per_job"), "us/job", &[us]));
        for (name, us) in &lived.cpu_us {
            rows.extend(Row::of(&format!("workers.{joined}.cpu.{name}"), "us/job", &[*us]));
        }
        in_all.push(us);
    }
    if let [least, .., most] = in_all[..] {
        rows.extend(Row::of("workers.cpu_growth", "", &[most / least]));
    }
    Ok(rows)
}

/// A fleet with so many workers of one backend, for a while.
async fn live(options: &BenchOptions, joined: usize) -> anyhow::Result<fleet::Lived> {
    let mut ground = Ground::lay(options, Lay::default()).await?;
    ground.open_books().await?;
    ground.routers(1).await?;
    let processes = joined.min(PROCESSES_MAX);
    let each = ("ARGOSY_NULL__WORKERS", joined.div_ceil(processes).to_string());
    ground.workers("local", processes, &[each]).await?;
    ground.joined(joined).await?;
    let lived = fleet::drive(&ground, fleet::Pace::part(options, LASTING_PART)).await;
    ground.clear().await?;
    lived
}
