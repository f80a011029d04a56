//! From publish to the worker's start, open loop: interactive jobs onto whatever else waits there.

use super::open_loop::open_loop;
use super::{load, started};
use anyhow::Context as _;
use client::submit;
use futures::StreamExt as _;
use runtime::broker::Broker;
use runtime::clock::now_us;
use schemas::{JobId, Lane};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// What was published, and how long it waited.
pub(super) struct Starts {
    /// When, Unix microseconds.
    pub(super) published: HashMap<JobId, i64>,
    /// Sorted; those that did not start are in it with how long they have waited so far.
    pub(super) waited_us: Vec<u64>,
    /// How many did not start.
    pub(super) missing: usize,
}

/// Publishes at a rate for a while, and waits so long at most for the last to start. Workers have to tell.
pub(super) async fn starts(
    broker: &Broker,
    rate: u64,
    lasting: Duration,
    patience: Duration,
) -> anyhow::Result<Starts> {
    let mut told = broker.client.subscribe(started::SUBJECT).await?;
    broker.client.flush().await?;
    let total = usize::try_from(rate * lasting.as_secs())?;
    let published: RefCell<HashMap<JobId, i64>> = RefCell::default();
    let tenant = load::tenant()?;
    let publishing = open_loop(rate, total, || {
        let job = load::job(Lane::Interactive, &tenant);
        let message = submit::message(&job);
        published.borrow_mut().insert(job.id, now_us());
        async move {
            broker.publisher.publish(&message).await?;
            Ok(())
        }
    });
    let mut started: HashMap<JobId, i64> = HashMap::with_capacity(total);
    let counting = async {
        while started.len() < total {
            let message = told.next().await.context("the connection closed")?;
            let Some((job, at_us)) = started::read(&message.payload) else { continue };
            // Others are there too.
            if published.borrow().contains_key(&job) {
                started.entry(job).or_insert(at_us);
            }
        }
        anyhow::Ok(())
    };
    let counting = async {
        match tokio::time::timeout(lasting + patience, counting).await {
            Ok(counted) => counted,
            // What is missing is said.
            Err(_) => Ok(()),
        }
    };
    futures::future::try_join(publishing, counting).await?;
    let published = published.into_inner();
    let now_us = now_us();
    let waited = |(job, from_us): (&JobId, &i64)| {
        let until_us = started.get(job).copied().unwrap_or(now_us);
        (until_us - from_us).max(0).unsigned_abs()
    };
    let mut waited_us: Vec<u64> = published.iter().map(waited).collect();
    waited_us.sort_unstable();
    Ok(Starts { missing: total - started.len(), published, waited_us })
}
