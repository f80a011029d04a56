//! `argosy jobs`: jobs from the ledger.

use super::job_options::pair;
use super::session::Session;
use super::tenant_note;
use super::window::WindowOptions;
use crate::say::{say, say_json, warning};
use crate::table::{Align, Table};
use crate::tone;
use crate::words;
use clap::Args;
use ledger_read::{JobFilter, JobSummary};
use runtime::clock::now_ms;
use runtime::lanes::{self, Lying};
use schemas::{Backend, JobState, MicroUsd, Tenant};
use std::collections::HashSet;

/// List jobs, newest first: those of the ledger, and those that lie in the lanes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy jobs --state failed --since 24h\n  \
    argosy jobs --from 2026-11-01 --to 2026-12-01   submitted in November (UTC)\n  \
    argosy jobs --tenant studio-a --backend cloud --limit 20\n  \
    argosy jobs --label project=foxes --json | jq .posted_micro_usd")]
pub(crate) struct Jobs {
    /// Of this tenant
    #[arg(long)]
    tenant: Option<Tenant>,
    /// In this state: submitted, assigned, running, retrying, completed, failed, cancelled, expired
    #[arg(long, value_parser = state)]
    state: Option<JobState>,
    /// Whose last attempt was there
    #[arg(long)]
    backend: Option<Backend>,
    /// With this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Option<(String, String)>,
    #[command(flatten)]
    submitted: WindowOptions,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

impl Jobs {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let filter = JobFilter {
            tenant: self.tenant,
            state: self.state,
            backend: self.backend,
            label: self.label,
            submitted: self.submitted.read(now_ms())?,
        };
        let mut jobs = session.reader().await?.jobs(&filter, self.limit.into()).await?;
        let waiting = match session.broker().await {
            Ok(broker) => Some(lanes::read_all(&broker.client, summary).await?),
            Err(error) => {
                warning(session.json, &format!("what waits in the lanes is not shown: {error:#}"));
                None
            }
        };
        let lying = waiting.as_ref().map_or(0, Vec::len);
        let waiting = waiting.into_iter().flatten().flatten().filter(|job| lets_through(&filter, job));
        // The ledger may know of one that its lane has not let go of yet.
        let known: HashSet<_> = jobs.iter().map(|job| job.job).collect();
        jobs.extend(waiting.filter(|job| !known.contains(&job.job)));
        jobs.sort_by_key(|job| std::cmp::Reverse(job.submitted_at_ms));
        jobs.truncate(self.limit as usize);
        if let Some(tenant) = filter.tenant.as_ref().filter(|_| jobs.is_empty()) {
            tenant_note::note(session, tenant).await;
        }
        if session.json {
            if lying >= lanes::LOOKED_AT_MAX {
                warning(true, &format!("of what lies in the lanes only the first {lying} jobs are listed"));
            }
            return jobs.iter().try_for_each(say_json);
        }
        say(jobs_table(&jobs, now_ms()));
        if lying > 0 {
            let more = if lying >= lanes::LOOKED_AT_MAX { "at least " } else { "" };
            say("");
            say(format!("{more}{lying} accepted jobs lie in the lanes; `argosy explain <job>` says why"));
        }
        Ok(())
    }
}

/// A job that lies in its lane, as the ledger would list it.
fn summary(lying: &Lying) -> Option<JobSummary> {
    let job = lying.job()?;
    let form = if job.body.workflow.is_some() { "workflow" } else { "prompt" };
    Some(JobSummary {
        job: job.id.0,
        tenant: job.tenant.to_string(),
        lane: lying.lane.as_str().to_owned(),
        kind: job.body.kind.as_str().to_owned(),
        class: None,
        form: form.to_owned(),
        labels: serde_json::to_value(&job.labels).ok()?,
        submitted_at_ms: lying.accepted_at_ms,
        ended_at_ms: None,
        state: JobState::Submitted.as_str().to_owned(),
        failure_code: None,
        failure_message: None,
        attempts: 0,
        backend: None,
        simulated: None,
        posted_micro_usd: 0,
        open_micro_usd: 0,
        queue_ms: None,
        run_ms: None,
        total_ms: None,
    })
}

fn lets_through(filter: &JobFilter, job: &JobSummary) -> bool {
    filter.backend.is_none()
        && filter.state.is_none_or(|state| state == JobState::Submitted)
        && filter.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == job.tenant)
        && filter.submitted.contains(job.submitted_at_ms)
        && filter.label.as_ref().is_none_or(|(key, value)| job.labels.get(key).is_some_and(|is| is == value))
}

/// Jobs in lines.
#[must_use]
pub fn jobs_table(jobs: &[JobSummary], now_ms: i64) -> Table {
    let columns = [
        ("job", Align::Left),
        ("tenant", Align::Left),
        ("lane", Align::Left),
        ("class", Align::Left),
        ("state", Align::Left),
        ("backend", Align::Left),
        ("attempts", Align::Right),
        ("cost", Align::Right),
        ("whole", Align::Right),
        ("submitted", Align::Right),
        ("why", Align::Left),
    ];
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let simulated = if job.simulated == Some(true) { " (simulated)" } else { "" };
            let whole = job.total_ms.and_then(|ms| u64::try_from(ms).ok());
            vec![
                job.job.to_string(),
                job.tenant.clone(),
                job.lane.clone(),
                job.class.clone().unwrap_or_default(),
                job.state.clone(),
                job.backend.as_ref().map(|name| format!("{name}{simulated}")).unwrap_or_default(),
                job.attempts.to_string(),
                MicroUsd(job.posted_micro_usd).to_string(),
                whole.map(words::duration).unwrap_or_default(),
                words::ago(now_ms, job.submitted_at_ms),
                job.failure_code.clone().unwrap_or_default(),
            ]
        })
        .collect();
    Table::new(&columns, rows).painted("state", tone::of_state)
}

fn state(text: &str) -> Result<JobState, String> {
    let found = JobState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| {
        let all: Vec<_> = JobState::ALL.into_iter().map(JobState::as_str).collect();
        format!("use one of {}", all.join(", "))
    })
}
