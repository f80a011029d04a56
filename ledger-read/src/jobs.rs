//! Jobs, one line each or one with its whole history.

use schemas::{Backend, Event, JobId, JobState, Tenant};
use serde::Serialize;

use crate::{Error, ROWS_MAX, Reader, Window, stored_event};

/// Which jobs; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this tenant.
    pub tenant: Option<Tenant>,
    /// In this state.
    pub state: Option<JobState>,
    /// Whose last attempt was there.
    pub backend: Option<Backend>,
    /// With this label and value.
    pub label: Option<(String, String)>,
    /// Submitted in this window.
    pub submitted: Window,
}

/// A job in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the columns of analytics.jobs describe them")]
pub struct JobSummary {
    pub job: uuid::Uuid,
    pub tenant: String,
    pub lane: String,
    pub kind: String,
    pub class: Option<String>,
    pub form: String,
    pub labels: serde_json::Value,
    pub submitted_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub state: String,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub attempts: i64,
    pub backend: Option<String>,
    pub simulated: Option<bool>,
    pub posted_micro_usd: i64,
    pub open_micro_usd: i64,
    pub queue_ms: Option<i64>,
    pub run_ms: Option<i64>,
    pub total_ms: Option<i64>,
}

/// An attempt in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the columns of analytics.attempts describe them")]
pub struct AttemptSummary {
    pub attempt: i32,
    pub backend: String,
    pub class: Option<String>,
    pub model: Option<String>,
    pub worker: Option<String>,
    pub simulated: bool,
    pub assigned_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub finished_at_ms: Option<i64>,
    pub provider_id: Option<String>,
    pub reason: Option<String>,
    pub expected_micro_usd: Option<i64>,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub disposition: Option<String>,
    pub energy_mj: Option<i64>,
    pub charge_state: Option<String>,
    pub posted_micro_usd: i64,
    pub open_micro_usd: i64,
}

/// All that is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobDetail {
    /// In a line.
    pub summary: JobSummary,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptSummary>,
    /// Its events, oldest first: among them every decision, with all candidates.
    pub events: Vec<Event>,
}

impl Reader {
    /// Jobs, newest first; at most `limit` and never more than [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn jobs(&self, filter: &JobFilter, limit: i64) -> Result<Vec<JobSummary>, Error> {
        let labels = filter.label.as_ref().map(|(name, value)| serde_json::json!({ name: value }));
        self.select_jobs(None, filter, labels, limit.clamp(0, ROWS_MAX)).await
    }

    /// One job with its attempts and events; none when the ledger has not heard of it.
    ///
    /// # Errors
    /// [`Error::Database`]; [`Error::Unreadable`] when a newer version wrote an event.
    pub async fn job_detail(&self, job: JobId) -> Result<Option<JobDetail>, Error> {
        let Some(summary) = self.select_jobs(Some(job), &JobFilter::default(), None, 1).await?.pop() else {
            return Ok(None);
        };
        let attempts = sqlx::query_as!(
            AttemptSummary,
            r#"select attempt as "attempt!", backend as "backend!", class, model, worker,
                simulated as "simulated!", to_ms(assigned_at) as "assigned_at_ms!",
                to_ms(started_at) as started_at_ms, to_ms(finished_at) as finished_at_ms, provider_id, reason,
                expected_micro_usd, failure_code, failure_message, disposition, energy_mj, charge_state,
                posted_micro_usd as "posted_micro_usd!", open_micro_usd as "open_micro_usd!"
            from analytics.attempts where job = $1 order by attempt"#,
            job.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = sqlx::query!(
            "select attempt, kind, body from events where job = $1 order by occurred_at, attempt, kind",
            job.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let events = rows.into_iter().map(|row| stored_event(&row.body, job.0, row.attempt, &row.kind));
        Ok(Some(JobDetail { summary, attempts, events: events.collect::<Result<_, _>>()? }))
    }

    async fn select_jobs(
        &self,
        job: Option<JobId>,
        filter: &JobFilter,
        labels: Option<serde_json::Value>,
        limit: i64,
    ) -> Result<Vec<JobSummary>, Error> {
        let (from_ms, to_ms) = filter.submitted.bounds();
        let jobs = sqlx::query_as!(
            JobSummary,
            r#"select job as "job!", tenant as "tenant!", lane as "lane!", kind as "kind!", class,
                form as "form!", labels as "labels!", to_ms(submitted_at) as "submitted_at_ms!",
                to_ms(ended_at) as ended_at_ms, state as "state!", failure_code, failure_message,
                attempts as "attempts!", backend, simulated, posted_micro_usd as "posted_micro_usd!",
                open_micro_usd as "open_micro_usd!", queue_ms, run_ms, total_ms
            from analytics.jobs
            where ($1::uuid is null or job = $1)
                and ($2::text is null or tenant = $2)
                and ($3::text is null or state = $3)
                and ($4::text is null or backend = $4)
                and ($5::jsonb is null or labels @> $5)
                and ($6::bigint is null or submitted_at >= at_ms($6))
                and ($7::bigint is null or submitted_at < at_ms($7))
            order by submitted_at desc, job desc
            limit $8"#,
            job.map(|job| job.0),
            filter.tenant.as_ref().map(Tenant::as_str),
            filter.state.map(JobState::as_str),
            filter.backend.as_ref().map(Backend::as_str),
            labels,
            from_ms,
            to_ms,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(jobs)
    }
}
