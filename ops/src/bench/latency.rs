//! From publish to the worker's start and to the committed row, at given rates: open loop, so that a fleet that
//! is slow does not slow down what it is asked to do.

use super::BenchOptions;
use super::cpu::between;
use super::ground::{Ground, Lay};
use super::open_loop::{PERCENTILES, RATES};
use super::report::{Row, find};
use super::starts::{Starts, starts};
use crate::audience::Audience;
use crate::figures::percentile;
use anyhow::{Context as _, ensure};
use ledger::read::Commit;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All have started and are booked within this after the last publish.
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// Measures.
pub(super) async fn rows(
    options: &BenchOptions,
    before: &[Row],
    audience: &mut impl Audience,
) -> anyhow::Result<Vec<Row>> {
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut used: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for run in 0..options.scale.runs {
        for rate in RATES {
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
                for (to, sorted) in [("start", &start_us), ("row", &row_us)] {
                    let us = percentile(sorted, per_mille).context("nothing arrived")?;
                    figures.entry(format!("latency.{to}.{rate}.{name}")).or_default().push(us as f64 / 1e3);
                }
            }
        }
    }
    let mut rows: Vec<Row> = used.iter().filter_map(|(name, runs)| Row::of(name, "us/job", runs)).collect();
    for (name, runs) in &figures {
        rows.extend(Row::of(name, "ms", runs));
        let raw = name.replace("latency.start.", "limit.two_hops.");
        if let Some(raw) = find(before, &raw).filter(|raw| raw.spread.median > 0.0) {
            let shares: Vec<f64> = runs.iter().map(|ms| ms / raw.spread.median).collect();
            rows.extend(Row::of(&format!("{name}.share_of_raw"), "", &shares));
        }
    }
    Ok(rows)
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
    let store = ground.store().await?;
    let deadline = Instant::now() + OVER_WITHIN;
    // What asking for the rows costs the database is not the fleet's: the last look before it counts.
    let (used, commits) = loop {
        let used = between(&before, &watched.used()?);
        let commits = store.commits().await?;
        if commits.len() as u64 >= total {
            break (used, commits);
        }
        ensure!(Instant::now() < deadline, "{} of {total} jobs are booked", commits.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    store.close().await;
    let cpu_us = used.into_iter().map(|(name, us)| (name, us as f64 / total as f64)).collect();
    let since = |commit: &Commit| {
        let from_us = published.get(&commit.job).context("a row of a job that was never published")?;
        anyhow::Ok((commit.at_us - from_us).max(0).unsigned_abs())
    };
    let mut row_us: Vec<u64> = commits.iter().map(since).collect::<anyhow::Result<_>>()?;
    row_us.sort_unstable();
    Ok(Timed { start_us, row_us, cpu_us })
}
