//! Reservations as the first release writes them: one after the other, each in a transaction under the money lock.

use anyhow::Context as _;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// So many reservations are made before migrations begin.
const BEFORE: u64 = 10;

const LOCK: &str = "select pg_advisory_xact_lock(71821639483394)";
const READ: [&str; 4] = [
    "select job, attempt, tenant, state, settled_by, open_micro_usd + posted_micro_usd, budget_day
        from charges where job = $1",
    "select id, state from jobs where id = $1 and ended_at is not null",
    "select tenant, day, committed_micro_usd from budget_use
        where $1::uuid is not null and tenant = 'studio-a' and day >= date_trunc('month', now())::date",
    "select day, sum(committed_micro_usd) from budget_use
        where $1::uuid is not null and day >= date_trunc('month', now())::date group by day",
];
const WRITE: [&str; 2] = [
    "insert into charges as c (job, attempt, tenant, backend, simulated, state, settled_by, requested_micro_usd,
        requested_at, reserved_micro_usd, posted_micro_usd, possibly_paid, budget_at, posted_at)
    values ($1, 1, 'studio-a', 'cloud', false, 'pending', null, 5000, now(), 5000, 0, false, now(), null)
    on conflict (job, attempt) do update set requested_at = excluded.requested_at, budget_at = excluded.budget_at
    where (c.*) is distinct from (excluded.*)",
    "insert into rollup.marks (period, seen) select rollup.period_of($1), false on conflict do nothing",
];

/// Reserves until it is over and once more, and returns how many reservations were made. `begun` is cancelled after
/// the first ones.
pub(super) async fn reserve_until(
    connection: &mut PgConnection,
    begun: &CancellationToken,
    over: &CancellationToken,
) -> anyhow::Result<u64> {
    let first = Uuid::now_v7();
    let mut made = 0;
    while !over.is_cancelled() {
        // Every second one reserves again for an attempt that is older than the migration: its row may be locked.
        let job = if made % 2 == 0 { first } else { Uuid::now_v7() };
        reserve(connection, job).await.context("reserving")?;
        made += 1;
        if made == BEFORE {
            begun.cancel();
        }
    }
    // The released ledger goes on with the new tables.
    reserve(connection, Uuid::now_v7()).await.context("reserving after the migrations")?;
    Ok(made + 1)
}

async fn reserve(connection: &mut PgConnection, job: Uuid) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    for read in READ {
        sqlx::query(read).persistent(false).bind(job).fetch_all(&mut *transaction).await?;
    }
    for write in WRITE {
        sqlx::query(write).persistent(false).bind(job).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
