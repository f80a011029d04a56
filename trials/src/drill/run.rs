//! A drill from the first publish to the last line of its history.

use super::chaos::{Chaos, Hits, revive};
use super::feed::Feed;
use super::flow::Flow;
use super::history::{Line, Writer};
use super::report::{Report, VERSION};
use super::storage::Storage;
use super::story::Story;
use super::upgrade::{Replacements, Upgrade};
use super::work::Order;
use super::{DrillOptions, history, leftovers, upgrade, work};
use crate::audience::Audience;
use anyhow::Context as _;
use client::api;
use client::files;
use client::follow::{Stored, Tracker};
use client::submit;
use futures::StreamExt as _;
use runtime::broker::Broker;
use runtime::clock::now_ms;
use schemas::api::{CancelReply, JobRequest};
use schemas::topology::stream;
use schemas::{Artifact, Backend, Job, JobId, MicroUsd};
use stack::Stack;
use stack::audit;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Jobs that are published and have not ended, at most: publishing goes on for as long as the blows do.
const OPEN_MAX: usize = 1_500;
/// The blows end when so many jobs of a hundred have ended.
const CALM_AT_PERCENT: usize = 98;
/// A drill in which nothing ends for so long is over: what is open then is a finding. Longer than an attempt may wait
/// for its provider's report.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(240);
/// Streams and ledger come to rest within this once all jobs have ended: every lost acknowledgement has been
/// missed and made up for by then.
const REST_WITHIN: Duration = Duration::from_secs(120);
/// The broker gives what was filled its own limit again within this once everybody is ready.
const ENLARGED_WITHIN: Duration = Duration::from_secs(60);
/// How often they are looked at.
const REST_EVERY: Duration = Duration::from_millis(250);
/// The ledger closes its books within this once it has read everything.
const BOOKED_WITHIN: Duration = Duration::from_secs(60);
/// A cancel request that no router answered is made again after this.
const CANCEL_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Files fetched at once.
const FETCHES: usize = 16;
/// What processes get to stop once all is done.
const GRACE: Duration = Duration::from_secs(10);
/// What Postgres' children get to notice that they are alone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Runs the drill on a fleet, writes history and report into `out`, and ends the fleet.
///
/// # Errors
/// A process could not be struck, replaced or started again, a server does not answer at the end, files cannot be
/// written. What breaks a promise is a finding of the report instead.
pub async fn run(
    mut stack: Stack,
    drill: &DrillOptions,
    out: &Path,
    audience: &mut impl Audience,
) -> anyhow::Result<Report> {
    let mut writer = Writer::create(out)?;
    let is_upgrade = drill.upgrade_from.is_some();
    let to_replace = if is_upgrade { upgrade::to_replace(&stack)? } else { Vec::new() };
    writer.add(&begin(&stack, drill, to_replace.clone())?)?;
    let paid_one_in = if is_upgrade { work::PAID_ONE_IN_OF_UPGRADE } else { work::PAID_ONE_IN };
    let jobs = work::orders(drill.jobs, drill.seed, paid_one_in, now_ms())?;
    let (broker, calm, hits) = (stack.broker.clone(), CancellationToken::new(), Hits::default());
    let storages = Storage::all(&broker.jetstream).await?;
    let flow = if is_upgrade {
        Flow::in_shares(jobs.len(), upgrade::shares(to_replace.len()))
    } else {
        Flow::unbound(jobs.len())
    };
    let replacements = Replacements::default();
    let trouble = async {
        let (seed, calm, hits) = (drill.seed, &calm, &hits);
        if is_upgrade {
            let upgrade = Upgrade { seed, flow: &flow, replacements: &replacements, hits, calm };
            upgrade.replace(&mut stack, &to_replace).await
        } else {
            Chaos { seed, calm, hits, storages: &storages }.rage(&mut stack).await
        }
    };
    let mut drive = Drive {
        tracker: Tracker::of(jobs.iter().map(|order| order.job.id)),
        feed: Feed::of(broker.jetstream.clone()),
        flow: &flow,
        replacements: &replacements,
        calm_at: (!is_upgrade).then_some((jobs.len() * CALM_AT_PERCENT).div_ceil(100)),
        writer,
    };
    tokio::select! {
        driven = drive.publish_and_follow(&broker, &jobs, &calm, &hits, audience) => driven?,
        ended = trouble => ended.context("looking after everybody has no other end")?,
    }
    audience.line("coming to rest");
    revive(&mut stack).await?;
    // A drill that nothing ends any more is over before the calm.
    for storage in &storages {
        storage.enlarge_within(ENLARGED_WITHIN).await?;
    }
    let unrest = drive.rest(&broker).await?;
    let Drive { tracker, mut writer, .. } = drive;
    for hit in hits.take() {
        writer.add(&Line::Hit(hit))?;
    }
    for replacement in replacements.take() {
        writer.add(&Line::Replaced(replacement))?;
    }
    let open = (jobs.len() - tracker.ended()) as u64;
    writer.add(&Line::Rest { at_ms: now_ms(), unrest, open })?;
    audience.line("fetching every announced file");
    fetch(&broker, &tracker, &mut writer).await?;
    audience.line("reading the books");
    let accepted: Vec<JobId> = jobs.iter().map(|order| order.job.id).collect();
    books(&stack, &accepted, &mut writer).await?;
    end(stack, &mut writer).await?;
    writer.finish()?;
    judge(out)
}

