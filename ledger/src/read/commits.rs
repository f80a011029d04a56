//! When ends were committed: what the benchmark measures its latencies to. Needs a server that remembers the
//! times of commits (`track_commit_timestamp`).

use schemas::JobId;
use sqlx::Row as _;

use crate::{Error, Store};

/// When a job's end was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Which job.
    pub job: JobId,
    /// When, Unix microseconds.
    pub at_us: i64,
}

impl Store {
    /// When the ends of all jobs were committed.
    ///
    /// # Errors
    /// [`Error::Database`], also when the server does not remember the times of commits.
    pub async fn commits(&self) -> Result<Vec<Commit>, Error> {
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
}
