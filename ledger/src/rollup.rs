//! The sums behind the views (`migrations/0005_rollup.sql`, `0013_costs.sql`): what changed is marked, what is quiet is summed.
//!
//! Whoever writes jobs, attempts or charges marks their periods in the same transaction, after its last write
//! and under the money lock. A turn of [`Store::roll_up`] sums the periods that had no news since the turn before.
//! It reads rows without the money lock, and takes it only to see that no mark came meanwhile and to commit;
//! else it takes back what it summed. A view is exact before, during and after.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use runtime::metrics;
use runtime::trouble::Trouble;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::locks::{MONEY_LOCK, ROLLUP_LOCK};
use crate::{Error, Store};

/// Jobs that one span has, or the jobs of an hour where those are fewer: what a late event makes views read again.
const JOBS_ENOUGH: i32 = 20_000;

/// How often what is quiet is looked for. What has no news from one turn to the next is quiet.
const TURN_EVERY: Duration = Duration::from_secs(10);

/// How long one turn may sum, and how soon the next comes if that was not enough.
const TURN_MAX: Duration = Duration::from_secs(2);
const TURN_SOON: Duration = Duration::from_secs(1);

/// Summing one span may take as long as this: a minute of a fleet at its busiest is one.
const SUM_TIMEOUT: &str = "2min";

/// Milliseconds of job ids in a period, and the first id time beyond which periods go by the first bits instead.
const PERIOD_MS: u64 = 60_000;
const PERIODS_BY_TIME_MS: u64 = 1 << 42;

/// What a turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Spans that were summed.
    pub spans: usize,
    /// Spans and days that were given up, because news came meanwhile.
    pub given_up: usize,
    /// There was no time for all.
    pub more: bool,
}

/// The period of an id: as `rollup.period_of` has it.
#[must_use]
pub fn period_of(job: Uuid) -> i64 {
    let ms = u64::try_from(job.as_u128() >> 80).unwrap_or_default();
    let period = if ms < PERIODS_BY_TIME_MS {
        ms / PERIOD_MS
    } else {
        PERIODS_BY_TIME_MS / PERIOD_MS + 1 + (ms >> 36) - (PERIODS_BY_TIME_MS >> 36)
    };
    i64::try_from(period).unwrap_or(i64::MAX)
}

