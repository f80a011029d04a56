//! A demo from the first publish to the report.

use super::bought::Books;
use super::report::{Findings, Report};
use super::{DemoOptions, mix, sheet};
use crate::audience::Audience;
use anyhow::{Context as _, bail};
use client::files;
use client::follow::{self, Since, Tracker};
use client::submit;
use futures::{StreamExt as _, TryStreamExt as _};
use ledger_read::{JobFilter, Window};
use policy::invariants::AuditReport;
use runtime::clock::now_ms;
use schemas::{Artifact, Job, JobId};
use stack::Stack;
use std::path::Path;
use std::time::{Duration, Instant};

/// Ended jobs, per cent, at which the local ComfyUIs go away.
const FAULT_AT_PERCENT: usize = 35;
/// How long they stay away, wall milliseconds.
const FAULT_MS: u64 = 4_000;
/// A demo that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(120);
/// The ledger books within moments of the last end; the last bill follows when idle time has run out.
const BOOKED_WITHIN: Duration = Duration::from_secs(60);
/// Downloads at once.
const DOWNLOADS: usize = 8;
/// Rows of one answer of the ledger.
const ROWS: i64 = ledger_read::ROWS_MAX;

/// A finished demo.
#[derive(Debug)]
pub struct Outcome {
    /// What was found.
    pub report: Report,
    /// How each job ended.
    pub tracker: Tracker,
}

/// Submits the jobs, breaks what is to be broken, waits for all ends, audits, and writes pictures, contact
/// sheet and report into `out`.
///
/// # Errors
/// A publish was not accepted, nothing ended for two minutes, or files could not be written.
pub async fn run(
    stack: &Stack,
    demo: &DemoOptions,
    out: &Path,
    audience: &mut impl Audience,
) -> anyhow::Result<Outcome> {
    if i64::try_from(demo.jobs).unwrap_or(i64::MAX) > ROWS {
        bail!("a demo has at most {ROWS} jobs");
    }
    let photo = sheet::photo().to_png()?;
    let mut photos = Vec::new();
    for tenant in mix::PHOTO_TENANTS {
        photos.push(submit::input(&stack.broker.jetstream, &tenant.parse()?, mix::PHOTO, &photo).await?);
    }
    let started_ms = now_ms();
    let jobs = mix::jobs(demo.jobs, demo.seed, &photos[0], started_ms)?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let (tracker, books) = drive(stack, demo, &jobs, &ids, audience).await?;
    let wall_ms = u64::try_from(now_ms() - started_ms).unwrap_or_default();
    audience.line("all jobs have ended: auditing");
    let audit = stack.audit(&ids, BOOKED_WITHIN).await?;
    let files = download(stack, &tracker, out).await?;
    let mut report = report(stack, &audit).await?;
    (report.seed, report.fault, report.wall_ms) = (demo.seed, demo.fault, wall_ms);
    report.files = files as u64;
    (report.bought, report.where_allowed) = (books.bought(&jobs), books.where_allowed());
    let path = out.join("report.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Outcome { report, tracker })
}

/// Publishes while following, so that nothing is missed and nobody waits.
async fn drive(
    stack: &Stack,
    demo: &DemoOptions,
    jobs: &[Job],
    ids: &[JobId],
    audience: &mut impl Audience,
) -> anyhow::Result<(Tracker, Books)> {
    let mut books = Books::default();
    let mut events = Box::pin(follow::events(&stack.broker.jetstream, &[], Since::Ever).await?);
    let mut tracker = Tracker::of(ids.iter().copied());
    let mut publishing = Box::pin(stack.submit(jobs));
    let (mut published, mut broken) = (false, !demo.fault);
    let mut last_progress = Instant::now();
    while !(published && tracker.is_done()) {
        let ended = tracker.ended();
        if !broken && ended * 100 >= demo.jobs * FAULT_AT_PERCENT {
            broken = true;
            go_away(stack, audience).await?;
        }
        let left = STALLED_AFTER.saturating_sub(last_progress.elapsed());
        tokio::select! {
            submitted = &mut publishing, if !published => { submitted?; published = true; }
            event = events.next() => {
                let event = event.context("stream EVENTS ended")??;
                books.note(&event);
                tracker.note(&event);
            }
            () = tokio::time::sleep(left) => bail!("{}", stalled(&tracker)),
        }
        if tracker.ended() > ended {
            last_progress = Instant::now();
            audience.ended(tracker.ended(), demo.jobs);
        }
    }
    Ok((tracker, books))
}

/// Both local ComfyUIs at once: what they were at is lost, and what waits for them must go elsewhere or wait.
async fn go_away(stack: &Stack, audience: &mut impl Audience) -> anyhow::Result<()> {
    audience.line(&format!("the local ComfyUIs go away for {FAULT_MS} ms"));
    for simulator in stack.simulators.iter().filter(|one| one.backend == "local") {
        simulator.offline(FAULT_MS).await?;
    }
    Ok(())
}

fn stalled(tracker: &Tracker) -> String {
    let open = tracker.jobs().iter().filter(|(_, view)| !view.state.is_terminal());
    let open: Vec<String> = open.map(|(job, view)| format!("{job} {}", view.state.as_str())).collect();
    format!("nothing ended for {} s; open are {}", STALLED_AFTER.as_secs(), open.join(", "))
}

/// Fetches everything that was made through the artifact store; returns how many files.
async fn download(stack: &Stack, tracker: &Tracker, out: &Path) -> anyhow::Result<usize> {
    // What an earlier demo left is no part of this one.
    if out.exists() {
        std::fs::remove_dir_all(out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let all: Vec<(JobId, &Artifact)> = tracker
        .jobs()
        .iter()
        .flat_map(|(job, view)| view.artifacts.iter().map(|artifact| (*job, artifact)))
        .collect();
    let jetstream = &stack.broker.jetstream;
    let fetched = futures::stream::iter(all.iter().map(|(job, artifact)| async move {
        let bytes = files::fetch(jetstream, artifact).await?;
        let name = files::name_of(*job, artifact);
        let path = out.join(&name);
        tokio::fs::write(&path, &bytes).await.with_context(|| format!("cannot write {}", path.display()))?;
        let cell = tokio::task::spawn_blocking(move || sheet::cell(&name, &bytes)).await?;
        anyhow::Ok(cell)
    }));
    let mut cells: Vec<_> = fetched.buffered(DOWNLOADS).try_collect().await?;
    let files = cells.len();
    cells.truncate(sheet::CELLS_MAX);
    let page = tokio::task::spawn_blocking(move || sheet::sheet(&cells).to_png()).await??;
    std::fs::write(out.join("contact-sheet.png"), page).context("cannot write the contact sheet")?;
    Ok(files)
}

/// The report from the ledger's rows.
async fn report(stack: &Stack, audit: &AuditReport) -> anyhow::Result<Report> {
    let reader = stack.reader().await?;
    // The database is the demo's own: everything in it is of this run.
    let jobs = reader.jobs(&JobFilter::default(), ROWS).await?;
    let counts = reader.counts(0).await?;
    let savings = reader.savings(Window::default()).await?;
    reader.close().await;
    Ok(Report::of(&Findings { jobs: &jobs, counts: &counts, savings: &savings, audit }))
}
