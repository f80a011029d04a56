//! The whole life of a job: published, routed, assigned, done (by a worker that does nothing), told, and its row
//! committed. Publishing keeps a bounded number of jobs inside for as long as it goes on; then everything runs
//! empty, and the audit has to hold.

use super::cpu::{self, Used, between};
use super::ground::{Ground, Lay};
use super::little::{Inside, check};
use super::report::Row;
use super::{BenchOptions, load};
use crate::audience::Audience;
use crate::counters;
use anyhow::{Context as _, bail, ensure};
use client::submit;
use runtime::clock::now_us;
use schemas::{JobId, Lane};
use stack::audit;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Jobs of one publish of many; so many of those at once.
const CHUNK: usize = 250;
const PUBLISHERS: usize = 4;
/// The first run goes on for all of the time, to show that it lasts; the others, for the spread, for a part of it.
const REPEATED_PART: u32 = 3;
/// Where every write is synced, a part of the time will do.
const SYNCED_PART: u32 = 6;
/// How often what is inside is counted.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// A fleet in which nothing ends for so long has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// The books are settled within this once everything ended.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What a fleet is asked to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long is published.
    pub(super) publishing: Duration,
    /// Jobs inside at most.
    pub(super) inside_max: u64,
}

impl Pace {
    /// Such a part of the sustained run.
    pub(super) fn part(options: &BenchOptions, part: u32) -> Self {
        Self { publishing: options.scale.sustained / part, inside_max: options.scale.inside_max }
    }
}

/// What a run came to.
pub(super) struct Lived {
    pub(super) jobs: usize,
    pub(super) per_second: f64,
    pub(super) cpu_us: BTreeMap<String, f64>,
}

impl Lived {
    pub(super) fn cpu_us_in_all(&self) -> f64 {
        self.cpu_us.values().sum()
    }
}

/// Measures.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let mut rows = cost_rows(options, audience).await?;
    for (name, nodes) in [("fleet.synced", 1), ("fleet.synced_cluster", 3)] {
        let lay = Lay { sync_always: true, nodes, ..Lay::default() };
        let synced = live(options, lay, Pace::part(options, SYNCED_PART)).await?;
        audience.line(&format!("  every write synced, nodes {nodes}: {:.0}/s", synced.per_second));
        rows.extend(Row::of(name, "jobs/s", &[synced.per_second]));
    }
    Ok(rows)
}

/// Measures the sustained runs alone: their rate, and what a job costs each process.
pub(super) async fn cost_rows(
    options: &BenchOptions,
    audience: &mut impl Audience,
) -> anyhow::Result<Vec<Row>> {
    let (mut rate, mut all) = (Vec::new(), Vec::new());
    let mut by_process: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for run in 0..options.scale.runs {
        let part = if run == 0 { 1 } else { REPEATED_PART };
        let lived = live(options, Lay::default(), Pace::part(options, part)).await?;
        audience.line(&format!(
            "  run {}: {} jobs, {:.0}/s, {:.0} us of processor time each",
            run + 1,
            lived.jobs,
            lived.per_second,
            lived.cpu_us_in_all()
        ));
        rate.push(lived.per_second);
        all.push(lived.cpu_us_in_all());
        for (name, us) in lived.cpu_us {
            by_process.entry(name).or_default().push(us);
        }
    }
    let mut rows: Vec<Row> = Row::of("fleet.sustained", "jobs/s", &rate).into_iter().collect();
    rows.extend(Row::of("fleet.cpu_per_job", "us/job", &all));
    for (name, runs) in &by_process {
        rows.extend(Row::of(&format!("fleet.cpu.{name}"), "us/job", runs));
    }
    Ok(rows)
}

/// Lays a ground with a whole fleet, and lives on it for a while.
pub(super) async fn live(options: &BenchOptions, lay: Lay, pace: Pace) -> anyhow::Result<Lived> {
    let ground = Ground::lay_fleet(options, lay, &[]).await?;
    let lived = drive(&ground, pace).await;
    ground.clear().await?;
    lived
}