/// Marks the periods of jobs whose rows were written. The caller holds the money lock, so nobody sums between
/// this and the commit.
pub(crate) async fn mark(
    connection: &mut PgConnection,
    jobs: impl Iterator<Item = Uuid>,
) -> Result<(), Error> {
    let periods: Vec<i64> = jobs.map(period_of).collect::<BTreeSet<_>>().into_iter().collect();
    if periods.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into rollup.marks (period, seen) select period, false from unnest($1::bigint[]) as n (period)
        on conflict do nothing",
        &periods,
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// One turn: sums what had no news since the turn before, for about as long as it may, and notices the news.
    /// Of several processes one does it; the others do nothing.
    ///
    /// # Errors
    /// [`Error::Database`]. What was summed before is kept.
    pub async fn roll_up(&self, at_most: Duration) -> Result<RolledUp, Error> {
        let started = Instant::now();
        let mut done = RolledUp::default();
        let mut after = -1;
        loop {
            if started.elapsed() > at_most {
                done.more = true;
                break;
            }
            match self.sum_next(after).await? {
                Some(Summed { last_period, kept: Some(kept) }) => {
                    done.spans += usize::from(kept);
                    done.given_up += usize::from(!kept);
                    after = last_period;
                }
                Some(Summed { last_period, kept: None }) => after = last_period,
                None => break,
            }
        }
        while !done.more && self.keep_latency().await? {
            done.more = started.elapsed() > at_most;
        }
        while !done.more && self.sum_missing().await? {
            done.spans += 1;
            done.more = started.elapsed() > at_most;
        }
        self.notice().await?;
        Ok(done)
    }

    /// Sums the next quiet periods after this one; none when there are no more.
    async fn sum_next(&self, after: i64) -> Result<Option<Summed>, Error> {
        let mut transaction = self.pool.begin().await?;
        let connection = &mut *transaction;
        if !is_ours(connection).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let next = sqlx::query!(
            r#"select first_period as "first_period!", last_period as "last_period!", ready as "ready!"
            from rollup.next_span($1, $2)"#,
            after,
            JOBS_ENOUGH,
        )
        .fetch_optional(&mut *connection)
        .await?;
        // Rolled back and not only dropped: the lock has to be free when this returns.
        let Some(next) = next else {
            transaction.rollback().await?;
            return Ok(None);
        };
        let last_period = next.last_period;
        if !next.ready {
            transaction.rollback().await?;
            return Ok(Some(Summed { last_period, kept: None }));
        }
        sqlx::query!("select set_config('statement_timeout', $1, true)", SUM_TIMEOUT)
            .fetch_one(&mut *connection)
            .await?;
        sqlx::query!("select rollup.sum_span($1, $2)", next.first_period, last_period)
            .execute(&mut *connection)
            .await?;
        // From here on nobody marks. A mark that is there by now may be of rows that were read, or not.
        sqlx::query!("select pg_advisory_xact_lock($1)", MONEY_LOCK).execute(&mut *connection).await?;
        let news = sqlx::query_scalar!(
            r#"select exists (
                select from rollup.marks where period between $1 and $2 and not seen) as "news!""#,
            next.first_period,
            last_period,
        )
        .fetch_one(&mut *connection)
        .await?;
        if news {
            transaction.rollback().await?;
            return Ok(Some(Summed { last_period, kept: Some(false) }));
        }
        sqlx::query!(
            "delete from rollup.marks where period between $1 and $2",
            next.first_period,
            last_period
        )
        .execute(&mut *connection)
        .await?;
        transaction.commit().await?;
        Ok(Some(Summed { last_period, kept: Some(true) }))
    }

    /// Computes the percentiles of one day that is over and changed; whether there was one.
    async fn keep_latency(&self) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        if !is_ours(&mut transaction).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        let kept = sqlx::query_scalar!(r#"select rollup.keep_latency() as "kept!""#)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(kept)
    }

    /// Makes the daily sums of one span from before there were any; whether there was one. What changes meanwhile
    /// leaves a mark, so nobody is waited for.
    async fn sum_missing(&self) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        if !is_ours(&mut transaction).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        sqlx::query!("select set_config('statement_timeout', $1, true)", SUM_TIMEOUT)
            .fetch_one(&mut *transaction)
            .await?;
        let summed = sqlx::query_scalar!(r#"select rollup.sum_missing() as "summed!""#)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(summed)
    }

    /// Takes note of new marks. Whatever is written from now on leaves another.
    async fn notice(&self) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        if !is_ours(&mut transaction).await? {
            transaction.rollback().await?;
            return Ok(());
        }
        sqlx::query!("select pg_advisory_xact_lock($1)", MONEY_LOCK).execute(&mut *transaction).await?;
        sqlx::query!(
            "with news as (delete from rollup.marks where not seen returning period)
            insert into rollup.marks select period, true from news on conflict do nothing"
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

struct Summed {
    last_period: i64,
    /// Whether it was kept; none when it was too early for it.
    kept: Option<bool>,
}

/// Takes the rollup's lock until the end of the transaction, unless another process has it.
async fn is_ours(connection: &mut PgConnection) -> Result<bool, Error> {
    let locked = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "locked!""#, ROLLUP_LOCK)
        .fetch_one(connection)
        .await?;
    Ok(locked)
}

/// Turns until stopped. A turn that fails costs speed, not sums: the views read the rows themselves meanwhile.
///
/// # Errors
/// None.
pub async fn run(store: Store, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
    let mut wait = TURN_SOON;
    let mut trouble = Trouble::new("summing for the views, which are slow meanwhile, not wrong");
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
        match store.roll_up(TURN_MAX).await {
            Ok(done) => {
                metrics::LEDGER_SPANS_SUMMED.increment(u64::try_from(done.spans).unwrap_or_default());
                wait = if done.more { TURN_SOON } else { TURN_EVERY };
            }
            Err(error) => {
                wait = TURN_EVERY.max(trouble.failed(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_minutes_and_in_the_order_of_ids() {
        let id = |ms: u128| Uuid::from_u128(ms << 80 | 7);
        assert_eq!(period_of(id(0)), 0);
        assert_eq!(period_of(id(59_999)), 0);
        assert_eq!(period_of(id(60_000)), 1);
        let edge = u128::from(PERIODS_BY_TIME_MS);
        assert_eq!(period_of(id(edge - 1)) + 1, period_of(id(edge)));
        assert_eq!(period_of(id(edge)), 73_300_776);
        assert_eq!(period_of(Uuid::max()), 73_300_776 + 4_031);
    }
}
