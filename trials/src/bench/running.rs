//! A fleet that runs already, whoever started it: plain jobs at a rate, and how long they take to be placed and to
//! end. They consent to nothing, so they cost no money unless their tenant's entry says so.

use super::little::{Inside, check};
use super::load;
use super::open_loop::{PERCENTILES, open_loop};
use super::report::{Report, Row};
use crate::figures::percentile;
use anyhow::{Context as _, ensure};
use client::submit;
use futures::StreamExt as _;
use ledger_read::Reader;
use runtime::broker::Broker;
use runtime::clock::now_us;
use schemas::subjects::{self, Subject};
use schemas::{JobId, Lane, Tenant};
use stack::Simulator;
use stack::audit;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The books are settled within this after the last end.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What is asked of the fleet.
#[derive(Debug, Clone)]
pub struct RunningOptions {
    /// How many jobs.
    pub jobs: usize,
    /// A second.
    pub rate: u64,
    /// Whose; nobody else's jobs may come in meanwhile.
    pub tenant: Tenant,
    /// How long the last may take to end.
    pub patience: Duration,
}

/// A job's way, Unix microseconds of our own clock.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    published_us: i64,
    assigned_us: Option<i64>,
    ended_us: Option<i64>,
}

/// Publishes and times.
///
/// # Errors
/// A job does not end in time, the audit does not hold, or Little's law does not: then there is no figure.
pub async fn measure(
    broker: &Broker,
    reader: &Reader,
    simulators: &[Simulator],
    options: &RunningOptions,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut events = broker.client.subscribe(subjects::events_of_tenant(&options.tenant)).await?;
    let mut assignments = broker.client.subscribe(subjects::WORK_FILTER).await?;
    broker.client.flush().await?;
    let ways: RefCell<BTreeMap<JobId, Way>> = RefCell::default();
    let publishing = open_loop(options.rate.max(1), options.jobs, || {
        let job = load::job(Lane::Standard, &options.tenant);
        let message = submit::message(&job);
        ways.borrow_mut().insert(job.id, Way { published_us: now_us(), ..Way::default() });
        async move { broker.publisher.publish(&message).await.map(|_| ()).context("publishing") }
    });
    let mut inside = Inside::default();
    let following = async {
        let mut ended = 0;
        inside.sample(0.0, 0.0);
        while ended < options.jobs {
            let message = tokio::select! {
                event = events.next() => event,
                assignment = assignments.next() => assignment,
            };
            let message = message.context("the connection closed")?;
            let mut ways = ways.borrow_mut();
            match subjects::parse(&message.subject) {
                Some(Subject::Work(_, _, job)) => {
                    let Some(way) = ways.get_mut(&job) else { continue };
                    way.assigned_us = way.assigned_us.or_else(|| Some(now_us()));
                }
                Some(Subject::Event(_, job, kind)) if kind == "ended" => {
                    let Some(way) = ways.get_mut(&job).filter(|way| way.ended_us.is_none()) else { continue };
                    way.ended_us = Some(now_us());
                    ended += 1;
                }
                _ => {}
            }
            inside.sample(started.elapsed().as_secs_f64(), (ways.len() - ended) as f64);
        }
        anyhow::Ok(())
    };
    let lasting = Duration::from_secs_f64(options.jobs as f64 / options.rate.max(1) as f64);
    let both = futures::future::try_join(publishing, following);
    let done = tokio::time::timeout(lasting + options.patience, both).await;
    let wall = started.elapsed();
    let ways = ways.into_inner();
    let open = ways.values().filter(|way| way.ended_us.is_none()).count();
    done.with_context(|| format!("{open} of {} jobs did not end: no figures", ways.len()))??;
    let to = |until: fn(&Way) -> Option<i64>| {
        let took =
            ways.values().filter_map(|way| Some((until(way)? - way.published_us).max(0).unsigned_abs()));
        let mut took_us: Vec<u64> = took.collect();
        took_us.sort_unstable();
        took_us
    };
    let (assigned_us, ended_us) = (to(|way| way.assigned_us), to(|way| way.ended_us));
    check(&inside, ended_us.iter().sum::<u64>() as f64 / 1e6, wall.as_secs_f64())?;
    let accepted: BTreeSet<JobId> = ways.keys().copied().collect();
    let books = audit::settled(reader, &accepted, simulators, SETTLED_WITHIN).await?;
    ensure!(books.holds(), "the audit does not hold: {:?}", books.findings.first());
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(Row::of("running.sustained", "jobs/s", &[ways.len() as f64 / wall.as_secs_f64()]));
    for (name, per_mille) in PERCENTILES {
        for (to, sorted) in [("assigned", &assigned_us), ("ended", &ended_us)] {
            let ms = percentile(sorted, per_mille).map(|us| us as f64 / 1e3);
            rows.extend(ms.and_then(|ms| Row::of(&format!("running.{to}.{name}"), "ms", &[ms])));
        }
    }
    Ok(Report::new(rows, wall))
}
