//! Made-up books, for measurements only: as many attempts as wanted, with their jobs and charges, written by the
//! server itself. The rows are of the shape and size that a fleet leaves; events exist only for the newest jobs'
//! decisions. Those of the first days are made up and summed, and rows and sums are written again for all
//! later ones: most of the work is making up and summing.
//!
//! This is not part of the ledger's libraries: it switches tables to UNLOGGED and runs any SQL, which no program
//! that holds real books may be able to do.

mod views;

use std::time::{Duration, Instant};

use ledger::Store;
use sqlx::AssertSqlSafe;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, Postgres};

pub use views::view_queries;

/// Jobs that one statement makes up.
const CHUNK: i64 = 50_000;
/// Statements at once.
const WRITERS: i32 = 2;
/// Days that the jobs are spread over: so many, so often.
const SEED_DAYS: i32 = 3;
const TIMES: i32 = 20;
/// How long one turn of summing may take for measurements.
const TURN: Duration = Duration::from_secs(60);
const DAYS: i64 = (SEED_DAYS * TIMES) as i64;
/// Attempts of a hundred jobs.
const ATTEMPTS_PER_HUNDRED: i64 = 115;

const JOBS: &str = include_str!("made_up/jobs.sql");
const SEEDS: &str = include_str!("made_up/seeds.sql");
const AGAIN: &str = include_str!("made_up/again.sql");
const SUMS: &str = include_str!("made_up/sums.sql");
const NO_SEEDS: &str = "drop table seed_jobs, seed_attempts, seed_charges, seed_times";
const CHARGES: &str = include_str!("made_up/charges.sql");
const DECISIONS: &str = include_str!("made_up/decisions.sql");

/// Without a log the tables are filled in half the time, and read as ever. Rows that come once need no room for
/// another version.
const MADE_READY: &str = "do $$ declare leaf regclass; begin
    for leaf in select relid from pg_partition_tree('jobs') where isleaf
        union all select relid from pg_partition_tree('attempts') where isleaf
        union all select relid from pg_partition_tree('events') where isleaf
        union all select 'charges'
    loop execute format('alter table %s set unlogged, set (fillfactor = 100)', leaf); end loop; end $$";

/// The rows that were made up, and not written again.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// How many attempts.
    pub attempts: i64,
    /// How long it took to sum them.
    pub summed_in: Duration,
}

/// A database whose books are made up.
#[derive(Debug, Clone)]
pub struct MadeUp {
    pool: PgPool,
}

impl MadeUp {
    /// Connects to a database that has the ledger's tables, and nothing in them.
    ///
    /// # Errors
    /// The database refuses, or does not answer.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        Ok(Self { pool: PgPool::connect(url).await? })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Fills the database with about so many attempts, of jobs that ended until `until_ms`, and sums them except for
    /// a few hours, which are marked: [`roll_up_all`] sums those.
    ///
    /// # Errors
    /// The database refuses, or does not answer.
    pub async fn fill(&self, store: &Store, attempts: i64, until_ms: i64) -> anyhow::Result<Seeds> {
        self.sow(attempts, until_ms).await?;
        let seeds = self.sum_seeds(store).await?;
        self.write_all_again().await?;
        let mut connection = self.unhurried().await?;
        sqlx::raw_sql(SUMS).execute(&mut *connection).await?;
        sqlx::query(NO_SEEDS).execute(&mut *connection).await?;
        sqlx::query(DECISIONS).bind(until_ms - 86_400_000).execute(&mut *connection).await?;
        sqlx::query("analyze").execute(&mut *connection).await?;
        Ok(seeds)
    }

    /// Fills the database with about so many attempts, of jobs that ended until `until_ms`, and sums nothing: what
    /// this writes depends on the tables alone, not on the ledger's code.
    ///
    /// # Errors
    /// The database refuses, or does not answer.
    pub async fn fill_rows(&self, attempts: i64, until_ms: i64) -> anyhow::Result<()> {
        self.sow(attempts, until_ms).await?;
        self.write_all_again().await?;
        sqlx::query(NO_SEEDS).execute(&self.pool).await?;
        sqlx::query("analyze").execute(&mut *self.unhurried().await?).await?;
        Ok(())
    }

