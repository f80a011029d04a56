//! When ends were committed: what the benchmark measures its latencies to. Needs a server that remembers the
//! times of commits (`track_commit_timestamp`).

use schemas::JobId;
use sqlx::Row as _;
use sqlx::postgres::PgPool;

/// When a job's end was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Which job.
    pub(super) job: JobId,
    /// When, Unix microseconds.
    pub(super) at_us: i64,
}

/// A connection that reads the times of commits.
#[derive(Debug, Clone)]
pub(super) struct CommitTimes {
    pool: PgPool,
}

impl CommitTimes {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        Ok(Self { pool: PgPool::connect(url).await? })
    }

    /// When the ends of all jobs were committed. It fails where the server does not remember the times of commits.
    pub(super) async fn of_ends(&self) -> anyhow::Result<Vec<Commit>> {
        let rows = sqlx::query(
            "select job, (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint as at_us \
             from events where kind = 'ended'",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Ok(Commit { job: JobId(row.try_get("job")?), at_us: row.try_get("at_us")? }))
            .collect()
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
