//! `argosy get`: what finished jobs made, downloaded later.

use super::job_options::pair;
use super::session::Session;
use super::tenant_note;
use super::unknown::unknown;
use crate::exit::DoesNotHold;
use crate::file_names::{FileOf, NamePattern, Naming};
use crate::moment::duration_ms;
use crate::say::{say, say_json};
use anyhow::{Context as _, bail};
use clap::Args;
use client::files;
use client::follow::{JobView, Tracker};
use ledger_read::{JobDetail, JobFilter, Window};
use runtime::clock::now_ms;
use runtime::media_type;
use schemas::{JobId, JobState, Tenant};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Jobs that one call fetches.
const JOBS_MAX: i64 = 10_000;

/// Download what finished jobs made: of the given jobs, or of all with a label.
///
/// Files are kept for as long as `argosy topology apply --artifacts-days` says, 7 days by default.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy get 01990000-0000-7000-8000-000000000001 --out pictures\n  \
    argosy get --label project=foxes --since 24h --name '{label.project}-{n}'\n  \
    argosy jobs --state completed --json | jq -r .job | xargs argosy get\n\n\
    In --name: {job} {n} {file} {count} {tenant} {label.KEY}; {n} counts the files of a job from 0, {count} all files from \
    1; {file} is what its workflow called it.")]
pub(crate) struct Get {
    /// Which jobs
    #[arg(required_unless_present = "label")]
    jobs: Vec<JobId>,
    /// All completed jobs with this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "jobs")]
    label: Option<(String, String)>,
    /// Only of this tenant
    #[arg(long, env = "ARGOSY_TENANT")]
    tenant: Option<Tenant>,
    /// With --label: submitted within this time: 30m, 24h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, requires = "label")]
    since: Option<i64>,
    /// Where the files go
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// What the files are called; the ending follows from what they are
    #[arg(long, default_value = "{job}-{n}", value_name = "PATTERN")]
    name: NamePattern,
}

/// A job whose files are fetched.
struct Finished {
    job: JobId,
    tenant: String,
    labels: BTreeMap<String, String>,
    view: JobView,
}

impl Get {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let finished = self.finished(session).await?;
        let broker = session.broker().await?;
        let mut naming = Naming::new(self.out.clone());
        let (mut fetched, mut failed) = (0, Vec::new());
        for job in &finished {
            match self.fetch(&broker.jetstream, job, &mut naming, session.json).await {
                Ok(files) => fetched += files,
                Err(error) => failed.push(format!("{}: {error:#}", job.job)),
            }
        }
        if !session.json {
            say(format!("{fetched} files of {} jobs are in {}", finished.len(), self.out.display()));
        }
        if failed.is_empty() { Ok(()) } else { Err(DoesNotHold(failed.join("; ")).into()) }
    }

    async fn finished(&self, session: &Session) -> anyhow::Result<Vec<Finished>> {
        let reader = session.reader().await?;
        let jobs = match &self.label {
            None => self.jobs.clone(),
            Some((key, value)) => {
                let filter = JobFilter {
                    tenant: self.tenant.clone(),
                    state: Some(JobState::Completed),
                    label: Some((key.clone(), value.clone())),
                    submitted: Window { from_ms: self.since.map(|ms| now_ms() - ms), to_ms: None },
                    ..JobFilter::default()
                };
                let found = reader.jobs(&filter, JOBS_MAX).await?;
                if found.is_empty() {
                    if let Some(tenant) = &self.tenant {
                        tenant_note::note(session, tenant).await;
                    }
                    bail!(
                        "no completed job has label {key}={value}: `argosy jobs --label {key}={value}` lists all"
                    );
                }
                // Oldest first: names that count go by age.
                found.into_iter().rev().map(|job| JobId(job.job)).collect()
            }
        };
        let mut finished = Vec::with_capacity(jobs.len());
        for job in jobs {
            let detail = reader.job_detail(job).await?;
            let of_tenant = |detail: &JobDetail| {
                self.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == detail.summary.tenant)
            };
            match detail.filter(of_tenant) {
                Some(detail) => finished.push(finished_job(job, detail)?),
                None => return Err(unknown(session, job, self.tenant.as_ref()).await),
            }
        }
        Ok(finished)
    }

    async fn fetch(
        &self,
        jetstream: &async_nats::jetstream::Context,
        job: &Finished,
        naming: &mut Naming,
        json: bool,
    ) -> anyhow::Result<usize> {
        let artifacts = files::all(jetstream, &job.view).await?;
        for (n, artifact) in artifacts.iter().enumerate() {
            let bytes = files::fetch(jetstream, artifact).await?;
            let stem = self.name.stem(FileOf {
                job: &job.job.to_string(),
                tenant: &job.tenant,
                labels: &job.labels,
                n,
                count: naming.count(),
                saved: artifact.saved.as_ref().map(|saved| saved.file_name.as_str()),
            })?;
            let path = naming.write(&stem, media_type::ending(&artifact.media_type), &bytes)?;
            match json {
                true => say_json(&serde_json::json!({ "job": job.job, "file": path, "artifact": artifact }))?,
                false => say(path.display().to_string()),
            }
        }
        Ok(artifacts.len())
    }
}

/// A job's end, from the ledger's events.
fn finished_job(job: JobId, detail: JobDetail) -> anyhow::Result<Finished> {
    let mut tracker = Tracker::of([job]);
    // A marker, which stands in the stream for an end that left it, is no row of the ledger.
    detail.events.iter().for_each(|event| {
        tracker.note(event);
    });
    let view = tracker.jobs().get(&job).cloned().context("a tracker knows its job")?;
    if view.state != JobState::Completed {
        bail!("job {job} is {}: `argosy watch {job}` follows it to its end", detail.summary.state);
    }
    let labels = serde_json::from_value(detail.summary.labels).unwrap_or_default();
    Ok(Finished { job, tenant: detail.summary.tenant, labels, view })
}