    /// Adds so many charges of jobs that have no other rows, quickly.
    ///
    /// # Errors
    /// The database refuses, or does not answer.
    pub async fn fill_charges(&self, charges: i64) -> anyhow::Result<()> {
        let mut connection = self.unhurried().await?;
        sqlx::query(CHARGES).bind(charges).execute(&mut *connection).await?;
        sqlx::query("analyze charges").execute(&mut *connection).await?;
        Ok(())
    }

    /// Reads all rows of a query, and returns how many there are.
    ///
    /// # Errors
    /// The database refuses, or does not answer.
    pub async fn read_rows(&self, sql: &str) -> anyhow::Result<usize> {
        Ok(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&self.pool).await?.len())
    }

    /// The day (UTC) of a moment, as SQL writes it.
    ///
    /// # Errors
    /// The database refuses, or does not answer.
    pub async fn day(&self, time_ms: i64) -> anyhow::Result<String> {
        Ok(sqlx::query_scalar("select utc_day(at_ms($1))::text").bind(time_ms).fetch_one(&self.pool).await?)
    }

    /// Makes up the first days.
    async fn sow(&self, attempts: i64, until_ms: i64) -> anyhow::Result<()> {
        let jobs = (attempts * 100 / ATTEMPTS_PER_HUNDRED / i64::from(TIMES)).max(1);
        sqlx::query("select prepare_partitions(at_ms($1), 5)")
            .bind(until_ms - (DAYS + 1) * 86_400_000)
            .execute(&self.pool)
            .await?;
        sqlx::query(MADE_READY).execute(&self.pool).await?;
        let share = jobs.div_euclid(i64::from(WRITERS)) + 1;
        let writers = (0..i64::from(WRITERS)).map(|nth| {
            let (from, until) = (nth * share, ((nth + 1) * share).min(jobs));
            self.make_up(from, until, jobs * i64::from(TIMES), until_ms)
        });
        futures::future::try_join_all(writers).await?;
        let mut connection = self.unhurried().await?;
        sqlx::raw_sql(SEEDS).execute(&mut *connection).await?;
        sqlx::query("insert into seed_times select n * $1 from generate_series(1, $2 - 1) as n")
            .bind(SEED_DAYS)
            .bind(TIMES)
            .execute(&mut *connection)
            .await?;
        sqlx::query("analyze").execute(&mut *connection).await?;
        Ok(())
    }

    /// Sums the seeds as a ledger at work does.
    async fn sum_seeds(&self, store: &Store) -> anyhow::Result<Seeds> {
        let attempts = sqlx::query_scalar("select count(*) from seed_attempts").fetch_one(&self.pool).await?;
        sqlx::query("select rollup.mark_all()").execute(&self.pool).await?;
        let started = Instant::now();
        roll_up_all(store).await?;
        Ok(Seeds { attempts, summed_in: started.elapsed() })
    }

    async fn write_all_again(&self) -> anyhow::Result<()> {
        futures::future::try_join_all((1..=WRITERS).map(|first| self.write_again(first))).await?;
        Ok(())
    }

    /// Writes the seeds again: the first time that is asked for, and those that other writers leave out.
    async fn write_again(&self, first: i32) -> anyhow::Result<()> {
        let mut connection = self.unhurried().await?;
        let mut time = first;
        while time < TIMES {
            sqlx::query(AGAIN).bind(time * SEED_DAYS).execute(&mut *connection).await?;
            time += WRITERS;
        }
        Ok(())
    }

    async fn make_up(&self, from: i64, until: i64, jobs: i64, until_ms: i64) -> anyhow::Result<()> {
        let mut connection = self.unhurried().await?;
        let mut next = from;
        while next < until {
            let last = (next + CHUNK).min(until) - 1;
            sqlx::query(JOBS)
                .bind(next)
                .bind(last)
                .bind(jobs)
                .bind(DAYS)
                .bind(until_ms)
                .execute(&mut *connection)
                .await?;
            next = last + 1;
        }
        Ok(())
    }

    /// A connection whose statements may take as long as they need.
    async fn unhurried(&self) -> anyhow::Result<PoolConnection<Postgres>> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("set statement_timeout = 0").execute(&mut *connection).await?;
        sqlx::query("set synchronous_commit = off").execute(&mut *connection).await?;
        Ok(connection)
    }
}

/// Sums everything that is marked and quiet, in as many turns as that takes.
///
/// # Errors
/// The database refuses, or does not answer.
pub async fn roll_up_all(store: &Store) -> anyhow::Result<()> {
    while store.roll_up(TURN).await?.more {}
    Ok(())
}
