//! From publish to the worker's start and to the committed row, at given rates: open loop, so that a fleet that
//! is slow does not slow down what it is asked to do.

use super::commits::Commit;
use super::cpu::between;
use super::ground::{Ground, Lay};
use super::open_loop::{PERCENTILES, RATES};
use super::report::Row;
use super::starts::{Starts, starts};
use super::{BenchOptions, limit};
use crate::audience::Audience;
use crate::figures::percentile;
use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All have started and are booked within this after the last publish.
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// Measures, each run beside the raw latency of that moment.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let mut shares: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut used: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for run in 0..options.scale.runs {
        for rate in RATES {
            let raw_us = limit::two_hops(options, rate).await?;
            let Timed { start_us, row_us, cpu_us } = time(options, rate).await?;
            let p50 = percentile(&start_us, 500).context("nothing started")?;
            let all_us: f64 = cpu_us.values().sum();
            audience.line(&format!(
                "  run {}: {rate} jobs/s, start p50 {p50} us, {all_us:.0} us of processor time each",
                run + 1
            ));
            for (process, us) in &cpu_us {
                used.entry(format!("latency.cpu.{rate}.{process}")).or_default().push(*us);
            }
            used.entry(format!("latency.cpu_per_job.{rate}")).or_default().push(all_us);
            for (name, per_mille) in PERCENTILES {
                let at = |sorted| percentile(sorted, per_mille).context("nothing arrived");
                let (raw, start, row) = (at(&raw_us)? as f64, at(&start_us)? as f64, at(&row_us)? as f64);
                for (of, us) in [("limit.two_hops", raw), ("latency.start", start), ("latency.row", row)] {
                    figures.entry(format!("{of}.{rate}.{name}")).or_default().push(us / 1e3);
                }
                shares
                    .entry(format!("latency.start.{rate}.{name}.share_of_raw"))
                    .or_default()
                    .push(start / raw.max(1.0));
            }
        }
    }
    let of = |figures: &BTreeMap<String, Vec<f64>>, unit: &str| -> Vec<Row> {
        figures.iter().filter_map(|(name, runs)| Row::of(name, unit, runs)).collect()
    };
    Ok([of(&used, "us/job"), of(&figures, "ms"), of(&shares, "")].concat())
}

/// Microseconds.
struct Timed {
    /// Sorted.
    start_us: Vec<u64>,
    /// Sorted.
    row_us: Vec<u64>,
    /// For each job, by process; the publisher is not in it.
    cpu_us: BTreeMap<String, f64>,
}

async fn time(options: &BenchOptions, rate: u64) -> anyhow::Result<Timed> {
    let tell = [("ARGOSY_NULL__TELL", "true".to_owned())];
    let ground = Ground::lay_fleet(options, Lay::default(), &tell).await?;
    let timed = publish_and_time(&ground, rate, options.scale.open_loop).await;
    ground.clear().await?;
    timed
}

async fn publish_and_time(ground: &Ground, rate: u64, lasting: Duration) -> anyhow::Result<Timed> {
    let (watched, total) = (ground.watched(), rate * lasting.as_secs());
    let before = watched.used()?;
    let Starts { published, waited_us: start_us, missing } =
        starts(&ground.broker, rate, lasting, OVER_WITHIN).await?;
    ensure!(missing == 0, "{missing} of {} jobs did not start", published.len());
    let times = ground.commit_times().await?;
    let deadline = Instant::now() + OVER_WITHIN;
    // What asking for the rows costs the database is not the fleet's: the last look before it counts.
    let (used, commits) = loop {
        let used = between(&before, &watched.used()?);
        let commits = times.of_ends().await?;
        if commits.len() as u64 >= total {
            break (used, commits);
        }
        ensure!(Instant::now() < deadline, "{} of {total} jobs are booked", commits.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    times.close().await;
    let cpu_us = used.into_iter().map(|(name, us)| (name, us as f64 / total as f64)).collect();
    let since = |commit: &Commit| {
        let from_us = published.get(&commit.job).context("a row of a job that was never published")?;
        anyhow::Ok((commit.at_us - from_us).max(0).unsigned_abs())
    };
    let mut row_us: Vec<u64> = commits.iter().map(since).collect::<anyhow::Result<_>>()?;
    row_us.sort_unstable();
    Ok(Timed { start_us, row_us, cpu_us })
}
