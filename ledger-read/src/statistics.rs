//! Counts and percentiles since a moment, and savings of a window: what the demo's report and `argosy costs` show.

use serde::Serialize;

use crate::{Error, Reader, Window, clamp_ms};

/// Jobs in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateCount {
    /// The state.
    pub state: String,
    /// How many.
    pub jobs: i64,
}

/// Completed jobs and attempts of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendCount {
    /// Which.
    pub backend: String,
    /// Its provider is a simulator.
    pub simulated: bool,
    /// Jobs made there.
    pub completed_jobs: i64,
    /// Attempts placed there.
    pub attempts: i64,
    /// Those that failed.
    pub failed_attempts: i64,
    /// Failures followed by another try there.
    pub retries: i64,
    /// Failures followed by another backend.
    pub failovers: i64,
    /// Spent there.
    pub posted_micro_usd: i64,
}

/// How many of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Jobs by state.
    pub states: Vec<StateCount>,
    /// By backend.
    pub backends: Vec<BackendCount>,
}

/// 50th, 95th and 99th percentile, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the type says it")]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

/// Latencies of completed jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PercentileRow {
    /// Where they were made; none for all together.
    pub backend: Option<String>,
    /// In which class; none for all together.
    pub class: Option<String>,
    /// How many.
    pub jobs: i64,
    /// From submission to the start of the first attempt; none when no attempt told its start.
    pub queue: Option<Percentiles>,
    /// From start to end of the last attempt.
    pub run: Option<Percentiles>,
    /// From submission to the end of the job.
    pub total: Option<Percentiles>,
}

/// What would have been spent had every completed job been made at one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SavingRow {
    /// That backend.
    pub against: String,
    /// Completed jobs that it could have made.
    pub jobs: i64,
    /// Completed jobs that it could not have made; they are in none of the sums.
    pub jobs_not_comparable: i64,
    /// Spent on the jobs compared.
    pub actual_micro_usd: i64,
    /// What they would have cost there.
    pub baseline_micro_usd: i64,
    /// The difference; negative when it cost more.
    pub saving_micro_usd: i64,
}

impl Reader {
    /// Jobs submitted since a moment by state, and their attempts by backend.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn counts(&self, since_ms: i64) -> Result<Counts, Error> {
        let since_ms = clamp_ms(since_ms);
        let states = sqlx::query_as!(
            StateCount,
            r#"select state as "state!", count(*) as "jobs!" from jobs
            where submitted_at >= at_ms($1) group by state order by state"#,
            since_ms,
        )
        .fetch_all(&self.pool)
        .await?;
        let backends = sqlx::query_as!(
            BackendCount,
            r#"select a.backend as "backend!", bool_or(a.simulated) as "simulated!",
                count(*) filter (where j.state = 'completed' and a.failure_code is null
                    and a.finished_at is not null) as "completed_jobs!",
                count(*) as "attempts!", count(a.failure_code) as "failed_attempts!",
                count(*) filter (where a.disposition = 'retry') as "retries!",
                count(*) filter (where a.disposition = 'failover') as "failovers!",
                coalesce(sum(c.posted_micro_usd), 0)::bigint as "posted_micro_usd!"
            from jobs j
            join attempts a on a.job = j.id
            left join charges c on c.job = a.job and c.attempt = a.attempt
            where j.submitted_at >= at_ms($1)
            group by a.backend order by a.backend"#,
            since_ms,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Counts { states, backends })
    }

    /// Latencies of jobs submitted since a moment and completed: first all together, then by backend and
    /// class.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn percentiles(&self, since_ms: i64) -> Result<Vec<PercentileRow>, Error> {
        let rows = sqlx::query!(
            r#"select backend, class, count(*) as "jobs!",
                percentile_cont(array[0.5, 0.95, 0.99]) within group (order by queue_ms) as queue,
                percentile_cont(array[0.5, 0.95, 0.99]) within group (order by run_ms) as run,
                percentile_cont(array[0.5, 0.95, 0.99]) within group (order by total_ms) as total
            from analytics.jobs
            where state = 'completed' and submitted_at >= at_ms($1)
            group by grouping sets ((), (backend, class))
            order by grouping(backend) desc, backend, class"#,
            clamp_ms(since_ms),
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter().map(|row| PercentileRow {
            backend: row.backend,
            class: row.class,
            jobs: row.jobs,
            queue: percentiles(row.queue.as_ref()),
            run: percentiles(row.run.as_ref()),
            total: percentiles(row.total.as_ref()),
        });
        Ok(rows.collect())
    }

    /// Savings over the jobs that were completed in a window, against each backend that could have made any of
    /// them.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn savings(&self, window: Window) -> Result<Vec<SavingRow>, Error> {
        let (from_ms, to_ms) = window.bounds();
        let rows = sqlx::query_as!(
            SavingRow,
            r#"with bounds as materialized (
                select coalesce(at_ms($1), '-infinity') as from_utc, coalesce(at_ms($2), 'infinity') as to_utc
            ), done as (
                select coalesce(sum(c.completed_jobs), 0)::bigint as jobs
                from bounds b cross join lateral analytics.costs(b.from_utc, b.to_utc) c
            )
            select s.against as "against!", s.jobs as "jobs!", d.jobs - s.jobs as "jobs_not_comparable!",
                s.actual_micro_usd as "actual_micro_usd!", s.baseline_micro_usd as "baseline_micro_usd!",
                s.saving_micro_usd as "saving_micro_usd!"
            from bounds b cross join lateral analytics.savings_by_baseline(b.from_utc, b.to_utc) s
            cross join done d
            order by s.against"#,
            from_ms,
            to_ms,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}

/// An aggregate over no values is null, or an array of nulls.
fn percentiles(values: Option<&Vec<f64>>) -> Option<Percentiles> {
    match values.map(Vec::as_slice) {
        Some([p50_ms, p95_ms, p99_ms]) => {
            Some(Percentiles { p50_ms: *p50_ms, p95_ms: *p95_ms, p99_ms: *p99_ms })
        }
        _ => None,
    }
}
