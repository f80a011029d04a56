//! What the audit checks against streams and invoices: every job and every attempt, page by page.

use schemas::{Backend, Charge, ChargeState, JobId, JobState, MicroUsd, Usage};
use serde::Serialize;
use uuid::Uuid;

use crate::{Error, ROWS_MAX, Reader, Unreadable};

/// A job for the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditJob {
    /// Which.
    pub job: JobId,
    /// Who pays.
    pub tenant: String,
    /// Where it is.
    pub state: JobState,
    /// Ended events told of it; more than one breaks P1.
    pub ends: u32,
    /// Files it made.
    pub artifacts: u64,
}

/// An attempt, or a reservation of which no event has told yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditAttempt {
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// Where it ran, or was to run.
    pub backend: Backend,
    /// The provider's id of the work.
    pub provider_id: Option<String>,
    /// The provider is a simulator.
    pub simulated: bool,
    /// It ended, and without a failure.
    pub succeeded: bool,
    /// What the provider counted.
    pub usage: Vec<Usage>,
    /// What was reserved for it; 0 where nothing was.
    pub reserved_micro_usd: MicroUsd,
    /// Why it failed, as the ledger writes it; none when it succeeded or has not ended.
    pub failure_code: Option<String>,
    /// Its money.
    pub charge: Charge,
}

/// A page of the books.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditRows {
    /// Jobs, by id.
    pub jobs: Vec<AuditJob>,
    /// All attempts and reservations with ids in the same range.
    pub attempts: Vec<AuditAttempt>,
    /// Where the next page begins; none after the last.
    pub next_after: Option<JobId>,
}

impl Reader {
    /// A page of the books: up to `limit` jobs (of those that events or reservations know) with ids
    /// after `after`, and all their attempts.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn audit_rows(&self, after: Option<JobId>, limit: i64) -> Result<AuditRows, Error> {
        let limit = limit.clamp(1, ROWS_MAX);
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from (
                (select id from jobs where $1::uuid is null or id > $1 order by id limit $2)
                union
                (select distinct job from charges where $1::uuid is null or job > $1 order by job limit $2)
            ) as known order by id limit $2"#,
            after.map(|job| job.0),
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        let full = i64::try_from(ids.len()).is_ok_and(|len| len == limit);
        let next_after = ids.last().filter(|_| full).map(|id| JobId(*id));
        Ok(AuditRows {
            jobs: self.audit_jobs(&ids).await?,
            attempts: self.audit_attempts(&ids).await?,
            next_after,
        })
    }

    async fn audit_jobs(&self, ids: &[Uuid]) -> Result<Vec<AuditJob>, Error> {
        let rows = sqlx::query!(
            r#"select j.id, j.tenant, j.state, jsonb_array_length(j.artifacts) as "artifacts!",
                (select count(*) from events e where e.job = j.id and e.kind = 'ended') as "ends!"
            from jobs j where j.id = any($1) order by j.id"#,
            ids,
        )
        .fetch_all(&self.pool)
        .await?;
        let jobs = rows.into_iter().map(|row| AuditJob {
            job: JobId(row.id),
            tenant: row.tenant,
            state: state(&row.state),
            ends: u32::try_from(row.ends).unwrap_or(u32::MAX),
            artifacts: u64::try_from(row.artifacts).unwrap_or_default(),
        });
        Ok(jobs.collect())
    }

    async fn audit_attempts(&self, ids: &[Uuid]) -> Result<Vec<AuditAttempt>, Error> {
        let rows = sqlx::query!(
            r#"select job as "job!", attempt as "attempt!", coalesce(a.backend, c.backend) as "backend!",
                a.provider_id, coalesce(a.simulated, c.simulated) as "simulated!",
                (a.finished_at is not null and a.failure_code is null) as "succeeded!", a.failure_code,
                coalesce(a.usage, '[]') as "usage!", coalesce(c.reserved_micro_usd, 0) as "reserved!",
                coalesce(c.state, 'voided') as "state!",
                coalesce(c.open_micro_usd + c.posted_micro_usd, 0) as "amount!",
                coalesce(c.possibly_paid, false) as "possibly_paid!"
            from (select * from attempts where job = any($1)) a
            full join (select * from charges where job = any($1)) c using (job, attempt)
            order by job, attempt"#,
            ids,
        )
        .fetch_all(&self.pool)
        .await?;
        let attempts = rows.into_iter().map(|row| {
            let stored = |message: String| Unreadable { id: format!("{}.{}", row.job, row.attempt), message };
            Ok(AuditAttempt {
                job: JobId(row.job),
                attempt: u32::try_from(row.attempt).unwrap_or_default(),
                backend: row
                    .backend
                    .parse()
                    .map_err(|error: schemas::ids::IdError| stored(error.to_string()))?,
                usage: serde_json::from_value(row.usage).map_err(|error| stored(error.to_string()))?,
                reserved_micro_usd: MicroUsd(row.reserved),
                provider_id: row.provider_id,
                simulated: row.simulated,
                succeeded: row.succeeded,
                failure_code: row.failure_code,
                charge: Charge {
                    state: match row.state.as_str() {
                        "pending" => ChargeState::Pending,
                        "posted" => ChargeState::Posted,
                        _ => ChargeState::Voided,
                    },
                    amount_micro_usd: MicroUsd(row.amount),
                    possibly_paid: row.possibly_paid,
                },
            })
        });
        attempts.collect()
    }
}

fn state(token: &str) -> JobState {
    JobState::ALL.into_iter().find(|state| state.as_str() == token).unwrap_or(JobState::Unknown)
}
