//! `argosy jobs`: jobs from the ledger.

use super::job_options::pair;
use super::session::Session;
use crate::table::{self, Align};
use anyhow::bail;
use clap::Args;
use ledger_read::{JobFilter, JobSummary};
use runtime::clock::now_ms;
use schemas::{Backend, JobState, MicroUsd, Tenant};

/// List jobs, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy jobs --state failed --since 24h\n  \
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
    /// Submitted within this time: 30m, 24h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    since: Option<i64>,
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
            since_ms: self.since.map(|ms| now_ms() - ms),
        };
        let jobs = session.reader().await?.jobs(&filter, self.limit.into()).await?;
        if session.json {
            return jobs.iter().try_for_each(table::say_json);
        }
        table::say(jobs_table(&jobs, now_ms()));
        Ok(())
    }
}

/// Jobs in lines.
pub(crate) fn jobs_table(jobs: &[JobSummary], now_ms: i64) -> String {
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
                whole.map(table::duration).unwrap_or_default(),
                table::ago(now_ms, job.submitted_at_ms),
                job.failure_code.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table::render(&columns, &rows)
}

fn state(text: &str) -> Result<JobState, String> {
    let found = JobState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| {
        let all: Vec<_> = JobState::ALL.into_iter().map(JobState::as_str).collect();
        format!("use one of {}", all.join(", "))
    })
}

/// `90s`, `30m`, `24h`, `7d` in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    let read = || -> anyhow::Result<i64> {
        let Some(unit) = text.chars().last() else { bail!("empty") };
        let unit_ms = match unit {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => bail!("no unit"),
        };
        let number: u32 = text[..text.len() - 1].parse()?;
        Ok(i64::from(number) * unit_ms)
    };
    read().map_err(|_| format!("`{text}` is not a duration: write 90s, 30m, 24h or 7d"))
}