/// Gives the verdict on the history in a folder, and writes it beside it.
///
/// # Errors
/// There is no history, or the report cannot be written.
pub fn judge(out: &Path) -> anyhow::Result<Report> {
    let mut story = Story::default();
    history::read(out, |line| story.take(line))?;
    let report = Report::of(&story);
    let path = out.join("report.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(report)
}

fn begin(stack: &Stack, drill: &DrillOptions, to_replace: Vec<String>) -> anyhow::Result<Line> {
    let tenants: schemas::TenantsConfig = serde_json::from_str(&stack.options().documents.tenants)?;
    let budgets = tenants.tenants.iter();
    let daily_micro_usd: BTreeMap<String, MicroUsd> =
        budgets.filter_map(|(name, tenant)| Some((name.to_string(), tenant.daily_micro_usd?))).collect();
    Ok(Line::Begin {
        version: VERSION,
        seed: drill.seed,
        jobs: drill.jobs as u64,
        nodes: drill.nodes as u64,
        at_ms: now_ms(),
        daily_micro_usd,
        to_replace,
    })
}

/// Publishing and following, and what they write down.
struct Drive<'a> {
    tracker: Tracker,
    feed: Feed,
    writer: Writer,
    flow: &'a Flow,
    replacements: &'a Replacements,
    /// It becomes calm when so many have ended; none where somebody else says so.
    calm_at: Option<usize>,
}