/// Publishes for a while and waits until all is booked; then audits.
pub(super) async fn drive(ground: &Ground, pace: Pace) -> anyhow::Result<Lived> {
    let begun = AtomicU64::new(0);
    let ended = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let published: Mutex<HashMap<JobId, i64>> = Mutex::default();
    let watched = ground.watched();
    let (before, own_before) = (watched.used()?, cpu::own_us()?);
    let started = Instant::now();
    let publishers = async {
        let each = (0..PUBLISHERS)
            .map(|_| publish(ground, &begun, &ended, &published, pace.inside_max, started + pace.publishing));
        futures::future::try_join_all(each).await?;
        over.store(true, Ordering::Release);
        anyhow::Ok(())
    };
    let (inside, ()) =
        futures::future::try_join(follow(ground, &begun, &ended, &over, started), publishers).await?;
    let wall = started.elapsed();
    let used = between(&before, &watched.used()?);
    let own_us = cpu::own_us()? - own_before;
    let published = published.into_inner().unwrap_or_default();
    let jobs = published.len();
    hold(ground, &published, &inside, wall).await?;
    Ok(Lived { jobs, per_second: jobs as f64 / wall.as_secs_f64(), cpu_us: each(used, own_us, jobs) })
}

fn each(used: Used, own_us: u64, jobs: usize) -> BTreeMap<String, f64> {
    let own = ("publisher".to_owned(), own_us);
    used.into_iter().chain([own]).map(|(name, us)| (name, us as f64 / jobs.max(1) as f64)).collect()
}

async fn publish(
    ground: &Ground,
    begun: &AtomicU64,
    ended: &AtomicU64,
    published: &Mutex<HashMap<JobId, i64>>,
    inside_max: u64,
    until: Instant,
) -> anyhow::Result<()> {
    let tenant = load::tenant()?;
    while Instant::now() < until {
        if begun.load(Ordering::Acquire).saturating_sub(ended.load(Ordering::Acquire)) > inside_max {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        begun.fetch_add(CHUNK as u64, Ordering::AcqRel);
        let jobs: Vec<_> = (0..CHUNK).map(|_| load::job(Lane::Standard, &tenant)).collect();
        let at_us = now_us();
        if let Ok(mut published) = published.lock() {
            published.extend(jobs.iter().map(|job| (job.id, at_us)));
        }
        let messages = jobs.iter().map(submit::message);
        ground.broker.publisher.publish_all(messages, CHUNK).await?;
    }
    Ok(())
}

/// Counts what ended until everything has.
async fn follow(
    ground: &Ground,
    begun: &AtomicU64,
    ended: &AtomicU64,
    over: &AtomicBool,
    started: Instant,
) -> anyhow::Result<Inside> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let ledger = ground.members.iter().find(|member| member.name() == "ledger").context("no ledger")?;
    let url = format!("http://{}/metrics", ledger.address().context("the ledger has no page")?);
    let mut inside = Inside::default();
    let mut last = Instant::now();
    inside.sample(0.0, 0.0);
    loop {
        let is_over = over.load(Ordering::Acquire);
        let all = begun.load(Ordering::Acquire);
        let page = http.get(&url).send().await?.text().await?;
        let count = counters::sum(&page, &["argosy_ledger_jobs_ended_total"]) as u64;
        if ended.swap(count, Ordering::AcqRel) < count {
            last = Instant::now();
        }
        inside.sample(started.elapsed().as_secs_f64(), all.saturating_sub(count) as f64);
        if is_over && count >= begun.load(Ordering::Acquire) {
            return Ok(inside);
        }
        if last.elapsed() > STALLED_AFTER {
            bail!("{count} of {all} jobs ended, then nothing more; see {}", ground.dir().display());
        }
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
}

/// Everything ended once and is booked, and counts and clocks agree.
async fn hold(
    ground: &Ground,
    published: &HashMap<JobId, i64>,
    inside: &Inside,
    wall: Duration,
) -> anyhow::Result<()> {
    let times = ground.commit_times().await?;
    let commits = times.of_ends().await?;
    times.close().await;
    ensure!(commits.len() == published.len(), "{} jobs, {} ends", published.len(), commits.len());
    let mut stays_us = 0;
    for commit in &commits {
        let at_us = published.get(&commit.job).context("an end of a job that was never published")?;
        stays_us += (commit.at_us - at_us).max(0);
    }
    check(inside, stays_us as f64 / 1e6, wall.as_secs_f64())?;
    let accepted: BTreeSet<JobId> = published.keys().copied().collect();
    let reader = ground.reader().await?;
    let report = audit::settled(&reader, &accepted, &[], SETTLED_WITHIN).await?;
    reader.close().await;
    ensure!(report.holds(), "the audit does not hold: {:?}", report.findings.first());
    Ok(())
}