impl Drive<'_> {
    /// Publishes everything, a window at a time, until all have ended or nothing ends any more.
    async fn publish_and_follow(
        &mut self,
        broker: &Broker,
        jobs: &[Order],
        calm: &CancellationToken,
        hits: &Hits,
        audience: &mut impl Audience,
    ) -> anyhow::Result<()> {
        let (give, take) = mpsc::channel(OPEN_MAX + jobs.iter().filter(|order| order.is_flood).count());
        let (told, mut accepted) = mpsc::channel(OPEN_MAX);
        let publishing = publish(broker, take, told);
        tokio::pin!(publishing);
        let (mut given, mut published, mut ended) = (0, false, 0);
        let mut last_end = Instant::now();
        let (mut give, mut is_calm) = (Some(give), false);
        while !self.tracker.is_done() && last_end.elapsed() < STALLED_AFTER {
            while given < self.flow.allowed() && (given - ended < OPEN_MAX || jobs[given].is_flood) {
                let Some(open) = &give else { break };
                if open.try_send(&jobs[given]).is_err() {
                    break;
                }
                given += 1;
            }
            if given == jobs.len() {
                give = None;
            }
            tokio::select! {
                () = &mut publishing, if !published => published = true,
                Some(line) = accepted.recv() => self.writer.add(&line)?,
                stored = self.feed.next() => self.note(stored)?,
                () = self.flow.raised() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            let now_ended = self.tracker.ended();
            if now_ended > ended {
                (ended, last_end) = (now_ended, Instant::now());
                audience.ended(ended, jobs.len());
            }
            self.flow.count(given, ended);
            self.replacements.news().iter().for_each(|line| audience.line(line));
            if !is_calm && (calm.is_cancelled() || self.calm_at.is_some_and(|at| ended >= at)) {
                is_calm = true;
                calm.cancel();
                self.writer.add(&Line::Calm { at_ms: now_ms() })?;
                audience.line(&match self.calm_at {
                    Some(_) => format!("{} blows: no more of them", hits.count()),
                    None => "everything was replaced".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, stored: Stored) -> anyhow::Result<()> {
        self.flow.note(&stored.event);
        self.tracker.note(&stored.event);
        self.writer.add(&Line::Event { stored_at_ms: stored.at_ms, event: Box::new(stored.event) })
    }

    /// Waits until streams and ledger have come to rest and every event is written down; what still waits if they
    /// did not in time.
    async fn rest(&mut self, broker: &Broker) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + REST_WITHIN;
        loop {
            let is_over = Instant::now() >= deadline;
            let unrest = audit::unrest(&broker.jetstream).await;
            if is_over || unrest.as_ref().is_ok_and(Vec::is_empty) {
                self.catch_up(broker).await?;
                return unrest;
            }
            tokio::time::sleep(REST_EVERY).await;
        }
    }

    async fn catch_up(&mut self, broker: &Broker) -> anyhow::Result<()> {
        let events = broker.jetstream.get_stream(stream::EVENTS).await.context("stream EVENTS")?;
        let last = events.cached_info().state.last_sequence;
        while self.feed.position() <= last {
            let stored = self.feed.next().await;
            self.note(stored)?;
        }
        Ok(())
    }
}

/// Publishes what comes, several at a time, each until it is accepted.
/// Then cancels some of them.
async fn publish(broker: &Broker, take: mpsc::Receiver<&Order>, told: mpsc::Sender<Line>) {
    let orders = futures::stream::unfold(take, async |mut take| take.recv().await.map(|order| (order, take)));
    let told = &told;
    let each = async |order: &Order| {
        let job = order.published(now_ms());
        let tries = submit::until_accepted(&broker.publisher, &job).await;
        let deadline_ms = job.constraints.deadline_ms;
        // Nobody listens any more once the drill is over.
        let _ = told.send(Line::Accepted { job: job.id, at_ms: now_ms(), tries, deadline_ms }).await;
        if let Some(after_ms) = order.cancel_after_ms {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            cancel(broker, &job, told).await;
        }
    };
    orders.for_each_concurrent(submit::PUBLISHES_IN_FLIGHT, each).await;
}

/// Asks until a router answers, as its tenant would.
async fn cancel(broker: &Broker, job: &Job, told: &mpsc::Sender<Line>) {
    let (tenant, job) = (Some(&job.tenant), job.id);
    let _ = told.send(Line::Cancel { job, at_ms: now_ms(), found: None }).await;
    loop {
        let request = JobRequest::of(job);
        match api::request_as::<_, CancelReply>(&broker.client, tenant, "cancel", &request).await {
            Ok(reply) => {
                let _ = told.send(Line::Cancel { job, at_ms: now_ms(), found: Some(reply.state) }).await;
                return;
            }
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "asking for a cancel again");
                tokio::time::sleep(CANCEL_AGAIN_AFTER).await;
            }
        }
    }
}

/// Fetches everything that was announced and holds it against its hash.
async fn fetch(broker: &Broker, tracker: &Tracker, writer: &mut Writer) -> anyhow::Result<()> {
    let all: Vec<(JobId, &Artifact)> = tracker
        .jobs()
        .iter()
        .flat_map(|(job, view)| view.artifacts.iter().map(|artifact| (*job, artifact)))
        .collect();
    let fetched = futures::stream::iter(all).map(|(job, artifact)| async move {
        let problem = files::fetch(&broker.jetstream, artifact).await.err().map(|error| format!("{error:#}"));
        Line::Fetched { job, key: artifact.at.key.clone(), problem }
    });
    let mut fetched = std::pin::pin!(fetched.buffer_unordered(FETCHES));
    while let Some(line) = fetched.next().await {
        writer.add(&line)?;
    }
    Ok(())
}

/// Writes down ledger, invoices and runs, once the books are closed or the patience is over.
async fn books(stack: &Stack, accepted: &[JobId], writer: &mut Writer) -> anyhow::Result<()> {
    stack.audit(accepted, BOOKED_WITHIN).await?;
    let reader = stack.reader().await?;
    let gathered = audit::gather(&reader, None, true, &stack.simulators).await;
    reader.close().await;
    let gathered = gathered?;
    for job in gathered.jobs {
        writer.add(&Line::BookedJob(job))?;
    }
    for attempt in gathered.attempts {
        writer.add(&Line::BookedAttempt(attempt))?;
    }
    for charge in gathered.overhead {
        writer.add(&Line::BookedOverhead(charge))?;
    }
    for (backend, days) in gathered.bills {
        writer.add(&Line::Bill { backend, days })?;
    }
    for (backend, lines) in gathered.invoices {
        writer.add(&Line::Invoice { backend, lines })?;
    }
    let local = Backend::new("local")?;
    for simulator in stack.simulators.iter().filter(|one| one.backend == local.as_str()) {
        let runs = simulator.stats().await?["runs_ever"].as_u64().unwrap_or_default();
        writer.add(&Line::GpuRuns { simulator: simulator.url.clone(), runs })?;
    }
    Ok(())
}

/// Stops the fleet and looks for what it left.
async fn end(stack: Stack, writer: &mut Writer) -> anyhow::Result<()> {
    let mut dirs = vec![stack.options().dir.clone()];
    dirs.extend(stack.postgres.log_path().parent().map(Path::to_owned));
    stack.stop(GRACE).await?;
    let deadline = Instant::now() + GONE_WITHIN;
    let mut left = leftovers::of(&dirs);
    while !left.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(REST_EVERY).await;
        left = leftovers::of(&dirs);
    }
    for (pid, command) in left {
        writer.add(&Line::Left { pid, command })?;
    }
    writer.add(&Line::End { at_ms: now_ms() })
}
